#!/usr/bin/env python3
"""The tree as a stranger finds it: lint_tree.py SRCROOT.

No machine's paths, no left-over marks, no binaries outside tests, text that ends in a newline without trailing
blanks, tabs in C.  Files and lines that are too long are a note.
"""
import re
import subprocess

from lintlib import error, finish, name, root

BINARY = {".pcap", ".pcapng", ".bin", ".ipfix"}
MARKS = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")
PATHS = re.compile(r"/(home|root|work)/\w|/tmp/(brief|issue|build-)")
TOP = {"probe", "include", "tests", "scripts", "man", "meson.build", "README.md", "meson_options.txt", "LICENSE",
       "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md", ".clang-format", ".editorconfig", ".gitignore", ".ci"}
LONG = 500
WIDE = 110


def tracked():
    """The files of the repository; of the folder when it is no repository (a source archive)."""
    git = subprocess.run(["git", "-C", str(root()), "-c", "safe.directory=*", "ls-files", "-z"], capture_output=True,
                         check=False)
    if git.returncode == 0 and git.stdout:
        return [root() / f for f in git.stdout.decode().split("\0") if f and (root() / f).exists()]
    return [p for top in sorted(TOP) for p in ([root() / top] if (root() / top).is_file() else
                                               sorted((root() / top).rglob("*"))) if p.is_file()
            and "__pycache__" not in p.parts]


def check_text(path, text):
    where = name(path)
    if text and not text.endswith("\n"):
        error(where, "does not end in a newline")
    for number, line in enumerate(text.split("\n"), 1):
        if MARKS.search(line):
            error(f"{where}:{number}", "a mark of something unfinished")
        if PATHS.search(line):
            error(f"{where}:{number}", "a path of somebody's machine")
        if line.rstrip() != line and path.suffix != ".md":
            error(f"{where}:{number}", "blanks at the end of the line")
        if path.suffix in {".c", ".h"} and re.match(r" {8}", line) and line.strip() != "\\":
            error(f"{where}:{number}", "indented by blanks")
    if path.suffix in {".c", ".h", ".py"} and text.count("\n") > LONG:
        print(f"note: {where} has {text.count(chr(10))} lines")
    wide = sum(len(line.expandtabs(8)) > WIDE for line in text.split("\n"))
    if path.suffix in {".c", ".h"} and wide:
        print(f"note: {where} has {wide} lines of more than {WIDE} columns")


def main():
    for path in tracked():
        top = path.relative_to(root()).parts[0]
        if top not in TOP:
            error(name(path), "the top level is fixed")
        if path.suffix in BINARY or "tests/fuzz/corpus" in name(path):
            continue
        try:
            check_text(path, path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            error(name(path), "is neither UTF-8 nor a kind of file that may be binary")
    finish()


main()
