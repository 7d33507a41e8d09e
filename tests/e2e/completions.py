#!/usr/bin/env python3
"""Completions know every option and its values: completions.py PITOT SRCROOT [-v]"""
import re
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
                            (("--ttl", ""), set())):
        got = complete(*words)
        e.check(got >= expected and (got == expected or words[0] == "-i"), f"bash {words}: {got}, not {expected}")


def zsh(folder):
    text = generate("zsh")
    for url in COLLECTORS:
        e.check(url.replace(":", "\\:") in text, f"zsh does not know {url}")
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


def fish(folder):
    text = generate("fish")
    for name, letter in rows():
        e.check(f" -l {name} " in text, f"fish does not know --{name}")
    path = Path(folder) / "pitot.fish"
    path.write_text(text)
    if not e.have("fish"):
        return
    for line, expected in (("pitot --sandbox ", {"on", "off", "log"}), ("pitot -n js", {"json:"}), ("pitot -n ", COLLECTORS)):
        got = subprocess.run(["fish", "--no-config", "-c", f"source {path}; complete -C '{line}'"], capture_output=True,
                             text=True, check=False, env={"HOME": str(folder), "PATH": "/usr/bin:/bin"})
        words = {found.split("\t")[0] for found in got.stdout.splitlines()}
        e.check(words == expected, f"fish {line!r}: {words}, {got.stderr}")


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
    with e.workdir() as folder:
        bash(folder)
        zsh(folder)
        fish(folder)
        pitotctl(folder)
    e.finish()


main()
