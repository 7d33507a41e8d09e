#!/usr/bin/env python3
"""Where a function is told by its name: lint_names.py SRCROOT.

A static function begins with a word of its file's name, as session_queue.c has queue_put() or session_put(): so a stack
trace and grep say where one is.  A word may stand in the plural or the singular, or be cut.  In Python, where the second of
two takes the place of the first without a word, a module has no two functions of one name.
"""
import re

from lintlib import code, error, finish, line_of, name, sources

FUNCTION = re.compile(r"^(?:__attribute__\(\([^\n]*\)\)\s*)?static\s[^;={}()]*?(?:__attribute__\(\([\w(), ]*\)\)[^;={}()]*?)?"
                      r"\b(\w+)\([^;{}]*\)\s*\{", re.M)
CUT = 4  # letters that are left of a word, at least


def is_of(word, file_words):
    for other in file_words:
        short, long = sorted((word, other), key=len)
        if word == other or long == short + "s" or (len(short) >= CUT and long.startswith(short)):
            return True
    return False


def main():
    n = 0
    for path in sources("probe", suffixes=(".c",)):
        text = code(path)
        words = path.stem.split("_")
        for match in FUNCTION.finditer(text):
            n += 1
            function = match.group(1)
            if not is_of(function.split("_")[0], words):
                error(f"{name(path)}:{line_of(text, match.start(1))}",
                      f"{function}() does not begin with one of: {', '.join(words)}")
    for path in sources("tests", "scripts", suffixes=(".py",)):
        defined = set()
        for match in re.finditer(r"^(?:def|class) (\w+)", path.read_text(encoding="utf-8"), re.M):
            if match.group(1) in defined:
                error(name(path), f"{match.group(1)} is defined twice")
            defined.add(match.group(1))
    print(f"{n} static functions")
    finish()


main()
