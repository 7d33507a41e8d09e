#!/usr/bin/env python3
"""Completions of the command lines, from the rows of options: generate.py bash|zsh|fish OPTIONS.DEF
and of pitotctl's commands: generate.py bash|zsh|fish VERBS.DEF

What a value can be follows from its placeholder: words between bars are the choices, NAME= in brackets are parts of a
list, FILE, DIR and PATH are paths, and an interface is one of /sys/class/net.  Names of tunnels, fields, keys, formats
and settings of a file come from their own rows.
"""
import re
import sys
from pathlib import Path


class Option:
    def __init__(self, name, letter, argument, preset, flags, help_text):
        self.name, self.letter, self.argument, self.preset, self.help = name, letter, argument, preset, help_text
        self.many = flags.startswith("MANY")
        self.words = []  # of a list, where rows of their own have them

    @property
    def kind(self):
        """none, interface, file, directory, collector, user, group, socket, list, choices or any."""
        if not self.argument:
            return "none"
        if self.name in ("interface", "bind-device"):
            return "interface"
        if self.name == "collector":
            return "collector"
        named = {"FILE": "file", "DIR": "directory", "PATH": "socket", "GROUP": "group", "USER": "user"}
        word = re.match(r"\w*", self.argument)[0]
        if word in named:
            return named[word]
        if self.parts:
            return "list"
        return "choices" if self.choices else "any"

    @property
    def choices(self):
        """Those that are words to be typed: lower case and numbers; before a colon something follows."""
        found = re.split(r"[|\[\]]", self.argument) if "|" in self.argument else []
        return [word for word in found if re.fullmatch(r"[a-z0-9-]+:?", word)]

    @property
    def parts(self):
        """What stands between commas: words, and names with = where a value follows, or with the only one."""
        if self.words:
            return self.choices + self.words
        if self.argument.startswith("NAME="):
            return re.findall(r"[a-z-]+=", self.preset)
        return re.findall(r"\[,?([a-z]+=[a-z0-9]*)", self.argument)

    @property
    def part_files(self):
        """Those of the parts whose value is a file."""
        return re.findall(r"\[,?([a-z]+=)FILE", self.argument)


class Urls:
    """How a collector's URL begins, of these those of files, and what may stand behind a file's ?."""

    def __init__(self, beginnings, settings):
        self.beginnings, self.settings = beginnings, settings
        self.files = [url for url in beginnings if not url.endswith("//")]


