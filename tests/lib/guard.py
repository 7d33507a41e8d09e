#!/usr/bin/env python3
"""guard.c: nothing outlives a test, however it ends: guard.py GUARD"""
import os
import signal
import subprocess
import sys
import time

GUARD, PATIENCE_S = sys.argv[1], 60
# A file system and a daemon, which leaves where it is in a file; then the test does what comes as an argument, or goes on
# for ever.  What goes on tells us that it does: a shell may lose an interrupt while it waits for a child.
SCRIPT = """mkdir "$TMPDIR/m"; mount -t tmpfs none "$TMPDIR/m" 2>/dev/null
setsid sh -c 'echo $$ "$TMPDIR" > "$TMPDIR/new"; mv "$TMPDIR/new" "$TMPDIR/file"; exec sleep 1000' &
while [ ! -e "$TMPDIR/file" ]; do sleep 0.01; done
if [ "$1" ]; then cat "$TMPDIR/file"; eval "$1"; fi
exec tail -f "$TMPDIR/file"
"""


def wait(what, text):
    end = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > end:
            sys.exit(f"FAILED: {text}")
        time.sleep(0.01)


def begin(then=""):
    guard = subprocess.Popen([GUARD, "sh", "-c", SCRIPT, "sh", then], stdout=subprocess.PIPE, text=True, start_new_session=True)
    pid, folder = guard.stdout.readline().split()
    return guard, pid, folder


def check(guard, pid, folder, statuses, how):
    status = guard.wait(PATIENCE_S)
    wait(lambda: not os.path.exists(f"/proc/{pid}") and not os.path.exists(folder), f"{how}: {pid} or {folder} outlives the test")
    if status not in statuses:
        sys.exit(f"FAILED: {how}: status {status}, not {statuses}")


for status in (0, 1, 77):
    check(*begin(f"exit {status}"), {status}, f"exit {status}")
check(*begin("kill -SEGV $$"), {-signal.SIGSEGV}, "a signal of its own")
for how in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
    test = begin()
    os.killpg(test[0].pid, how)
    check(*test, {-signal.SIGKILL if how == signal.SIGKILL else -signal.SIGINT}, how.name)
if subprocess.run([GUARD, "/no/such/program"], stderr=subprocess.DEVNULL, check=False).returncode != 127:
    sys.exit("FAILED: a test that is not there")
