#!/usr/bin/env python3
"""The documents of the statistics agree with the rows of ledger.def: lint_ledger.py SRCROOT [--write].

The table in man/pitot.8 and scripts/statistics.schema.json are made of the rows; --write makes them anew.
"""
import json
import re
import subprocess
import sys
import textwrap

from lintlib import error, finish, root

TAG = "@ROW@"
DEFINES = f"""
#define LEDGER(group, name, kind, unit, value, metric, help) {TAG} #group | "" | #name | #kind | #unit | metric | help | #value {TAG}
#define LEDGER_OF(group, family, label, name, kind, unit, value, metric, help) {TAG} #group | #family | #name | #kind | #unit | metric | help | #value {TAG}
#define COLLECTOR(family, name, kind, unit, value, metric, help) {TAG} "collectors" | #family | #name | #kind | #unit | metric | help | #value {TAG}
#define BALANCE(text, left, right)
#include "ledger.def"
"""
BEGIN, END = '.\\" The rows of ledger.def, by tests/lint/lint_ledger.py --write:', '.\\" End of the rows.'
# What stands beside the rows in the JSON object.
COUNT = {"type": "integer", "minimum": 0}
SECONDS = {"type": "number", "minimum": 0}
UNKNOWN = {"type": ["integer", "null"], "minimum": 0}
UNKNOWN_SECONDS = {"type": ["number", "null"], "minimum": 0}


def strings(text):
    return "".join(json.loads(s) for s in re.findall(r'"(?:[^"\\]|\\.)*"', text))


def rows():
    # #group works inside a macro only: stringify by an inner macro
    source = DEFINES.replace("#group", "S(group)").replace("#family", "S(family)").replace("#name", "S(name)")
    source = source.replace("#kind", "S(kind)").replace("#unit", "S(unit)").replace("#value", "S(value)")
    source = "#define S(...) #__VA_ARGS__\n" + source
    out = subprocess.run(["cc", "-E", "-P", "-I", str(root() / "probe/process"), "-I", str(root() / "include"), "-"],
                         input=source, capture_output=True, text=True, check=True).stdout
    for row in out.split(TAG)[1::2]:
        group, family, name, kind, unit, metric, text, value = [strings(part) for part in row.split("|", 7)]
        if "LEDGER_UNKNOWN" in value:
            unit = "UNKNOWN_SECONDS" if unit == "SECONDS" else "UNKNOWN"
        yield group, family, name.lower(), kind, unit, metric, text


def man_table(all_rows):
    lines = [BEGIN, '.Bl -tag -width Ds -compact']
    last = None
    for group, family, name, _, _, _, text in all_rows:
        if group == "collectors" and last != "collectors":
            lines += [".El", ".Pp", "Of each of the", ".Cm collectors :", ".Pp", '.Bl -tag -width Ds -compact']
        path = ".".join(p for p in ((group if group != "collectors" else ""), family, name) if p)
        lines += [f".It Cm {path}"] + textwrap.wrap(text[0].upper() + text[1:] + ".", 78)
        last = group
    return lines + [".El", END]


def schema(all_rows):
    top = {"version": {"type": "string"}, "seconds": SECONDS, "final": {"type": "boolean"}}
    collector = {"url": {"type": "string"}, "state": {"enum": ["connecting", "up", "failed"]}}

    def put(into, name, text, unit):
        into[name] = dict({"SECONDS": SECONDS, "UNKNOWN": UNKNOWN, "UNKNOWN_SECONDS": UNKNOWN_SECONDS}.get(unit, COUNT), description=text)

    def within(into, name):
        child = into.setdefault(name, {"type": "object", "additionalProperties": False, "properties": {}})
        return child["properties"]

    for group, family, name, _, unit, _, text in all_rows:
        into = collector if group == "collectors" else within(top, group)
        put(within(into, family) if family else into, name, text, unit)

    def require(node):
        if isinstance(node, dict) and node.get("type") == "object":
            node["required"] = list(node["properties"])
            for child in node["properties"].values():
                require(child)

    item = {"type": "object", "additionalProperties": False, "properties": collector}
    require(item)
    item["properties"]["last_error"] = {"type": "string"}
    top["collectors"] = {"type": "array", "items": item}
    top["ledger"] = {"type": "object", "additionalProperties": False, "properties": {"balanced": {"type": "boolean"}}}
    whole = {"type": "object", "additionalProperties": False, "properties": top}
    require(whole)
    top["ledger"]["properties"]["unbalanced"] = {"type": "string"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "The statistics of pitot --stats",
            **whole}


def main():
    all_rows = list(rows())
    man, shape = root() / "man/pitot.8", root() / "scripts/statistics.schema.json"
    table = "\n".join(man_table(all_rows)) + "\n"
    wanted = json.dumps(schema(all_rows), indent=1) + "\n"
    text = man.read_text(encoding="utf-8")
    match = re.search(re.escape(BEGIN) + r".*?" + re.escape(END) + r"\n", text, re.S)
    if not match:
        error("man/pitot.8", "has no place for the rows of ledger.def")
    elif "--write" in sys.argv:
        man.write_text(text[:match.start()] + table + text[match.end():], encoding="utf-8")
        shape.write_text(wanted, encoding="utf-8")
    else:
        if match.group() != table:
            error("man/pitot.8", "the table of statistics is not that of ledger.def: tests/lint/lint_ledger.py . --write")
        if not shape.exists() or shape.read_text(encoding="utf-8") != wanted:
            error("scripts/statistics.schema.json", "is not that of ledger.def: tests/lint/lint_ledger.py . --write")
    names = [(group, family, name) for group, family, name, *_ in all_rows]
    for one in set(names):
        if names.count(one) > 1:
            error("ledger.def", f"{'.'.join(one)} stands twice")
    for *_, metric, help_text in all_rows:
        if help_text.endswith(".") or not re.fullmatch(r"[a-z][a-z_]*", metric):
            error("ledger.def", f"'{metric}', '{help_text}': a metric is lower case, help has no full stop")
    finish()


main()