def rows(path, macro, columns):
    """Of a .def file: the columns of each row as they match, and its help text last."""
    text = re.sub(r"/\*.*?\*/", "", open(path, encoding="utf-8").read(), flags=re.S)
    row = re.compile(macro + r"\(" + columns + r'((?:\s*"(?:[^"\\]|\\.)*")+)\)', re.S)
    found = [(*values, "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', texts))) for *values, texts in row.findall(text)]
    if len(found) != len(re.findall(rf"^{macro}\(", text, re.M)):
        sys.exit(f"{path}: only {len(found)} of its rows can be read")
    return found


def without_comments(path):
    return re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.S)


def read_words(path):
    """The words of lists that rows have: {option: words}."""
    beside = Path(path).parent
    choices = without_comments(beside.parents[1] / "probe/config/choices.def")
    found = {"flow-key": re.findall(r'^CHOICE\(FLOW_KEY, "([^"]+)"', choices, re.M),
             "decapsulate": re.findall(r'^TUNNEL\(\w+, "([^"]+)"', without_comments(beside / "tunnels.def"), re.M),
             "fields": ["standard"] + re.findall(r"^IE(?:_CONST)?\((\w+),.*\b(?:P9|PX)\b", without_comments(beside / "ie.def"), re.M)}
    if any(len(words) < 2 for words in found.values()):
        sys.exit("choices.def, tunnels.def or ie.def: their rows cannot be read")
    return found


def read(path):
    options = [Option(name, "" if letter == "0" else letter[1], argument, preset, flags, help_text)
               for name, letter, argument, _, preset, flags, help_text in
               rows(path, "OPTION", r'"([^"]+)", (0|\'.\'), "([^"]*)",([^"]*)"([^"]*)", (\w+),')]
    words = read_words(path)
    for o in options:
        o.words = words.pop(o.name, [])
    if words:
        sys.exit(f"{path}: there is no {', '.join(words)}")
    return options


def read_urls(options_path):
    """From the rows of formats, transports and settings beside those of the options."""
    formats, transports, settings = (without_comments(Path(options_path).parent / f"{name}.def")
                                     for name in ("formats", "transports", "url_settings"))
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
    behind = []
    for name, value in re.findall(r'^URL_SETTING\((\w+), "([^"]+)"\)', settings, re.M):
        behind += [f"{name}={word}" for word in value.split("|") if re.fullmatch(r"[a-z0-9]+", word)] or [f"{name}="]
    if not behind:
        sys.exit("url_settings.def: its rows cannot be read")
    return Urls(found, behind)


def read_verbs(path):
    return rows(path, "VERB", r'"([^"]+)", "[^"]*", "[^"]*", \w+, \w+,\s*')


def quote_zsh(text):
    return text.replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")


def quote_fish(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def names(o):
    return ([f"-{o.letter}"] if o.letter else []) + [f"--{o.name}"]


def bash(options, urls):
    def action(o):
        words = " ".join(o.parts if o.kind == "list" else o.choices)
        files = f" -F {'|'.join(o.part_files)}" if o.part_files else ""
        return {"any": "return", "interface": "_pitot_interfaces", "file": "_pitot_files ''",
                "directory": "_pitot_files '' -d", "collector": "_pitot_collector",
                "user": "_pitot_offer '' $(compgen -u)", "group": "_pitot_offer '' $(compgen -g)",
                "socket": f"_pitot_offer '' {words}; _pitot_files ''", "list": f"_pitot_list{files} {words}",
                "choices": f"_pitot_offer '' {words}"}.get(o.kind)
    by_action = {}
    for o in options:
        by_action.setdefault(action(o), []).extend(names(o))
    cases = "\n".join(f"    {'|'.join(found)}) {what} ;;" for what, found in by_action.items() if what)
    with_value = "".join(o.letter for o in options if o.letter and o.argument)
    return f"""# bash completion for pitot, made from options.def
#
# bash makes words of their own of the = and : in an argument, and replaces the last one only.  So $cur is the whole
# argument, $typed what of it bash leaves as it is, and $lead what has to stand before an answer.

# HEAD WORD...: HEAD with each word
_pitot_offer()
{{
    local head=$1 word
    for word in "${{@:2}}"; do
        [[ $head$word != "$cur"* ]] || {{ word=$head$word; COMPREPLY+=("$lead${{word#"$typed"}}"); }}
    done
    [[ ${{COMPREPLY[0]-}} != *[=:/,] ]] || compopt -o nospace 2>/dev/null
}}

# HEAD [-d]: paths behind it
_pitot_files()
{{
    local path
    while IFS= read -r path; do
        path=$1$path
        COMPREPLY+=("$lead${{path#"$typed"}}")
    done < <(compgen "${{2--f}}" -- "${{cur#"$1"}}")
    compopt -o filenames 2>/dev/null
}}

_pitot_interfaces()
{{
    local head=
    [[ ! $cur =~ ^[0-9]+: ]] || head=${{BASH_REMATCH[0]}}
    _pitot_offer "$head" $(command ls /sys/class/net) any
}}

# [-F NAME=|...] PART...: parts of a list; behind one of the names a path
_pitot_list()
{{
    local files= part=${{cur##*,}}
    [[ $1 != -F ]] || {{ files=$2; shift 2; }}
    if [[ -n $files && $part == @($files)* ]]; then
        _pitot_files "${{cur%"$part"}}${{part%%=*}}="
    else
        _pitot_offer "${{cur%"$part"}}" "$@"
    fi
}}

_pitot_collector()
{{
    case $cur in
    {'|'.join(url + '*[?]*' for url in urls.files)}) _pitot_offer "${{cur%"${{cur##*[?&]}}"}}" {' '.join(urls.settings)} ;;
    {'|'.join(url + '*' for url in urls.files)}) _pitot_files "${{cur%%:*}}:" ;;
    *://*) _pitot_offer "${{cur%%://*}}://" $(compgen -A hostname) ;;
    *) _pitot_offer '' {' '.join(urls.beginnings)} $(compgen -A hostname) ;;
    esac
}}

_pitot()
{{
    local i=$COMP_CWORD cur=${{COMP_WORDS[COMP_CWORD]}} IFS=$' \\t\\n' last lead= prev typed whole
    last=$cur
    [[ $last == *[^=:]* ]] || last=
    while ((i > 1)) && [[ -n $cur && ( ${{COMP_WORDS[i]}} != *[^=:]* || ${{COMP_WORDS[i-1]}} != *[^=:]* ) ]]; do
        ((i--))
        cur=${{COMP_WORDS[i]}}$cur
    done
    whole=$cur
    prev=${{COMP_WORDS[i-1]}}
    if [[ $cur == --*=* ]]; then
        prev=${{cur%%=*}}
        cur=${{cur#*=}}
    elif [[ $cur == -[{with_value}]?* ]]; then
        prev=${{cur:0:2}}
        cur=${{cur:2}}
    fi
    if [[ $last == "$whole" ]]; then
        lead=${{whole%"$cur"}}
        last=$cur
    fi
    cur=${{cur#[\\'\\"]}}
    typed=${{cur%"${{last#[\\'\\"]}}"}}
    COMPREPLY=()
    case $prev in
{cases}
    *) _pitot_offer '' {' '.join(n for o in options for n in names(o))} ;;
    esac
}}
complete -o bashdefault -o default -F _pitot pitot
"""


def zsh(options, urls):
    def action(o):
        def part_of_list(part):
            name, equals, word = part.partition("=")
            values = f"({word})" if word else "_files" if part in o.part_files else " "
            return f"'{name}:value:{values}'" if equals else name
        parts = " ".join(part_of_list(part) for part in o.parts)
        return {"interface": "_pitot_interfaces", "file": "_files", "directory": "_files -/", "user": "_users",
                "group": "_groups", "collector": "_pitot_collector",
                "list": f"_values -s , part {parts}".replace(":", "\\:").replace("'", '"'),
                "socket": f"_alternative \"words\\:\\:({' '.join(o.choices)})\" \"files\\:\\:_files\"",
                "choices": f" _pitot_words {' '.join(o.choices)}".replace(":", "\\:")}.get(o.kind, " ")
    lines = []
    for o in options:
        value = f":{quote_zsh(o.argument)}:{action(o)}" if o.argument else ""
        repeat = "*" if o.many else ""
        if o.letter:
            group = repeat or f"(-{o.letter} --{o.name})"
            spec = f"'{group}'{{-{o.letter}{'+' if o.argument else ''},--{o.name}{'=' if o.argument else ''}}}" \
                   f"'[{quote_zsh(o.help)}]{value}'"
        else:
            spec = f"'{repeat}--{o.name}{'=' if o.argument else ''}[{quote_zsh(o.help)}]{value}'"
        lines.append(f"    {spec} \\")
    body = "\n".join(lines)
    return f"""#compdef pitot
# zsh completion for pitot, made from options.def

# WORD...: no blank behind those that something follows
_pitot_words() {{
    local -a open=(${{(M)@:#*[=:/]}}) closed=(${{@:#*[=:/]}})
    compadd -a closed
    compadd -S '' -a open
}}

_pitot_interfaces() {{
    compset -P '[0-9]##:'
    compadd - ${{:-/sys/class/net/*(N:t)}} any
}}

_pitot_collector() {{
    setopt localoptions extendedglob
    if compset -P '({'|'.join(url.rstrip(':') for url in urls.files)})(\\\\|):'; then
        if compset -P '*[?&]'; then
            _pitot_words {' '.join(urls.settings)}
        else
            _files
        fi
    elif compset -P '*://'; then
        _hosts
    else
        _pitot_words {' '.join(urls.beginnings)}
        _hosts
    fi
}}

_arguments -s -S \\
{body}
    '*:filter expression: '
"""


def fish(options, urls):
    def action(o):
        words = " ".join(o.parts if o.kind == "list" else o.choices)
        files = f" {' '.join('-F' + part for part in o.part_files)}" if o.part_files else ""
        return {"none": [], "file": ["-r", "-F"], "directory": ["-x", "-a", "'(__fish_complete_directories)'"],
                "interface": ["-x", "-a", "'(__pitot_interfaces)'"], "user": ["-x", "-a", "'(__fish_complete_users)'"],
                "group": ["-x", "-a", "'(__fish_complete_groups)'"], "collector": ["-x", "-a", "'(__pitot_collector)'"],
                "socket": ["-r", "-F", "-a", quote_fish(words)], "list": ["-x", "-a", f"'(__pitot_list{files} {words})'"],
                "choices": ["-x", "-a", quote_fish(words)]}.get(o.kind, ["-x"])
    lines = [f"""# fish completion for pitot, made from options.def

# what is typed of the value
function __pitot_value
    commandline -ct | string replace -r '^--[a-z-]+=' '' | string trim -l -c "'\\""
end

# HEAD TYPED: paths behind it
function __pitot_files
    set -l path (string sub -s (math (string length -- "$argv[1]") + 1) -- "$argv[2]")
    for found in $path*
        test -d $found; and set found $found/
        printf '%s\\n' $argv[1]$found
    end
end

# [-FNAME=...] PART...: parts of a list; behind one of the names a path
function __pitot_list
    set -l typed (__pitot_value)
    set -l head (string match -r '^.*,' -- "$typed")
    set -l part (string replace -r '^.*,' '' -- "$typed")
    for word in $argv
        if string match -q -- '-F*' $word
            set -l name (string sub -s 3 -- $word)
            string match -q -- "$name*" "$part"; and __pitot_files "$head$name" "$typed"
        else
            printf '%s\\n' "$head$word"
        end
    end
end

function __pitot_interfaces
    set -l head (__pitot_value | string match -r '^[0-9]+:')
    printf '%s\\n' "$head"(command ls /sys/class/net) "$head"any
end

function __pitot_collector
    set -l typed (__pitot_value)
    if not string match -qr '^({'|'.join(url.replace('+', chr(92) + '+') for url in urls.files)})' -- "$typed"
        printf '%s\\n' {' '.join(urls.beginnings)}
    else if string match -qr '[?]' -- "$typed"
        printf '%s\\n' (string match -r '^.*[?&]' -- "$typed"){{{','.join(urls.settings)}}}
    else
        __pitot_files (string match -r '^[^:]*:' -- "$typed") "$typed"
    end
end
""", "complete -c pitot -f"]
    for o in options:
        words = ["complete -c pitot", f"-l {o.name}"] + ([f"-s {o.letter}"] if o.letter else [])
        lines.append(" ".join(words + action(o) + ["-d", quote_fish(o.help)]))
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
    sys.stdout.write({"bash": bash, "zsh": zsh, "fish": fish}[sys.argv[1]](read(sys.argv[2]), read_urls(sys.argv[2])))


main()
