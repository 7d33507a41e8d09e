#!/usr/bin/env python3
"""The man pages are clean mdoc: lint_man.py SRCROOT.  mandoc has to find nothing, not even a matter of style."""
import os
import shutil
import subprocess
import sys

from lintlib import error, finish, root


def main():
    if not shutil.which("mandoc"):
        print("mandoc is not installed")
        sys.exit(1 if os.environ.get("CI") == "true" else 77)
    pages = sorted((root() / "man").glob("*.[1-9]"))
    if not pages:
        error("man", "has no page")
    for page in pages:
        got = subprocess.run(["mandoc", "-Tlint", "-Wstyle", str(page)], capture_output=True, text=True, check=False)
        for line in (got.stdout + got.stderr).splitlines():
            if "referenced manual not found" not in line and "mandoc.db lacks" not in line:
                error(page.name, line.replace(str(page), "").lstrip(": "))
    finish()


main()
