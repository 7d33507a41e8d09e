#!/usr/bin/env python3
"""Completions know every option and its values: completions.py PITOT SRCROOT [-v]"""
import os
import pty
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import e2elib as e

OPTIONS = e.ROOT / "include/pitot/options.def"


def generate(shell):
    return subprocess.run([sys.executable, e.ROOT / "scripts/completions/generate.py", shell, OPTIONS], check=True,
                          capture_output=True, text=True).stdout


def rows():
    return re.findall(r'^OPTION\("([^"]+)", (0|\'.\')', OPTIONS.read_text(), re.M)


COLLECTORS = set("""netflow5:// netflow5+file: netflow9:// netflow9+sctp:// netflow9+file: ipfix:// ipfix+tcp:// ipfix+tls://
    ipfix+dtls:// ipfix+sctp:// ipfix+file: sflow:// sflow+file: json: text: csv:""".split())


def urls():
    """Each beginning that is completed is understood, and no other is."""
    rows = (e.ROOT / "include/pitot/formats.def").read_text()
    for form in re.findall(r"^FORMAT\(\w+, (\w+),", rows, re.M):
        for way in ["://"] + [f"+{t}://" for t in ("tcp", "tls", "dtls", "sctp")] + ["+file:", ":"]:
            if way == ":" and f"{form}:" not in COLLECTORS:
                continue  # netflow5:2055 is a host and its port
            got = e.run("--print-template", "-n", f"{form}{way}192.0.2.1")
            expected = f"{form}{way}" in COLLECTORS or way == "+file:"
            e.check((got.returncode == 0) == expected, f"{form}{way}: {got.stderr}")


# What is typed -> what it becomes; a blank is at the end of a word that is complete.  Each shell has the same answers.
ANSWERS = (
    ("-n js", "json:"), ("-n sf", "sflow:// sflow+file:"), ("-n ipfix+d", "ipfix+dtls://"),
    ("-n json:/x?", "json:/x?rotate= json:/x?compress=gz json:/x?compress=zst"),
    ("-n ipfix+file:/x?r", "ipfix+file:/x?rotate="), ("-n csv:/x?compress=", "csv:/x?compress=gz csv:/x?compress=zst"),
    ("-n 'json:/x?rotate=1h&c", "json:/x?rotate=1h&compress=gz json:/x?rotate=1h&compress=zst"),
    ("--collector=csv:/x?compress=g", "--collector=csv:/x?compress=gz"),
    ("--polite y", "yield="), ("--polite cpu=30,sp", "cpu=30,spare="), ("--polite=cpu=30,sp", "--polite=cpu=30,spare="),
    ("--polite sl", "slice=off"),
    ("-t active=60,i", "active=60,inactive="), ("-T tos,v", "tos,vlan"), ("--decapsulate gre,vx", "gre,vxlan gre,vxlan-gpe"),
    ("--fields standard,samplingI", "standard,samplingInterval"), ("-s h", "hash:"), ("-i l", "lo"), ("-i 7:l", "7:lo"),
    ("--bind-device l", "lo"), ("-w a", "auto"), ("--direction ", "in out both"), ("--sandbox=", "--sandbox=on --sandbox=off --sandbox=log"),
    ("--log j", "journal"), ("-v net", "netflow5 netflow9"),
)


def accepted():
    """Each word of a list that is offered is understood, and the sentence about a wrong one names no other."""
    text = generate("bash")
    lists = {names: words.split() for names, words in re.findall(r"^    (\S+)\) _pitot_list(?: -F \S+)? (.*) ;;$", text, re.M)}
    values = {"pressure=": "/proc/pressure/cpu"}  # of those that have none: a number will do for the others
    for names, words in lists.items():
        name = names.rpartition("|")[2]
        value = ",".join(word + values.get(word, "3") if word.endswith("=") else word for word in words if word != "none")
        got = e.run("--print-template", "--decapsulate", "all", f"{name}={value}")
        e.check(got.returncode == 0, f"{name}={value}: {got.stderr}")
    e.check(set(lists) == {"--fields", "--polite", "-t|--timeout", "-T|--flow-key", "--decapsulate"}, f"lists: {set(lists)}")
    listed = {line.split()[1] for line in e.run("--list-fields").stdout.decode().splitlines()[1:]}
    e.check(listed == set(lists["--fields"]) - {"standard"}, f"--fields: {set(lists['--fields']) ^ listed}")
    wrong = e.run("--polite", "x=1", "-T", "x", "--decapsulate", "x", "-n", "json:x?x=1").stderr.decode()
    for word in [part.partition("=")[0] + "=" for part in lists["--polite"]] + lists["-T|--flow-key"][1:] + lists["--decapsulate"][2:] + ["?rotate=", "?compress="]:
        e.check(word in wrong, f"{word}: {wrong}")


