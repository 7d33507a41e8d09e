#!/usr/bin/env python3
"""Where messages go: standard error, the journal, syslog; in the background none is lost.

    messages.py PITOT SRCROOT [PART]

Runs in a mount namespace of its own, in which /run and /dev/log are the test's.
"""
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import e2elib as e

WEB = e.DATA / "web.pcap"
JOURNAL, SYSLOG = "/run/systemd/journal/socket", "/dev/log"
PATIENCE_S = 60


class Log:
    """Takes what is written to a datagram socket."""

    def __init__(self, path):
        self.path, self.lines = path, []
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        os.chmod(path, 0o666)
        self.socket.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        Path(self.path).unlink(missing_ok=True)

    def has(self, words):
        try:
            while True:
                self.lines.append(self.socket.recv(65536).decode())
        except BlockingIOError:
            pass
        return any(re.search(words, line) for line in self.lines)

    def wait(self, where, words):
        e.wait(lambda: self.has(words), lambda: f"{where}: '{words}' is not among {self.lines}", PATIENCE_S)


class Daemon:
    """pitot in the background, which measures a pipe that the test holds open."""

    def __init__(self, directory, *args):
        os.mkfifo(f"{directory}/in")
        self.hold = os.open(f"{directory}/in", os.O_RDWR)
        os.write(self.hold, WEB.read_bytes())
        self.pidfile = Path(directory) / "pid"
        self.got = e.run("--daemon", "-r", f"{directory}/in", "-p", self.pidfile, "-n", f"json:{directory}/out", *args)
        self.pid = int(self.pidfile.read_text()) if self.got.returncode == 0 else None

    def ask(self, where, log, words):
        """SIGUSR1 until the answer has words: the packets are read when there is time."""
        end = time.monotonic() + PATIENCE_S
        while not log.has(words) and time.monotonic() < end:
            os.kill(self.pid, signal.SIGUSR1)
            time.sleep(0.2)
        log.wait(where, words)

    def stop(self):
        os.kill(self.pid, signal.SIGTERM)
        e.wait(lambda: not os.path.exists(f"/proc/{self.pid}"), "the daemon did not end", PATIENCE_S)
        os.close(self.hold)


def life(where, log, directory, *args):
    """All that a daemon has to say from its start to its end."""
    config = Path(directory) / "config"
    config.write_text("flush-interval = 1\n")
    os.chmod(directory, 0o755)
    p = Daemon(directory, "--config", config, *args)
    if not e.check(p.got.returncode == 0 and not p.got.stdout, f"{where}: {p.got}"):
        return
    log.wait(where, "measures .*/in; records go to json:")
    config.write_text("max-flows = 5\n")
    os.kill(p.pid, signal.SIGHUP)
    log.wait(where, "error: reload: --max-flows needs a restart; nothing was changed")
    p.ask(where, log, "packets: 76 received = 74 metered")
    p.stop()
    log.wait(where, "ended after .* 74 metered")


def part_journal():
    with Log(JOURNAL) as journal, Log(SYSLOG) as syslog, e.workdir() as d:
        life("journal", journal, d)
        e.check(not syslog.has("."), f"to both: {syslog.lines}")
        e.check(journal.has("\\nSYSLOG_IDENTIFIER=pitot\\n") and journal.has("(?m)^PRIORITY=3$"), f"{journal.lines}")


def part_syslog():
    with Log(SYSLOG) as syslog:
        with e.workdir() as d:
            life("syslog", syslog, d)
        e.check(syslog.has(r"^<27>.*pitot\[\d+\]: error: "), f"syslog: {syslog.lines}")
        with Log(JOURNAL) as journal, e.workdir() as d:
            life("--log syslog", syslog, d, "--log", "syslog")
            e.check(not journal.has("."), f"--log syslog: {journal.lines}")


def part_quiet():
    """--quiet leaves out the summary; when it began and ended is in a log all the same."""
    with Log(SYSLOG) as syslog, e.workdir() as d:
        p = Daemon(d, "-q")
        syslog.wait("-q", "measures .*/in; records go to json:")
        p.stop()
        syslog.wait("-q", "ended after")
        e.check(not syslog.has("packets: "), f"-q: {syslog.lines}")
    with e.workdir() as d:
        got = e.run("-q", "-r", WEB, "-n", "json:/dev/null", env={"NOTIFY_SOCKET": f"{d}/nobody"})
        e.check(got.stderr.count(b"\n") == 2 and b"measures" in got.stderr and b"ended after" in got.stderr, f"service: {got}")


def part_again():
    """A log that was away is found when it is back."""
    with e.workdir() as d:
        with Log(JOURNAL):
            p = Daemon(d)
        os.kill(p.pid, signal.SIGHUP)  # one that nobody hears of
        e.wait(lambda: e.heard(p.pid, signal.SIGHUP), "SIGHUP is not heard", PATIENCE_S)
        with Log(JOURNAL) as journal:
            time.sleep(1)
            p.ask("again", journal, "packets: 76 received")
            e.check(journal.has("could not be written"), f"what was lost is not told: {journal.lines}")
            p.stop()


def part_without():
    """No log at all: a daemon starts, and what was asked for by name is missed."""
    with e.workdir() as d:
        p = Daemon(d)
        e.check(p.got.returncode == 0, f"no log: {p.got}")
        p.stop()
    for name, path in (("journal", JOURNAL), ("syslog", SYSLOG)):
        got = e.run("-q", "-r", WEB, "-n", "json:/dev/null", "--log", name)
        e.check(got.returncode == 1 and f"--log {name}: {path}: ".encode() in got.stderr, f"--log {name}: {got}")
    got = e.run("-r", WEB, "-n", "json:/dev/null", "--log", "nowhere")
    e.check(got.returncode == 2 and b"--log" in got.stderr, f"--log nowhere: {got}")


def part_failed_start():
    """What fails before the program is in the background is on standard error."""
    with Log(JOURNAL), e.workdir() as d:
        got = e.run("--daemon", "-r", f"{d}/none", "-n", "json:/dev/null")
        e.check(got.returncode == 1 and b"No such file" in got.stderr, f"failed start: {got}")


def part_foreground():
    """In the foreground it is standard error; savefiles end without a word more than the summary."""
    got = e.run("-r", WEB, "-n", "json:/dev/null")
    e.check(b"measures" not in got.stderr and b"received" in got.stderr, f"foreground: {got.stderr!r}")
    got = e.run("-D", "-r", WEB, "-n", "json:/dev/null")
    e.check(b"measures" in got.stderr and b"ended after" in got.stderr, f"-D: {got.stderr!r}")
    got = e.run("-q", "-r", WEB, "-n", "json:/dev/null")
    e.check(not got.stderr, f"-q: {got.stderr!r}")


def main():
    if not os.environ.get("MESSAGES_NAMESPACE"):
        if os.geteuid() != 0 or not e.find("unshare"):
            e.skip("a mount namespace takes root and unshare")
        script = ("mount -t tmpfs none /run && mkdir -p /run/dev && mount --rbind /dev /run/dev && mount -t tmpfs none /dev && "
                  "for n in null zero urandom random full; do touch /dev/$n && mount --bind /run/dev/$n /dev/$n; done && "
                  'exec "$@"')
        command = [e.find("unshare"), "--mount", "--propagation", "private", "sh", "-ec", script, "sh", sys.executable, *sys.argv]
        sys.exit(subprocess.call(command, env={**os.environ, "MESSAGES_NAMESPACE": "1"}))
    e.run_parts(part_journal, part_syslog, part_quiet, part_again, part_without, part_failed_start, part_foreground)
    e.finish()


main()
