#!/usr/bin/env python3
"""The systemd units are as closed as they were meant to be: lint_units.py SRCROOT.

`systemd-analyze security --offline` has to say 1.7 or better, and the unit files have to parse.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lintlib import error, finish, name, root

WORST = 1.7
MUST = ["Type=notify", "WatchdogSec=", "DynamicUser=yes", "NoNewPrivileges=yes", "CapabilityBoundingSet=CAP_NET_RAW"]


def analyze(*args):
    return subprocess.run(["systemd-analyze", *args], capture_output=True, text=True, check=False,
                          env={**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"})


def main():
    units = sorted((root() / "scripts/systemd").glob("*.in"))
    if [u.name for u in units] != ["pitot.service.in", "pitot@.service.in"]:
        error("scripts/systemd", f"has {[u.name for u in units]}")
    for unit in units:
        lines = unit.read_text().splitlines()
        for must in MUST:
            if not any(line.startswith(must) for line in lines):
                error(name(unit), f"has no {must}")
        if any(line.startswith("User=root") for line in lines):
            error(name(unit), "runs as root")
    if not shutil.which("systemd-analyze"):
        print("skipped: no systemd-analyze here")
        if os.environ.get("CI") == "true":
            error("systemd-analyze", "not installed, and with CI=true nothing is skipped")
            finish()
        sys.exit(77)
    with tempfile.TemporaryDirectory() as d:
        program = Path(d) / "sbin/pitot"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        for unit in units:
            text = unit.read_text().replace("@sbindir@", str(program.parent)).replace("@sysconfdir@", "/etc")
            if "@" in re.sub(r"pitot@|@[a-z-]+\b|#.*", "", text):
                error(name(unit), "has a placeholder that this lint, or meson.build, does not know")
            path = Path(d) / unit.name.replace(".in", "").replace("@.", "@name.")
            path.write_text(text)
            verdict = analyze("security", "--offline=true", "--no-pager", str(path))
            level = re.search(r"exposure level for \S+: ([\d.]+)", verdict.stdout)
            if not level:
                error(name(unit), f"systemd-analyze security: {verdict.stderr.strip() or verdict.stdout.strip()}")
            elif float(level.group(1)) > WORST:
                error(name(unit), f"exposure level {level.group(1)}, {WORST} at most")
            else:
                print(f"{name(unit)}: exposure level {level.group(1)}")
            for line in analyze("verify", "--man=no", str(path)).stderr.splitlines():
                if path.name in line and re.search(r"Unknown|Failed to parse|Invalid|not executable|ignoring", line):
                    error(name(unit), line)
    finish()


main()