def bash(folder):
    path = Path(folder) / "pitot"
    path.write_text(generate("bash"))

    def complete(*words):
        script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pitot 2>/dev/null; '
                  'printf "%s\\n" "${COMPREPLY[@]}"')
        got = subprocess.run(["bash", "-c", script, "bash", path, "pitot", *words], capture_output=True, text=True,
                             check=False)
        e.check(got.returncode == 0, f"bash {words}: {got.stderr}")
        return set(got.stdout.split())
    every = complete("")
    for name, letter in rows():
        e.check(f"--{name}" in every and (letter == "0" or f"-{letter[1]}" in every), f"bash does not know --{name}")
    e.check(complete("-n", "") >= COLLECTORS, f"bash: {COLLECTORS - complete('-n', '')}")
    for words, expected in ((("--sand",), {"--sandbox"}), (("--sandbox", ""), {"on", "off", "log"}),
                            (("--sandbox", "=", "o"), {"on", "off"}), (("-i", "l"), {"lo"}),
                            (("-v", "net"), {"netflow5", "netflow9"}), (("-n", "js"), {"json:"}),
                            (("-n", "sf"), {"sflow://", "sflow+file:"}),
                            (("-r", str(e.DATA / "mixed.pcapn")), {str(e.DATA / "mixed.pcapng")}),
                            (("-n", "json", ":", str(e.DATA / "mixed.pcapn")), {str(e.DATA / "mixed.pcapng")}),
                            (("-njs",), {"-njson:"}), (("--ttl", ""), set()),
                            (("-n", "json:/$(false)?r"), {"json:/$(false)?rotate="})):
        got = complete(*words)
        e.check(got >= expected and (got == expected or words[0] == "-i"), f"bash {words}: {got}, not {expected}")
    for line, expected in ANSWERS:
        # readline splits at = and :, unless a quote is open, and has the quote in the word
        quoted = "'" in line
        words = [w for word in line.split(" ") for w in ([word] if quoted else re.findall(r"[^=:]+|[=:]+", word) or [""])]
        last = words[-1] if not re.fullmatch("[=:]+", words[-1]) else ""
        typed = line.split(" ")[-1].removeprefix("'")
        kept = typed[:len(typed) - len(last.removeprefix("'"))]
        e.check({kept + answer for answer in complete(*words)} == set(expected.split()),
                f"bash {line!r}: {complete(*words)} behind {kept!r}, not {expected}")


def zsh(folder):
    text = generate("zsh")
    for url in COLLECTORS:
        e.check(f" {url}" in text, f"zsh does not know {url}")
    for name, letter in rows():
        e.check(f"--{name}" in text, f"zsh does not know --{name}")
    path = Path(folder) / "_pitot"
    path.write_text(text)
    if not e.have("zsh"):
        return
    got = subprocess.run(["zsh", "-n", path], capture_output=True, text=True, check=False)
    e.check(got.returncode == 0 and not got.stderr, f"zsh: {got.stderr}")
    # _arguments itself says what it does not understand
    script = ("autoload -U compinit; compinit -D; fpath=($1 $fpath); autoload -U _pitot; "
              "_arguments() { print -l -- \"$@\" }; _pitot")
    got = subprocess.run(["zsh", "-f", "-c", script, "zsh", folder], capture_output=True, text=True, check=False)
    specs = [line for line in got.stdout.splitlines() if "[" in line]
    letters = sum(letter != "0" for _, letter in rows())
    e.check(len(specs) == len(rows()) + letters, f"zsh: {len(specs)} specifications: {got.stderr}")
    zsh_answers(folder)


