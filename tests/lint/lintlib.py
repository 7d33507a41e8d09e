"""What the lints share: the sources without their comments, and how to report."""
import re
import sys
from pathlib import Path

errors = []


def error(where, text):
    errors.append(f"{where}: {text}")


def finish():
    for line in errors:
        print(line)
    sys.exit(1 if errors else 0)


def root():
    return Path(sys.argv[1]).resolve()


def sources(*folders, suffixes=(".c", ".h", ".def")):
    for folder in folders:
        for path in sorted((root() / folder).rglob("*")):
            if path.suffix in suffixes and path.is_file():
                yield path


def name(path):
    return str(path.relative_to(root()))


TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code(path, keep_strings=False):
    """The text without comments and without what is in quotes; the lines keep their numbers."""
    def blank(match):
        token = match.group()
        if token[0] in "\"'":
            return token if keep_strings else token[0] * 2
        return re.sub(r"[^\n]", " ", token)
    return TOKEN.sub(blank, path.read_text(encoding="utf-8"))


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1
