#!/usr/bin/env python3
"""Calls go down: lint_rings.py SRCROOT.

No file of a folder calls, by whatever others lie between, one that calls it.  What a header has inline counts
with the file of its name.
"""
import re

from lintlib import code, error, finish, root, sources

ATTRIBUTE = r"(?:__attribute__\(\([^\n]*\)\)\s*)?"
FUNCTION = re.compile(rf"^{ATTRIBUTE}(?!typedef\b)[a-zA-Z]\w*\b[^;={{}}()#]*?{ATTRIBUTE}[^;={{}}()#]*?\b(\w+)\([^;{{}}]*\)\s*\{{",
                      re.M)
CALL = re.compile(r"\b([a-z]\w*)\b(?!\s*:)")


def bodies(text):
    """(name, is static, body) of each function."""
    for match in FUNCTION.finditer(text):
        end = text.find("\n}", match.end())
        yield match.group(1), bool(re.search(r"\bstatic\b|^DECODE_HOT\b", match.group())), text[match.end():end]


def calls_of(folder):
    """Which file calls which, and by what."""
    texts = {p: code(p) for p in sources(f"probe/{folder}", suffixes=(".c", ".h"))}
    defined = {}
    for path, text in texts.items():
        for name, is_static, _ in bodies(text):
            if path.suffix == ".h" or not is_static:
                defined.setdefault(name, path.stem)
    calls = {path.stem: {} for path in texts}
    for path, text in texts.items():
        used = text if path.suffix == ".c" else "\n".join(body for _, _, body in bodies(text))
        for name in CALL.findall(used):
            if defined.get(name, path.stem) != path.stem:
                calls[path.stem].setdefault(defined[name], name)
    return calls


def reachable(calls, start):
    seen, left = set(), [start]
    while left:
        for to in calls[left.pop()]:
            if to not in seen:
                seen.add(to)
                left.append(to)
    return seen


def main():
    for folder in sorted(p.name for p in (root() / "probe").iterdir() if p.is_dir()):
        calls = calls_of(folder)
        below = {file: reachable(calls, file) for file in calls}
        done = set()
        for file in calls:
            ring = {other for other in below[file] if file in below[other]} | {file}
            if len(ring) == 1 or file in done:
                continue
            done |= ring
            steps = [f"{a} calls {b} ({calls[a][b]})" for a in sorted(ring) for b in sorted(ring) if b in calls[a]]
            error(f"probe/{folder}", "a ring: " + ", ".join(steps))
    finish()


main()
