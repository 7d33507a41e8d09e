#!/usr/bin/env python3
"""pitot --live in a terminal (tmux): the view, what ends it and what the shell sees then; and no terminal at all.

    live_view.py PITOT SRCROOT
"""
import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading

import e2elib as e
from live import enter_quiet_namespace
from terminallib import Terminal


class Traffic(threading.Thread):
    """Datagrams on lo, until it is stopped."""

    def __init__(self):
        super().__init__(daemon=True)
        self.to = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.to.bind(("127.0.0.1", 0))
        self.port = self.to.getsockname()[1]
        self.ending = threading.Event()
        self.start()

    def run(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            while not self.ending.wait(0.02):
                s.sendto(b"x" * 100, ("127.0.0.1", self.port))

    def stop(self):
        self.ending.set()
        self.join()
        self.to.close()


def pid_of(folder):
    """The pitot that wrote its pid file there."""
    with contextlib.suppress(OSError, ValueError):
        with open(f"{folder}/pid", encoding="ascii") as f:
            return int(f.read())
    return 0


def state_of(pid):
    """The letter of its state, as ps has it."""
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    return ""


def begin(t, folder, *options):
    t.keys(f"clear; {e.PITOT} -i lo --live -c none -p {folder}/pid {' '.join(options)}; echo status $?", "Enter")
    t.see("q quit")
    e.wait(lambda: pid_of(folder), "no pid file")


def shell_sees(t, folder, before, status, *words):
    """The view is gone, the words are there, whole, in lines of their own; and no process is left."""
    t.see(f"status {status}", gone="q quit")
    text = t.tmux("capture-pane", "-p", "-J")
    if "flows: " in words:
        adds_up(text)
    for word in words:
        e.check(any(line.startswith(word) for line in text.splitlines()), f"{word!r} is no line:\n{text}")
    e.check(not os.path.exists(f"{folder}/pid"), "the pid file is left")
    t.clean(before)


def view(t, folder, port):
    """Without a collector: what is measured is on the screen; q ends all, and the summary comes afterwards."""
    before = t.settings()
    begin(t, folder)
    t.see(f"127.0.0.1:{port}")
    e.check(len(t.screen().splitlines()) == 24, f"not the whole screen:\n{t.screen()}")
    pid = pid_of(folder)
    e.check("pitot-view" in e.roles(pid), f"{e.roles(pid)}")
    with open(f"/proc/{e.roles(pid)['pitot-view']}/status", encoding="ascii") as f:
        status = f.read()
    e.check("CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status, f"privileges of the view: {status}")
    # a line of the log, while the view has the screen
    os.kill(pid, signal.SIGHUP)
    os.kill(pid, signal.SIGUSR1)
    t.keys("v")
    t.see("talkers")
    e.check("reload" not in t.screen() and "packets:" not in t.screen(), f"the log is on the screen:\n{t.screen()}")
    t.keys("q")
    shell_sees(t, folder, before, 0, "pitot: pitot ", "pitot: reload: ", "pitot: ended after ", "flows: ")
    e.check(not os.path.exists(f"/proc/{pid}"), "pitot goes on")


def adds_up(text):
    """Records that nobody wants are in the summary, and not among those that were not sent."""
    found = re.findall(r"^flows: (\d+) created = 0 exported \+ (\d+) without a collector; \d+ octets metered$", text, re.M)
    e.check(found and found[-1][0] == found[-1][1], f"the summary: {text}")


def ends(t, folder, port):
    """Ctrl-C, TERM, and a view that was killed."""
    before = t.settings()
    begin(t, folder)
    t.keys("C-c")
    shell_sees(t, folder, before, 0, "pitot: ended after ")
    begin(t, folder)
    t.see(f"127.0.0.1:{port}")
    os.kill(pid_of(folder), signal.SIGTERM)
    shell_sees(t, folder, before, 0, "pitot: ended after ")
    begin(t, folder)
    os.kill(e.roles(pid_of(folder))["pitot-view"], signal.SIGKILL)
    t.see("status 1")
    t.keys("tput rmcup; clear", "Enter")
    t.clean(before)


def background(t, folder, _):
    """Behind a shell's & the terminal stops it, as it does with any program; TERM and CONT, as timeout sends, end it."""
    before = t.settings()
    t.keys(f"clear; {e.PITOT} -i lo --live -c none & echo $! > {folder}/job", "Enter")
    e.wait(lambda: os.path.exists(f"{folder}/job") and open(f"{folder}/job", encoding="ascii").read().strip(), "no job")
    pid = int(open(f"{folder}/job", encoding="ascii").read())
    e.wait(lambda: state_of(pid) == "T", "the terminal lets it write from the background")
    os.killpg(pid, signal.SIGTERM)
    os.killpg(pid, signal.SIGCONT)
    try:
        e.wait(lambda: state_of(pid) in ("", "Z"), "TERM does not end it in the background")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    t.keys("", "Enter")
    e.check("was killed" not in t.tmux("capture-pane", "-p", "-J"), t.screen())
    t.clean(before)


def exports(t, folder, port):
    """With a collector everything is sent there; the control socket is there, too."""
    before = t.settings()
    begin(t, folder, "-n", f"json:{folder}/flows", "-c", f"{folder}/socket", "-t", "inactive=1,active=1")
    t.see(f"127.0.0.1:{port}")
    e.wait(lambda: os.path.exists(f"{folder}/flows") and "127.0.0.1" in open(f"{folder}/flows", encoding="ascii").read(),
           "no record")
    e.check(os.path.exists(f"{folder}/socket"), "no control socket")
    t.keys("q")
    shell_sees(t, folder, before, 0, "pitot: pitot ")


def refused():
    """Where there is no terminal, or it is somebody else's: a sentence, and status 2."""
    cases = ((("-i", "lo"), "--live: the view wants a terminal on standard input and standard output"),
             (("-r", "x"), "--live: the view is of interfaces"),
             (("-i", "lo", "--daemon"), "--live and --daemon do not go together"),
             (("-i", "lo", "-n", "text:-"), "--live: the view takes the terminal, and the collector text:- writes there"))
    for args, words in cases:
        got = e.run("--live", *args)
        e.check(got.returncode == 2 and words in got.stderr.decode() and not got.stdout, f"{args}: {got}")
    got = e.run("-i", "lo", "--live", "--print-template")
    e.check(got.returncode == 0, f"{got}")


def unknown(folder):
    t = Terminal(folder, 80, 24, "LC_ALL=C.UTF-8", "TERM=nonsense")
    t.keys(f"{e.PITOT} -i lo --live; echo status $?", "Enter")
    t.see("status 2")
    e.check("--live: the terminal (TERM=nonsense) is unknown" in t.tmux("capture-pane", "-p", "-J"), t.screen())
    t.end()


def main():
    built_with = b"--live: the view wants a terminal" in e.run("-i", "lo", "--live").stderr
    if not built_with:
        e.skip("this build has no ncurses, or no JSON library")
    refused()
    if not e.have("tmux"):
        e.finish()
    why = enter_quiet_namespace()
    if why:
        e.skip_part(f"no network namespace: {why}")
        e.finish()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        traffic = Traffic()
        unknown(folder)
        t = Terminal(folder, 80, 24, "LC_ALL=C.UTF-8")
        for part in (view, ends, background, exports):
            print(part.__name__, flush=True)
            part(t, folder, traffic.port)
        t.end()
        traffic.stop()
    e.finish()


main()
