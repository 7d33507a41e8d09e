#!/usr/bin/env python3
"""pitotctl top in a terminal (tmux): 80x24 and 200x60, keys, a change of size, and what it leaves behind.

    top.py PITOT SRCROOT
"""
import os
import signal
import subprocess
import tempfile

from e2elib import DATA, PITOT, check, finish, have, is_served, skip, wait
from terminallib import Terminal

CTL = os.path.join(os.path.dirname(PITOT), "pitotctl")


def main():
    if not have("tmux") or not os.path.exists(CTL):
        skip("needs tmux and pitotctl")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        process = subprocess.Popen([PITOT, "-q", "-r", "-", "-n", "json:/dev/null", "-c", path, "-t",
                                    "active=3600,inactive=3600,tcp-end=off"], stdin=subprocess.PIPE)
        process.stdin.write((DATA / "mixed.pcap").read_bytes())
        process.stdin.flush()
        wait(lambda: is_served(path), "no control socket")
        for width, height, *environment in ((80, 24, "LC_ALL=C.UTF-8"), (200, 60, "LC_ALL=C.UTF-8"),
                                            (80, 24, "LC_ALL=C", "TERM=vt100", "NO_COLOR=1")):
            t = Terminal(folder, width, height, *environment)
            before = t.settings()
            t.keys(f"clear; {CTL} -c {path} top", "Enter")
            t.see("q quit")
            t.see("[2001:db8::2]:443")
            check(len(t.screen().splitlines()) == height, "not the whole screen")
            t.keys("v")
            t.see("talkers")
            t.keys("s")
            t.see("by octets")
            t.keys("/", "tcp port 80", "Enter")
            t.see("filter: tcp port 80", gone="10.0.0.1 ")
            t.keys("v", "v", "v")
            t.see("192.0.2.1:40000 > 198.51.100.2:80", gone="10.0.0.0:1024")
            t.keys("/", " tpc", "Enter")
            t.see("flow filter: word 4, 'tpc'")
            t.keys("p")
            t.see("PAUSED")
            t.keys("p", "h")
            t.see("of the 1000 largest flows")
            t.keys("h")
            t.tmux("resize-window", "-x", "100", "-y", "30")
            wait(lambda: len(t.screen().splitlines()) == 30 and "q quit" in t.screen().splitlines()[29], "resize")
            t.keys("q")
            t.see("ready", gone="q quit")
            t.clean(before)
            t.keys(f"clear; {CTL} -c {path} top", "Enter")
            t.see("q quit")
            t.keys("C-c")
            t.see("ready", gone="q quit")
            t.clean(before)
            t.end()
        t = Terminal(folder, 81, 24)
        before = t.settings()
        t.keys(f"clear; {CTL} -c {path} top", "Enter")
        t.see("q quit")
        process.send_signal(signal.SIGTERM)  # pitot ends: so does the view, and says why
        process.wait(60)
        process.stdin.close()
        t.see("pitotctl: pitot", gone="q quit")
        t.clean(before)
        t.end()
        got = subprocess.run([CTL, "-c", path, "top"], capture_output=True, text=True, timeout=30, check=False)
        check(got.returncode == 1, f"{got}")
    finish()


main()
