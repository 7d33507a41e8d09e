#!/usr/bin/env python3
"""Options: options.def, --help, pitot(8) and pitot.conf(5) say the same.

lint_options.py SRCROOT [PITOT]: every option of options.def, with its letter and its default, is in all of them,
and none of them has another.  Without PITOT, --help is not looked at.
"""
import re
import subprocess
import sys
from pathlib import Path

ROW = re.compile(
    r'OPTION\("(?P<name>[^"]+)", (?P<letter>0|\'.\'), "(?P<arg>[^"]*)", (?P<kind>\w+), (?P<member>\w+), '
    r'(?P<min>\d+), (?P<max>\d+), "(?P<preset>[^"]*)", (?P<flags>\w+),')
PLAIN_HELP = re.compile(r"^  (?:-(?P<letter>.), |    )--(?P<name>[a-z-]+)")

errors = []


def error(text):
    errors.append(text)


def read_rows(root):
    source = (root / "include/pitot/options.def").read_text(encoding="utf-8")
    source = re.sub(r"/\*.*?\*/", "", source, flags=re.S)
    rows = {}
    for match in ROW.finditer(re.sub(r"\s+", " ", source)):
        row = match.groupdict()
        row["letter"] = "" if row["letter"] == "0" else row["letter"].strip("'")
        rows[row["name"]] = row
    if len(rows) != source.count("OPTION("):
        error(f"options.def: {source.count('OPTION(')} rows, of which {len(rows)} are understood")
    letters = [row["letter"] for row in rows.values() if row["letter"]]
    for letter in set(letters):
        if letters.count(letter) > 1:
            error(f"options.def: -{letter} is given away twice")
    return rows


def compare_names(where, found, wanted):
    for name in sorted(set(wanted) - set(found)):
        error(f"{where}: {name} is missing")
    for name in sorted(set(found) - set(wanted)):
        error(f"{where}: {name} is not in options.def")


def compare_entry(where, row, letter, preset):
    if letter is not None and letter != row["letter"]:
        error(f"{where}: --{row['name']}: letter '{letter}', but '{row['letter']}' in options.def")
    if preset != row["preset"]:
        error(f"{where}: --{row['name']}: default '{preset}', but '{row['preset']}' in options.def")


def mdoc_entries(text):
    """(head, body) of every .It."""
    parts = re.split(r"^\.It (.*)$", text, flags=re.M)
    for head, body in zip(parts[1::2], parts[2::2]):
        yield head, re.split(r"^\.(?:El|Ss|Sh)\b", body, flags=re.M)[0]


def mdoc_preset(body):
    match = re.search(r"^Default:\n\.Cm (.*) \.$", body, flags=re.M)
    return match.group(1) if match else ""


def bounds(row):
    """The least and the most of a number, as the man page says them; None where there are none."""
    if row["kind"] in ("ACTIVE", "INACTIVE"):
        return "from 0.001 to 31536000"
    if row["kind"] not in ("U32", "INT", "MTU", "WORKERS", "SIZE", "SECONDS"):
        return None
    ends = []
    for end in (int(row["min"]), int(row["max"])):
        units = iter(("", "K", "M", "G"))
        unit = next(units)
        while row["kind"] == "SIZE" and unit != "G" and end and end % 1024 == 0:
            end, unit = end // 1024, next(units)
        ends.append(f"{end}{unit}")
    return "from {} to {}".format(*ends)


def mdoc_section(text, title):
    return re.split(r"^\.Sh ", text.split(f".Sh {title}\n", 1)[1], flags=re.M)[0]


def check_man8(root, rows):
    where = "man/pitot.8"
    text = (root / where).read_text(encoding="utf-8")
    found = {}
    for head, body in mdoc_entries(mdoc_section(text, "DESCRIPTION")):
        match = re.match(r"Fl (?:(\w) , Fl )?-([a-z-]+)", head)
        if not match:
            error(f"{where}: '.It {head}' is no option")
            continue
        name = match.group(2)
        if name in found:
            error(f"{where}: --{name} stands there twice")
        found[name] = (match.group(1) or "", body)
    compare_names(where, found, rows)
    for name in found.keys() & rows.keys():
        letter, body = found[name]
        compare_entry(where, rows[name], letter, mdoc_preset(body))
        if (rows[name]["flags"].startswith("MANY")) != ("Repeatable" in body):
            error(f"{where}: --{name}: 'Repeatable' and the MANY of options.def differ")
        limits = bounds(rows[name])
        if limits and not re.search(limits.replace(".", r"\.") + r"\b", " ".join(body.split()), re.I):
            error(f"{where}: --{name}: '{limits}' is not said")
    for used in re.findall(r"\bFl -([a-z-]+)", text):
        if used not in rows:
            error(f"{where}: --{used} is mentioned and not in options.def")


def check_man5(root, rows):
    where = "man/pitot.conf.5"
    text = (root / where).read_text(encoding="utf-8")
    found = {}
    for head, body in mdoc_entries(mdoc_section(text, "OPTIONS")):
        match = re.match(r"Cm ([a-z-]+) No =", head)
        if not match:
            error(f"{where}: '.It {head}' is no option")
            continue
        found[match.group(1)] = body
    compare_names(where, found, [name for name in rows if rows[name]["flags"] != "CLI"])
    for name in found.keys() & rows.keys():
        compare_entry(where, rows[name], None, mdoc_preset(found[name]))
        if (rows[name]["flags"].startswith("MANY")) != ("Repeatable" in found[name]):
            error(f"{where}: {name}: 'Repeatable' and the MANY of options.def differ")
    tail = text.split("no place in a file", 1)[1]
    compare_names(f"{where}: command line only", re.findall(r"Fl -([a-z-]+)", tail.split(".Sh", 1)[0]),
                  [name for name in rows if rows[name]["flags"] == "CLI"])


def check_help(pitot, rows):
    text = subprocess.run([pitot, "--help"], capture_output=True, text=True, check=True, timeout=20).stdout
    found = {}
    entries = re.split(r"\n(?=  (?:-\w, |    )--)", text)
    for entry in entries[1:]:
        match = PLAIN_HELP.match(entry)
        body = entry.split("\n\n")[0]
        preset = re.search(r"\[([^][ ]+)\]\s*$", body)
        found[match.group("name")] = (match.group("letter") or "", preset.group(1) if preset else "")
    compare_names("--help", found, rows)
    for name in found.keys() & rows.keys():
        compare_entry("--help", rows[name], *found[name])


def check_tunnels(root):
    """--decapsulate names the rows of tunnels.def, and pitot(8) lists them."""
    text = (root / "include/pitot/tunnels.def").read_text(encoding="utf-8")
    names = re.findall(r'^TUNNEL\(\w+, "([^"]+)", (\d+),', text, re.M)
    page = (root / "man/pitot.8").read_text(encoding="utf-8")
    listed = page.split(".Bl -tag -width vxlan-gpe -compact\n")[1].split(".El\n")[0]
    if re.findall(r"^\.It Cm (\S+)", listed, re.M) != [name for name, _ in names]:
        errors.append("man/pitot.8: the list of tunnels is not that of include/pitot/tunnels.def")
    for name, port in names:
        if port != "0" and not re.search(rf"^\.It Cm {re.escape(name)}\n.*UDP port {port}$", listed, re.M):
            errors.append(f"man/pitot.8: tunnel {name} has the UDP port {port}")


def main(argv):
    root = Path(argv[1])
    check_tunnels(root)
    rows = read_rows(root)
    check_man8(root, rows)
    check_man5(root, rows)
    if len(argv) > 2:
        check_help(argv[2], rows)
    for text in errors:
        print(text)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
