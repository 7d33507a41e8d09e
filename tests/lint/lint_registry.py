#!/usr/bin/env python3
"""ie.def against IANA's registry of IPFIX information elements: lint_registry.py SRCROOT.

ipfix-elements.csv beside this file has what is needed of the registry (https://www.iana.org/assignments/ipfix,
CC0): id, name, type, status.  make_elements.py writes it.
"""
import csv
import re
from pathlib import Path

from lintlib import code, error, finish, root

# octets of each abstract data type (RFC 7012 §3.1, RFC 7011 §6.1); the second set: reduced sizes (§6.2)
SIZES = {
    "unsigned8": ({1}, set()), "unsigned16": ({2}, {1}), "unsigned32": ({4}, {1, 2, 3}),
    "unsigned64": ({8}, set(range(1, 8))), "unsigned256": ({32}, set(range(1, 32))),
    "signed8": ({1}, set()), "signed16": ({2}, {1}), "signed32": ({4}, {1, 2, 3}), "signed64": ({8}, set(range(1, 8))),
    "float32": ({4}, set()), "float64": ({8}, {4}), "boolean": ({1}, set()), "macAddress": ({6}, set()),
    "ipv4Address": ({4}, set()), "ipv6Address": ({16}, set()), "dateTimeSeconds": ({4}, set()),
    "dateTimeMilliseconds": ({8}, set()), "dateTimeMicroseconds": ({8}, set()), "dateTimeNanoseconds": ({8}, set()),
}
ANY = {"string", "octetArray", "basicList", "subTemplateList", "subTemplateMultiList"}
# NetFlow v9 has elements with lengths of its own (RFC 3954 §8); what is longer there than the registry's type
LONGER_IN_V9 = {}

# Deprecated by IANA, and what NetFlow v9 collectors still read to learn the sampling rate
DEPRECATED = {34, 35, 48, 49, 50}

# only IE has an id9 behind the id
ROW = re.compile(r"^\s*(IE|IE_CONST|IE_FACT)\(\s*(\w+)\s*,\s*(\d+)\s*,\s*(\d+)\s*,\s*(\w+)\s*,\s*(\w+)\s*,", re.M)
PAIR = re.compile(r"^\s*IE_PAIR\(\s*(\w+)\s*,\s*(\w+)\s*\)", re.M)


def check_length(where, entry, length):
    kind = entry["type"]
    if kind in ANY:
        return
    if kind not in SIZES:
        error(where, f"type {kind} is unknown to this lint")
    elif not length.isdigit():
        error(where, f"{kind} has a fixed length, not {length}")
    elif int(length) not in SIZES[kind][0] | SIZES[kind][1]:
        error(where, f"{length} octets are none of {kind}'s lengths")


def main():
    with open(Path(__file__).with_name("ipfix-elements.csv"), encoding="utf-8", newline="") as f:
        registry = {int(row["id"]): row for row in csv.DictReader(f)}
    text = code(root() / "include/pitot/ie.def")
    seen, names = {}, set()
    rows = ROW.findall(re.sub(r"^(IE\(\s*\w+\s*,\s*\d+\s*,\s*\d+\s*,)\s*\d+\s*,", r"\1", text, flags=re.M))
    if len(rows) != len(re.findall(r"^\s*IE(?:_CONST|_FACT)?\(", text, re.M)) or not rows:
        error("ie.def", f"only {len(rows)} of its rows are understood")
    for kind, name, pen, number, length, length9 in rows:
        where = f"ie.def: {name}"
        # of two of a number: the outer packet's, or the egress interface's behind the ingress one's
        prefix = re.match(r"outer(?=[A-Z])", name) or ((pen, number) in seen and re.match(r"egress(?=[A-Z])", name))
        outer = bool(prefix)
        if (pen, number) in seen and not outer and kind != "IE_FACT" and seen[pen, number][0] != "IE_FACT":
            error(where, f"{number} is also {seen[pen, number][1]}")
        if not outer:
            seen[pen, number] = (kind, name)
        names.add(name)
        if pen != "0":
            continue
        entry = registry.get(int(number))
        if not entry:
            error(where, f"IANA has no element {number}")
            continue
        if outer:
            name = name[prefix.end()].lower() + name[prefix.end() + 1:]
        if entry["name"] != name:
            error(where, f"IANA's {number} is {entry['name']}")
        if entry["status"] == "deprecated" and int(number) not in DEPRECATED:
            error(where, f"{number} is deprecated")
        check_length(where, entry, length)
        if length9.isdigit() and int(length9) == 0:
            continue  # not in NetFlow v9
        if LONGER_IN_V9.get(name) != length9:
            check_length(where, entry, length9)
    for pair in PAIR.findall(text):
        for name in pair:
            if name not in names:
                error("ie.def", f"IE_PAIR names {name}, which has no row")
    finish()


main()