# In a zsh on a terminal: what compadd is given, and a line when it is all
ZSH = r"""
PS1=; fpath=($1 $fpath)
autoload -Uz compinit; compinit -u -D
compadd() {
    if [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return; fi
    local -a hits; builtin compadd -A hits "$@"
    (( $#hits )) && print -rl -- "${hits[@]/#/offer:$IPREFIX}"
    builtin compadd "$@"
}
_offers() { compstate[insert]=; compstate[list]=; print; _main_complete; compstate[insert]=; compstate[list]=; print -r -- all:of-it }
zle -C offers complete-word _offers
bindkey '^I' offers
"""


def zsh_answers(folder):
    Path(folder, "setup").write_text(ZSH)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe("zsh", ["zsh", "-f", "-i"], {"TERM": "dumb", "HOME": str(folder), "PATH": os.environ["PATH"]})

    def ask(text, end):
        os.write(terminal, text.encode())
        got = b""
        while end not in got:
            if not select.select([terminal], [], [], 60)[0]:
                e.check(False, f"zsh {text!r}: {got}")
                break
            got += os.read(terminal, 65536)
        return got.decode(errors="replace").replace("\r", "")
    ask(f"set -- '{folder}'; source '{folder}/setup'; print read''y\n", b"ready")
    for line, expected in ANSWERS:
        got = ask(f"\x15pitot {line}\t", b"all:of-it")
        offers = {found.strip() for found in re.findall("^offer:(.*)", got, re.M)}
        # _values puts the = behind a name by itself, and then offers its values
        answers = {answer if answer in offers else re.sub("=[a-z]*$", "", answer) for answer in expected.split()}
        e.check(offers == answers, f"zsh {line!r}: {offers}, not {expected}")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def fish(folder):
    text = generate("fish")
    for name, letter in rows():
        e.check(f" -l {name} " in text, f"fish does not know --{name}")
    path = Path(folder) / "pitot.fish"
    path.write_text(text)
    if not e.have("fish"):
        return
    lines = [("-n ", " ".join(COLLECTORS)), *ANSWERS]
    script = f"source {path}\n" + "".join(f"echo line {n}\ncomplete -C \"pitot {line}\"\n" for n, (line, _) in enumerate(lines))
    got = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, check=False,
                         env={"HOME": str(folder), "PATH": "/usr/bin:/bin"})
    answers = re.split(r"^line \d+\n", got.stdout, flags=re.M)[1:]
    e.check(len(answers) == len(lines), f"fish: {got.stderr}")
    for (line, expected), answer in zip(lines, answers):
        words = {found.split("\t")[0] for found in answer.splitlines()}
        e.check(words == set(expected.split()), f"fish {line!r}: {words}, not {expected}")


def pitotctl(folder):
    """Its commands, what comes behind them, and that each shell can read it."""
    verbs = e.ROOT / "probe/ctl/verbs.def"
    names = re.findall(r'^VERB\("([^"]+)"', verbs.read_text(), re.M)
    texts = {shell: subprocess.run([sys.executable, e.ROOT / "scripts/completions/generate.py", shell, verbs], check=True,
                                   capture_output=True, text=True).stdout for shell in ("bash", "zsh", "fish")}
    for shell, text in texts.items():
        path = Path(folder) / f"pitotctl.{shell}"
        path.write_text(text)
        e.check(all(name in text for name in names), f"{shell} does not know all commands")
        if e.have(shell):
            got = subprocess.run([shell, "-n", path], capture_output=True, text=True, check=False)
            e.check(got.returncode == 0 and not got.stderr, f"{shell}: {got.stderr}")

    def complete(*words):
        script = ('source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pitotctl 2>/dev/null; '
                  'printf "%s\n" "${COMPREPLY[@]}"')
        got = subprocess.run(["bash", "-c", script, "bash", Path(folder) / "pitotctl.bash", "pitotctl", *words],
                             capture_output=True, text=True, check=False)
        return set(got.stdout.split())
    e.check(complete("") >= set(names), "bash: commands")
    for words, expected in ((("flo",), {"flows"}), (("-c", "/x", "time"), {"timeouts"}), (("log", "d"), {"debug"}),
                            (("flows", "--sort", "p"), {"packets"}), (("flows", "por"), {"port", "portrange"}),
                            (("timeouts", "tcp"), {"tcp-end="}), (("stop", ""), {"--json"})):
        e.check(complete(*words) == expected, f"bash {words}: {complete(*words)}, not {expected}")


def main():
    urls()
    accepted()
    with e.workdir() as folder:
        bash(folder)
        zsh(folder)
        fish(folder)
        pitotctl(folder)
    e.finish()


main()
