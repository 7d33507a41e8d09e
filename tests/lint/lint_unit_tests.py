#!/usr/bin/env python3
"""Every source of probe/ has a unit test that names it: lint_unit_tests.py SRCROOT.

tests/unit/test_NAME.c (or tests/golden/golden_NAME.c) covers NAME.c, and every FOLDER/NAME.c that its first
comment names.
"""
import re

from lintlib import error, finish, name, root

# Not worth a unit test of their own, and why.
EXCEPTIONS = {
    "main.c": "end to end: tests/e2e",
    "process/control.c": "end to end: tests/e2e",
    "process/contacts.c": "end to end: tests/e2e/control.py, metrics.py, live_view.py and waits.py",
    "process/orders.c": "end to end: tests/e2e/reload.py and control.py",
    "process/ending.c": "end to end: tests/e2e/waits.py",
    "process/reporting.c": "end to end: tests/e2e/metrics.py and messages.py",
    "process/verdict.c": "end to end: tests/e2e/messages.py",
    "process/setup.c": "end to end: tests/e2e",
    "process/role.c": "end to end: tests/e2e, above all sandbox.py",
    "process/role_exporting.c": "end to end: tests/e2e, above all sandbox.py",
    "process/role_metering.c": "end to end: tests/e2e, above all sandbox.py",
    "process/roles.c": "end to end: tests/e2e, above all revive.py",
    "process/stepping.c": "end to end: tests/e2e/polite.py",
    "process/revive.c": "end to end: tests/e2e/revive.py",
    "process/daemon.c": "end to end: tests/e2e",
    "process/pidfile.c": "end to end: tests/e2e/waits.py",
    "process/statistics.c": "end to end: tests/e2e/waits.py",
    "process/announce.c": "end to end: tests/e2e/messages.py",
    "ctl/pitotctl.c": "end to end: tests/e2e/control.py",
    "ctl/screen_curses.c": "end to end: tests/e2e/top.py",
    "process/live_view.c": "end to end: tests/e2e/live_view.py",
    "ctl/screen_terminal.c": "end to end: tests/e2e/live_view.py",
    "transport/compress_gz_none.c": "says that there is none",
    "transport/compress_zst_none.c": "says that there is none",
    "ctl/screen_none.c": "says that there is none",
    "ctl/diagnosis.c": "end to end: tests/e2e/doctor.py",
    "doctor/doctor_look.c": "end to end: tests/e2e/doctor.py",
    "doctor/doctor_tls.c": "end to end: tests/e2e/doctor.py",
    "doctor/doctor_tls_none.c": "says that there is none",
    "process/diagnose.c": "end to end: tests/e2e/doctor.py",
    "ctl/show.c": "end to end: tests/e2e/control.py",
    "process/metrics.c": "end to end: tests/e2e/metrics.py",
    "process/metrics_none.c": "says that there is none",
    "capture/capture_socket_program_none.c": "says that there is none",
    "process/control_requests.c": "end to end: tests/e2e/control.py",
    "process/control_streams.c": "end to end: tests/e2e/control.py",
    "process/metering_flows.c": "end to end: tests/e2e/control.py",
    "process/control_requests_none.c": "says that there is none",
    "process/hand_over.c": "end to end: tests/e2e/takeover.py",
    "process/exporting_hand_over.c": "end to end: tests/e2e/takeover.py",
    "process/metering_hand_over.c": "end to end: tests/e2e/takeover.py",
    "process/take_over.c": "end to end: tests/e2e/takeover.py",
    "process/take_over_restore.c": "end to end: tests/e2e/takeover.py",
    "process/take_over_offer.c": "end to end: tests/e2e/takeover.py",
    "process/take_over_offer_none.c": "says that there is none",
    "process/confine.c": "end to end: tests/e2e/sandbox.py",
    "process/interfaces.c": "end to end: tests/e2e/sandbox.py",
}


def main():
    probe = root() / "probe"
    stems, heads = set(), ""
    listed = (root() / "tests/unit/meson.build").read_text() + (root() / "tests/golden/meson.build").read_text()
    for path in sorted((root() / "tests").glob("*/*.c")):
        match = re.fullmatch(r"(?:test|golden)_(\w+)\.c", path.name)
        if not match:
            continue
        if not re.search(rf"'(?:test_)?{match.group(1)}'", listed):
            error(name(path), "is in no list of its meson.build: it never runs")
            continue
        stems.add(match.group(1))
        comment = re.match(r"\s*/\*.*?\*/", path.read_text(encoding="utf-8"), re.S)
        heads += comment.group() if comment else ""
    covered = set(re.findall(r"[\w/]+\.c\b", heads))
    for path in sorted(probe.rglob("*.c")):
        short = str(path.relative_to(probe))
        if path.stem in stems or short in covered or f"probe/{short}" in covered:
            if short in EXCEPTIONS:
                error(short, "has a unit test: take it off the exceptions of this lint")
        elif short not in EXCEPTIONS:
            error(name(path), "no unit test names it")
    for short in EXCEPTIONS:
        if not (probe / short).exists():
            error(short, "is an exception of this lint and does not exist")
    finish()


main()
