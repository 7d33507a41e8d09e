#!/usr/bin/env python3
"""gcovr's JSON as a table by folder, and whether the goals are met: coverage.py FILE"""
import collections
import json
import sys

OVERALL = 90.0
COMPLETE = ("probe/decode", "include/pitot/wire.h")  # every line


def share(lines):
    return 100.0 * sum(lines) / len(lines) if lines else 100.0


def main(path):
    with open(path, encoding="utf-8") as f:
        files = json.load(f)["files"]
    folders, missed, everything = collections.defaultdict(list), [], []
    for entry in files:
        name = entry["file"]
        folder = name if name in COMPLETE else name.rpartition("/")[0]
        lines = [bool(line["count"]) for line in entry["lines"] if not line.get("gcovr/noncode")]
        folders[folder] += lines
        everything += lines
        missed += [f"{name}:{line['line_number']}" for line in entry["lines"]
                   if not line["count"] and not line.get("gcovr/noncode") and folder in COMPLETE]
    for folder, lines in sorted(folders.items()):
        print(f"{folder:24} {share(lines):6.1f} %  of {len(lines):5} lines")
    print(f"{'all':24} {share(everything):6.1f} %  of {len(everything):5} lines")
    for place in missed:
        print(f"not reached: {place}")
    return 1 if missed or share(everything) < OVERALL else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
