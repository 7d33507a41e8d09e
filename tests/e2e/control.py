#!/usr/bin/env python3
"""The control socket and pitotctl: commands, who may, and clients that misbehave.

    control.py PITOT SRCROOT

pitot reads a pipe that the test holds open, so nothing here needs a privilege.
"""
import json
import os
import signal
import socket
import subprocess
import tempfile
import time

from e2elib import DATA, PITOT, check, check_ledger, finish, skip, skip_part, statistics, wait

CTL = os.path.join(os.path.dirname(PITOT), "pitotctl")


class Running:
    """A pitot on a pipe, with a control socket."""

    def __init__(self, *args):
        self.folder = tempfile.TemporaryDirectory()
        os.chmod(self.folder.name, 0o755)
        self.path = os.path.join(self.folder.name, "socket")
        self.stats = os.path.join(self.folder.name, "stats")
        self.process = subprocess.Popen(
            [PITOT, "-q", "-r", "-", "-n", "json:/dev/null", "-c", self.path, "--stats", self.stats, *args],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self.process.stdin.write((DATA / "mixed.pcap").read_bytes()[:24])
        self.process.stdin.flush()
        wait(lambda: os.path.exists(self.path) or self.process.poll() is not None, "no control socket")

    def feed(self, name="mixed.pcap"):
        self.process.stdin.write((DATA / name).read_bytes()[24:])
        self.process.stdin.flush()

    def end(self, status=0):
        """Until it has ended by itself."""
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            check(False, "does not end")
        check(self.process.returncode == status, f"status {self.process.returncode}, wanted {status}")
        self.errors = self.process.stderr.read().decode()
        self.process.stderr.close()
        self.process.stdin.close()

    def ctl(self, *args, status=0):
        got = subprocess.run([CTL, "-c", self.path, *args], capture_output=True, text=True, timeout=60, check=False)
        check(got.returncode == status, f"pitotctl {args}: status {got.returncode}, {got.stderr}")
        check(got.returncode == 0 or got.stderr.startswith("pitotctl: "), f"pitotctl {args}: {got.stderr}")
        return got

    def connect(self):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30)
        s.connect(self.path)
        return s

    def ask(self, line):
        with self.connect() as s:
            s.sendall(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
            return json.loads(s.makefile().readline() or '{"ok": null}')


def numbers(page):
    return dict(line.rsplit(" ", 1) for line in page.splitlines() if line and line[0] != "#")


def commands():
    p = Running()
    p.feed()
    wait(lambda: json.loads(p.ctl("--json", "statistics").stdout)["packets"]["received"] == 76, "no packets")
    s = json.loads(p.ctl("statistics", "--json").stdout)
    check_ledger("control socket", s)
    check("metered" in p.ctl("statistics").stdout and "balanced" in p.ctl("statistics").stdout, "for people")
    check("json:/dev/null" in p.ctl("collectors").stdout, "collectors")
    page = numbers(p.ctl("metrics").stdout)
    check(page["pitot_received_packets_total"] == "76" and page["pitot_ledger_balanced"] == "1", f"{page}")
    check(int(page["pitot_created_flows_total"]) == s["flows"]["created"], "two pages, two numbers")
    check(p.ctl("timeouts").stdout.split() == ["active=60", "inactive=15", "tcp-end=2"], "time-outs")
    check(p.ctl("timeouts", "active=30", "tcp-end=0.5").stdout.split() == ["active=30", "inactive=15", "tcp-end=0.5"],
          "time-outs changed")
    check("more than 0" in p.ctl("timeouts", "inactive=0", status=1).stderr, "a time-out of 0")
    p.ctl("timeouts", "actve=1", status=2)
    p.ctl("log", "debug")
    p.ctl("debug-")
    check("error, warning" in p.ctl("log", "loud", status=1).stderr, "a level that is none")
    p.ctl("rate", "1000")
    p.ctl("rate", status=2)
    p.ctl("send-template")
    p.ctl("reload")
    p.ctl("tea", status=2)
    check(p.ctl("version").stdout.startswith("program=pitot"), "version")
    p.ctl("stop")
    p.end()
    check(not os.path.exists(p.path), "the socket is left behind")
    end = statistics(p.stats)
    check(end["packets"]["received"] == 76 and end["flows"]["exported"] == end["flows"]["created"], f"{end}")
    p.ctl("version", status=1)


def protocol():
    p = Running()
    check(p.ask({"command": "version", "id": 7})["id"] == 7, "the id comes back")
    check(p.ask({"command": "version", "id": "x"})["id"] == "x", "the id comes back")
    check("id" not in p.ask({"command": "version", "id": {"a": 1}}), "an id that is no word")
    for line, words in ((b"{\n", "no JSON"), (b"[]\n", "object"), (b"\n", "no JSON"), (b"\x00\xff\n", "no JSON"),
                        (b'{"command": 5}\n', "command"), (b'{"command": "tea"}\n', "no command"),
                        (b'{"command": "rate", "records": -1}\n', "number"),
                        (b'{"command": "rate", "records": 1e99}\n', "number"),
                        (b'{"command": "timeouts", "active": "1"}\n', "number"),
                        (b"[" * 60000 + b"\n", "no JSON"), (b'{"command":"x","command":"version"}\n', "no JSON")):
        got = p.ask(line)
        check(got["ok"] is False and words in got["error"], f"{line[:40]}: {got}")
    names = [row["command"] for row in p.ask({"command": "help"})["result"]]
    check("statistics" in names and len(set(names)) == len(names), f"{names}")
    with p.connect() as s:  # several in one go, in order
        s.sendall(b"".join(json.dumps({"command": "version", "id": i}).encode() + b"\n" for i in range(50)))
        lines = s.makefile()
        check([json.loads(lines.readline())["id"] for _ in range(50)] == list(range(50)), "order")
    p.process.send_signal(signal.SIGTERM)
    p.end(143)


def misbehaving():
    """One that never reads, one that never ends its line, and many at once: the others are served."""
    p = Running()
    silent = [p.connect() for _ in range(3)]
    deaf = p.connect()
    deaf.setblocking(False)
    asked = 0
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            asked += deaf.send(b'{"command": "help"}\n' * 100)
        except BlockingIOError:
            check(p.ask({"command": "version"})["ok"], "others wait for one that does not read")
        except OSError:
            break
    check(time.monotonic() < end, "one that never reads is never cut off")
    endless = p.connect()
    try:
        for _ in range(100):
            endless.sendall(b"x" * 4096)
        endless.settimeout(30)
        check(endless.recv(1) == b"", "a line without an end")
    except OSError:
        pass
    for _ in range(100):
        with p.connect() as s:
            s.sendall(b'{"command": "version"}\n')
            check(json.loads(s.makefile().readline())["ok"], "one of many")
    for s in (*silent, deaf, endless):
        s.close()
    p.feed()
    p.process.stdin.close()
    p.process.stdin = open(os.devnull, "wb")
    p.end()
    check_ledger("after all that", statistics(p.stats))


def who():
    if os.geteuid() != 0:
        skip_part("other users: needs root")
        return
    p = Running()
    check(os.stat(p.path).st_mode & 0o777 == 0o600, "mode")
    got = subprocess.run(["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", CTL, "-c", p.path,
                          "version"], capture_output=True, text=True, timeout=60, check=False)
    check(got.returncode == 1 and "you may not" in got.stderr, f"a stranger: {got}")
    os.chmod(p.path, 0o666)  # and where the mode lets one in, the credentials do not
    got = subprocess.run(["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", CTL, "-c", p.path,
                          "version"], capture_output=True, text=True, timeout=60, check=False)
    check(got.returncode == 1, f"a stranger: {got}")
    p.ctl("stop")
    p.end()
    p = Running("--control-group", "daemon")
    check(os.stat(p.path).st_mode & 0o777 == 0o660, "mode with a group")
    got = subprocess.run(["setpriv", "--reuid", "12345", "--regid", "12345", "--groups", "1", CTL, "-c", p.path,
                          "version"], capture_output=True, text=True, timeout=60, check=False)
    check(got.returncode == 0, f"a member of the group: {got}")
    p.ctl("stop")
    p.end()


def starting():
    p = Running()
    second = subprocess.run([PITOT, "-r", str(DATA / "mixed.pcap"), "-c", p.path, "-q", "-n", "json:/dev/null"],
                            capture_output=True, text=True, timeout=60, check=False)
    check(second.returncode == 1 and "in use" in second.stderr, f"{second}")
    p.process.kill()
    p.process.wait()
    p.process.stdin.close()
    p.process.stderr.close()
    again = subprocess.run([PITOT, "-r", str(DATA / "mixed.pcap"), "-c", p.path, "-q", "-n", "json:/dev/null"],
                           capture_output=True, text=True, timeout=60, check=False)
    check(again.returncode == 0, f"after one that was killed: {again}")
    for args, words in ((["--control-group", "no-such-group", "-c", p.path + "2"], "no such group"),
                        (["-c", "/no/such/directory/socket"], "No such file"), (["-c", "x" * 200], "socket's path")):
        got = subprocess.run([PITOT, "-r", str(DATA / "mixed.pcap"), "-q", "-n", "json:/dev/null", *args],
                             capture_output=True, text=True, timeout=60, check=False)
        check(got.returncode == 1 and words in got.stderr, f"{args}: {got}")


if not os.path.exists(CTL):
    skip("this build has no pitotctl")
for part in (commands, protocol, misbehaving, who, starting):
    part()
finish()
