#!/usr/bin/env python3
"""Adds up meson's test logs: count.py LOG... prints 'N passed, N failed, N skipped'.

A LOG that is not there is a suite that never ran: one failure.  Exit status 1 when anything failed.
"""
import json
import sys

GOOD = {"OK", "EXPECTEDFAIL"}


def main(paths):
    passed = failed = skipped = 0
    for path in paths:
        try:
            with open(path, encoding="utf-8") as log:
                results = [json.loads(line)["result"] for line in log if line.strip()]
        except (OSError, ValueError, KeyError):
            results = ["ERROR"]
        for result in results:
            if result in GOOD:
                passed += 1
            elif result == "SKIP":
                skipped += 1
            else:
                failed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
