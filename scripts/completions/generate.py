#!/usr/bin/env python3
"""Completions of the command lines, from the rows of options: generate.py bash|zsh|fish OPTIONS.DEF
and of pitotctl's commands: generate.py bash|zsh|fish VERBS.DEF

What a value can be follows from its placeholder: words between bars are the choices, FILE and DIR are paths, and an
interface is one of /sys/class/net.
"""
import re
import sys
from pathlib import Path


class Option:
    def __init__(self, name, letter, argument, flags, help_text):
        self.name, self.letter, self.argument, self.help = name, letter, argument, help_text
        self.many = flags.startswith("MANY")

    @property
    def kind(self):
        """none, interface, file, directory, collector, user, choices or any."""
        if not self.argument:
            return "none"
        if self.name in ("interface", "bind-device"):
            return "interface"
        if self.argument == "FILE":
            return "file"
        if self.argument == "DIR":
            return "directory"
        if self.name == "collector":
            return "collector"
        if self.argument.startswith("USER"):
            return "user"
        return "choices" if self.choices else "any"

    @property
    def choices(self):
        """Those that are words to be typed: lower case and numbers."""
        return [w for w in self.argument.split("|") if re.fullmatch(r"[a-z0-9-]+", w)] if "|" in self.argument else []


def rows(path, macro, columns):
    """Of a .def file: the columns of each row as they match, and its help text last."""
    text = re.sub(r"/\*.*?\*/", "", open(path, encoding="utf-8").read(), flags=re.S)
    row = re.compile(macro + r"\(" + columns + r'((?:\s*"(?:[^"\\]|\\.)*")+)\)', re.S)
    found = [(*values, "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', texts))) for *values, texts in row.findall(text)]
    if len(found) != len(re.findall(rf"^{macro}\(", text, re.M)):
        sys.exit(f"{path}: only {len(found)} of its rows can be read")
    return found


def read(path):
    return [Option(name, "" if letter == "0" else letter[1], argument, middle.split(",")[-2].strip(), help_text)
            for name, letter, argument, middle, help_text in
            rows(path, "OPTION", r'"([^"]+)", (0|\'.\'), "([^"]*)",(.*?)')]


def read_collectors(options_path):
    """What a collector's URL begins with, from the rows of formats and transports beside those of the options."""
    formats, transports = (re.sub(r"/\*.*?\*/", "", (Path(options_path).parent / f"{name}.def").read_text(encoding="utf-8"),
                                  flags=re.S) for name in ("formats", "transports"))
    found = []
    for name, carriers in re.findall(r'^FORMAT\(\w+, (\w+), "[^"]*", [^,]+, \d+, ([A-Z_| ]+),', formats, re.M):
        carriers = carriers.split(" | ")
        for transport, word in re.findall(r"^TRANSPORT\((\w+), (\w+),", transports, re.M):
            if carriers != ["CARRIED_BY_ALL"] and f"CARRIED_BY_{transport}" not in carriers:
                continue
            if carriers == ["CARRIED_BY_FILE"]:
                found.append(f"{name}:")
            elif transport == "FILE":
                found.append(f"{name}+{word}:")
            else:
                found.append(f"{name}://" if transport == "UDP" else f"{name}+{word}://")
    if len({url.rstrip(":/").partition("+")[0] for url in found}) != len(re.findall(r"^FORMAT\(", formats, re.M)):
        sys.exit("formats.def: not all of its rows can be read")
    return found


def read_verbs(path):
    return rows(path, "VERB", r'"([^"]+)", "[^"]*", "[^"]*", \w+, \w+,\s*')


def quote_zsh(text):
    return text.replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def quote_fish(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def names(o):
    return ([f"-{o.letter}"] if o.letter else []) + [f"--{o.name}"]


def bash(options, collectors):
    by_kind = {}
    for o in options:
        by_kind.setdefault(o.kind, []).append(o)

    def pattern(kind):
        return "|".join(n for o in by_kind.get(kind, ()) for n in names(o))
    cases = [f"    {pattern('interface')})\n        words=\"$(command ls /sys/class/net) any\" ;;",
             f"    {pattern('file')})\n        COMPREPLY=($(compgen -f -- \"$cur\")); compopt -o filenames 2>/dev/null; return ;;",
             f"    {pattern('directory')})\n        COMPREPLY=($(compgen -d -- \"$cur\")); compopt -o filenames 2>/dev/null; return ;;",
             f"    {pattern('collector')})\n        words=\"{' '.join(collectors)} $(compgen -A hostname)\"; compopt -o nospace 2>/dev/null ;;",
             f"    {pattern('user')})\n        COMPREPLY=($(compgen -u -- \"$cur\")); return ;;"]
    cases += [f"    {'|'.join(names(o))})\n        words=\"{' '.join(o.choices)}\" ;;" for o in by_kind["choices"]]
    cases.append(f"    {pattern('any')})\n        return ;;")
    every = " ".join(n for o in options for n in names(o))
    body = "\n".join(cases)
    return f"""# bash completion for pitot, made from options.def
_pitot()
{{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} words
    # --name=value comes as three words, and URLs are split at their colons
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${{COMP_WORDS[COMP_CWORD-2]}}
    elif [[ $cur == : || $prev == : ]]; then
        return # behind a URL's colon: a file, if anything
    fi
    case $prev in
{body}
    *)
        words="{every}" ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o bashdefault -o default -F _pitot pitot
"""


def zsh(options, collectors):
    def action(o):
        return {"interface": "_net_interfaces", "file": "_files", "directory": "_files -/", "user": "_users",
                "collector": f"({' '.join(c.replace(':', chr(92) + ':') for c in collectors)})",
                "choices": f"({' '.join(o.choices)})"}.get(o.kind, " ")
    lines = []
    for o in options:
        value = f":{quote_zsh(o.argument)}:{action(o)}" if o.argument else ""
        repeat = "*" if o.many else ""
        if o.letter:
            group = repeat or f"(-{o.letter} --{o.name})"
            spec = f"'{group}'{{-{o.letter},--{o.name}{'=' if o.argument else ''}}}'[{quote_zsh(o.help)}]{value}'"
        else:
            spec = f"'{repeat}--{o.name}{'=' if o.argument else ''}[{quote_zsh(o.help)}]{value}'"
        lines.append(f"    {spec} \\")
    body = "\n".join(lines)
    return f"""#compdef pitot
# zsh completion for pitot, made from options.def
_arguments -s -S \\
{body}
    '*:filter expression: '
"""


def fish(options, collectors):
    lines = ["# fish completion for pitot, made from options.def", "complete -c pitot -f"]
    for o in options:
        words = ["complete -c pitot", f"-l {o.name}"] + ([f"-s {o.letter}"] if o.letter else [])
        words += {"none": [], "file": ["-r", "-F"], "directory": ["-x", "-a", "'(__fish_complete_directories)'"],
                  "interface": ["-x", "-a", "'(command ls /sys/class/net) any'"],
                  "user": ["-x", "-a", "'(__fish_complete_users)'"],
                  "collector": ["-x", "-a", quote_fish(" ".join(collectors))],
                  "choices": ["-x", "-a", quote_fish(" ".join(o.choices))]}.get(o.kind, ["-x"])
        lines.append(" ".join(words + ["-d", quote_fish(o.help)]))
    return "\n".join(lines) + "\n"


# ---- pitotctl: its commands, the time-outs' names, and whatever a filter has

WORDS = {"timeouts": "active= inactive= tcp-end=", "log": "error warning info debug",
         "flows": "--sort --top --follow --json host net port portrange proto vlan src dst and or not ip ip6 tcp udp icmp",
         "--sort": "octets packets age rate"}
WORDS["dump-flows"] = WORDS["flows"]
WORDS["expire"] = " ".join(w for w in WORDS["flows"].split() if w[0] != "-")
SOCKETS = "/run/pitot/*.ctl"


def bash_verbs(verbs):
    cases = "\n".join(f'    {name}) words="{words}" ;;' for name, words in WORDS.items() if name[0] != "-")
    return f"""# bash completion for pitotctl, made from verbs.def
_pitotctl()
{{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} verb= words i
    case $prev in
    -c|--control) COMPREPLY=($(compgen -G "$cur*" ; compgen -G "{SOCKETS}")); return ;;
    --sort) COMPREPLY=($(compgen -W "{WORDS['--sort']}" -- "$cur")); return ;;
    --top) return ;;
    esac
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
        -c|--control) ((i++)) ;;
        -*) ;;
        *) verb=${{COMP_WORDS[i]}}; break ;;
        esac
    done
    case $verb in
    '') words="{' '.join(name for name, _ in verbs)} -c --control --json -h --help -V --version" ;;
{cases}
    *) words=--json ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    [[ ${{COMPREPLY-}} != *= ]] || compopt -o nospace 2>/dev/null
}}
complete -F _pitotctl pitotctl
"""


def zsh_verbs(verbs):
    listed = "\n".join(f"        '{name}:{quote_zsh(text)}'" for name, text in verbs)
    cases = "\n".join(f"    {name}) compadd -- {words} ;;" for name, words in WORDS.items() if name[0] != "-")
    return f"""#compdef pitotctl
# zsh completion for pitotctl, made from verbs.def
_pitotctl() {{
    local state line
    local -a verbs
    verbs=(
{listed}
    )
    _arguments -C '(-c --control)'{{-c,--control}}'[the socket of the pitot]:socket:_files' \
        '--json[print what it answers as it is]' '1:command:->verb' '*::argument:->argument'
    case $state in
    verb) _describe command verbs ;;
    argument)
        case $line[1] in
{cases}
        esac ;;
    esac
}}
_pitotctl "$@"
"""


def fish_verbs(verbs):
    lines = ["# fish completion for pitotctl, made from verbs.def", "complete -c pitotctl -f",
             "complete -c pitotctl -s c -l control -r -F -d 'the socket of the pitot'",
             "complete -c pitotctl -l json -d 'print what it answers as it is'"]
    for name, text in verbs:
        lines.append(f"complete -c pitotctl -n __fish_use_subcommand -a '{name}' -d {quote_fish(text)}")
    for name, words in WORDS.items():
        if name[0] != "-":
            lines.append(f"complete -c pitotctl -n '__fish_seen_subcommand_from {name}' -a '{words}'")
    return "\n".join(lines) + "\n"


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("bash", "zsh", "fish"):
        sys.exit(__doc__.splitlines()[0])
    if sys.argv[2].endswith("verbs.def"):
        make = {"bash": bash_verbs, "zsh": zsh_verbs, "fish": fish_verbs}[sys.argv[1]]
        sys.stdout.write(make(read_verbs(sys.argv[2])))
        return
    sys.stdout.write({"bash": bash, "zsh": zsh, "fish": fish}[sys.argv[1]](read(sys.argv[2]), read_collectors(sys.argv[2])))


main()
