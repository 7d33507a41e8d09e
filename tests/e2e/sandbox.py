#!/usr/bin/env python3
"""What is left of pitot's privileges while it measures, and how it finds its interfaces again.

    sandbox.py PITOT SRCROOT

Makes a network namespace of its own.  Looks at /proc/PID/task/*/status of a running pitot, at the files that it
writes into a directory where its user may not, at what happens to a parser that makes a system call of its own
(builds with test hooks), and takes its interface down, up and away.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

from e2elib import (DATA, PITOT, SANITIZED, Sink, at_work, check, check_ledger, finish, roles, run, run_parts, sanitizer, skip,
                    skip_part, statistics, workdir)
import injectlib
import live

A, B = "psa0", "psb0"
ROOT = os.geteuid() == 0  # not the root of a namespace
CAP_NET_RAW = 1 << 13
HOOKS = b"PITOT_TEST_PARSER" in Path(PITOT).read_bytes()
PATIENCE_S = 60  # how long what has to come is waited for
TSAN = b"__tsan_init" in Path(PITOT).read_bytes()  # it runs a thread of its own from the start
COVERAGE = b"__gcov_dump" in Path(PITOT).read_bytes()  # everybody may open and write: its counters


def kernel_has(layer):
    if layer == "seccomp":
        return os.path.exists("/proc/sys/kernel/seccomp/actions_avail") and b"seccomp_rule_add" in libraries()
    raise ValueError(layer)


def libraries():
    return Path(PITOT).read_bytes()


SECCOMP = kernel_has("seccomp")


def status(path):
    found = {}
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        found[key] = value.split()
    return found


def until(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def children(pid):
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                if int(status(entry / "status")["PPid"][0]) == pid and status(entry / "status")["State"][0] != "Z":
                    found.append(int(entry.name))
    return found


class Running:
    """A live pitot whose stderr is a file; it measures when the constructor is done."""

    def __init__(self, directory, *args, env=None, wait=True, interface=A):
        self.stderr = Path(directory) / "stderr"
        with open(self.stderr, "wb") as out:
            self.process = subprocess.Popen([PITOT, "-i", interface, "--debug", *map(str, args)], stderr=out,
                                            stdout=subprocess.DEVNULL, env={**os.environ, **(env or {})})
        if wait:
            until(lambda: b"sandbox:" in self.said() or self.process.poll() is not None, PATIENCE_S)
            until(lambda: at_work(self.process.pid) or self.process.poll() is not None, PATIENCE_S)
            time.sleep(0.2)

    def said(self):
        return self.stderr.read_bytes()

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            check(False, f"did not end: {self.said().decode(errors='replace')}")
        return self.process.returncode


def packets(n, sport=1000):
    frame, _ = live.frame(live.Flow("10.1.0.1", "10.1.0.2", 17, sport, 53, 0), 40)
    with live.sender(B) as s:
        for _ in range(n):
            s.send(frame)


def stats_of(p, path):
    """Statistics of a running pitot, of now."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    p.process.send_signal(signal.SIGUSR1)

    def fresh():
        if not path.exists() or path.stat().st_mtime_ns == before:
            return False
        with contextlib.suppress(ValueError):
            statistics(path)
            return True
        return False
    if not until(fresh, PATIENCE_S):
        check(False, f"no statistics: {p.said().decode(errors='replace')}")
        return None
    return statistics(path)


# ---- privileges


def check_confined(where, pid, seccomp=2, root=False):
    tasks = sorted(Path(f"/proc/{pid}/task").iterdir())
    for task in tasks:
        s = status(task / "status")
        what = f"{where}: {task}"
        for key in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
            check(int(s[key][0], 16) == 0, f"{what}: {key} {s[key]}")
        check(s["NoNewPrivs"] == ["1"], f"{what}: NoNewPrivs {s['NoNewPrivs']}")
        if SECCOMP:
            check(s["Seccomp"] == [str(seccomp)], f"{what}: Seccomp {s['Seccomp']}")
        if ROOT and not TSAN:
            check(int(s["CapBnd"][0], 16) == 0, f"{what}: CapBnd {s['CapBnd']}")
            check(("0" in s["Uid"]) == root, f"{what}: Uid {s['Uid']}")
            check(("0" in s["Gid"]) == root, f"{what}: Gid {s['Gid']}")
            check(root or s["Groups"] == [], f"{what}: Groups {s['Groups']}")
    return tasks


def part_privileges():
    with workdir() as d, live.links((A, B)):
        os.chmod(d, 0o700)
        for method in ("afpacket", "pcap"):
            out, stats, pid = Path(d) / f"{method}.json", Path(d) / f"{method}.stats", Path(d) / f"{method}.pid"
            p = Running(d, "--capture", method, "-n", f"json:{out}", "--stats", stats, "--pidfile", pid,
                        "udp port 53")
            for role in (p.process.pid, roles(p.process.pid)["pitot-metering"], roles(p.process.pid)["pitot-exporting"]):
                check_confined(method, role)
            check_opener(method, p, CAP_NET_RAW)
            limits = Path(f"/proc/{p.process.pid}/limits").read_text()
            check(re.search(r"Max core file size +0 +0", limits), f"{method}: core files are possible")
            packets(5)
            check(until(lambda: metered(p, stats) == 5, PATIENCE_S), f"{method}: not 5 packets, {metered(p, stats)}")
            check(pid.read_text().strip() == str(p.process.pid), f"{method}: pid file")
            opener = children(p.process.pid)
            check(p.stop() == 0, f"{method}: exit status {p.process.returncode}: {p.said()}")
            check(not sanitizer(p.said()), f"{method}: {p.said().decode(errors='replace')}")
            check(not any(os.path.exists(f"/proc/{o}") for o in opener), f"{method}: the opener stayed behind")
            check(not pid.exists(), f"{method}: the pid file stayed behind")
            check(out.exists() and not Path(f"{out}.part").exists(), f"{method}: {sorted(os.listdir(d))}")
            s = statistics(stats)
            check(s["final"], f"{method}: the last statistics were not written")
            check_ledger(method, s)


def check_opener(where, p, allowed):
    found = children(p.process.pid)
    names = sorted(status(f"/proc/{pid}/status")["Name"][0] for pid in found)
    check(names == ["pitot-exporting", "pitot-files", "pitot-metering", "pitot-opener", "pitot-outputs"],
          f"{where}: child processes: {names}")
    for pid in found:
        s = status(f"/proc/{pid}/status")
        if s["Name"][0] in ("pitot-exporting", "pitot-metering"):
            continue
        may = allowed if s["Name"] == ["pitot-opener"] else 0
        check(int(s["CapEff"][0], 16) & ~may == 0, f"{where}: {s['Name']}: CapEff {s['CapEff']}")
        check(s["NoNewPrivs"] == ["1"], f"{where}: opener: NoNewPrivs")
        check(TSAN or s["Threads"] == ["1"], f"{where}: opener: Threads {s['Threads']}")
        check(not SECCOMP or s["Seccomp"] == ["2"], f"{where}: opener: Seccomp {s['Seccomp']}")


def descriptors(pid):
    """What a process has open, besides the standard streams: kinds, or paths."""
    found = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        if int(fd.name) > 2:
            target = os.readlink(fd)
            if target.startswith("socket:"):
                target = socket_kind(pid, target)
            found.append(target)
    return sorted(found)


def socket_kind(pid, link):
    """tcp, udp, packet, unix or netlink, of a socket of the process's network namespace."""
    inode = link[len("socket:["):-1]
    for kind in ("tcp", "udp", "tcp6", "udp6", "packet", "unix", "netlink"):
        for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]:
            if inode in line.split():
                return kind
    return "?"


def shared_with(pid):
    """What of its memory it shares: the kernel calls anonymous memory that is shared /dev/zero."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {"region": "/dev/zero (deleted)" in maps, "ring": "socket:[" in maps}


def part_descriptors():
    """Each process has what is its own, and nothing of another's: the table of the man page."""
    with workdir() as d, live.links((A, B)), socket.socket() as tcp:
        live.set_up("lo")
        udp = Sink()
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        os.mkdir(f"{d}/spool")
        p = Running(d, "-n", f"ipfix://127.0.0.1:{udp.port}", "-n", f"ipfix+tcp://127.0.0.1:{tcp.getsockname()[1]}",
                    "-n", f"json:{d}/out.json", "--spool", f"{d}/spool", "--pidfile", f"{d}/pid", "-w", "2",
                    "--control", f"{d}/control")
        accepted, _ = tcp.accept()
        have = {name: descriptors(pid) for name, pid in {**roles(p.process.pid), "pitot": p.process.pid}.items()}

        def has(name, *kinds):
            return sorted(k for k in have[name] if k in kinds or any(k.startswith(kind) for kind in kinds))
        check(has("pitot-metering", "packet") == ["packet"] * 2, f"metering: {have['pitot-metering']}")
        check(has("pitot-metering", "tcp", "udp", "netlink", d, "anon_inode:[signalfd]") == [],
              f"metering has another's: {have['pitot-metering']}")
        check(has("pitot-metering", "unix") == ["unix"] * 2, f"metering: mailboxes: {have['pitot-metering']}")
        check(has("pitot-exporting", "tcp") == ["tcp"] and has("pitot-exporting", "udp") == ["udp"],
              f"exporting: {have['pitot-exporting']}")
        check(has("pitot-exporting", f"{d}/out.json") and has("pitot-exporting", f"{d}/spool"),
              f"exporting: files: {have['pitot-exporting']}")
        check(has("pitot-exporting", "packet", "netlink", "anon_inode:[signalfd]", f"{d}/pid") == [],
              f"exporting has another's: {have['pitot-exporting']}")
        check(has("pitot", "packet", "tcp", "udp", f"{d}/out.json", f"{d}/spool") == [],
              f"control has another's: {have['pitot']}")
        for name, pid in roles(p.process.pid).items():
            got = shared_with(pid)
            check(got["region"] == (name in ("pitot-metering", "pitot-exporting")), f"{name}: the region: {got}")
            check(got["ring"] == (name == "pitot-metering"), f"{name}: the ring of a capture: {got}")
        check(shared_with(p.process.pid) == {"region": True, "ring": False}, "control: a ring")
        accepted.close()
        udp.stop()
        check(p.stop() in (0, 1), f"descriptors: {p.said()}")


def part_no_capabilities():
    """Root without any capability cannot become another user: which one is missing is said."""
    if not ROOT or not shutil.which("setpriv"):
        skip_part("no root with setpriv to take capabilities from")
        return
    with workdir() as d:
        for lacks, drop in (("CAP_SETUID", "-all"), ("CAP_SETUID", "-setuid"), ("CAP_SETGID", "-setgid")):
            done = subprocess.run(["setpriv", "--bounding-set", drop, "--inh-caps", drop, PITOT, "-r",
                                   DATA / "web.pcap", "-n", f"json:{d}/{drop}"], capture_output=True, check=False)
            check(done.returncode == 0 and f"{lacks} is missing".encode() in done.stderr,
                  f"{drop}: {done.returncode}, {done.stderr.decode(errors='replace')}")


def part_modes():
    with workdir() as d, live.links((A, B)):
        p = Running(d, "--sandbox", "off", "-n", f"json:{d}/off.json")
        check_confined("--sandbox off", p.process.pid, seccomp=0)
        check(b"--sandbox off" in p.said(), f"--sandbox off is not said: {p.said()}")
        check(p.stop() == 0, "--sandbox off: exit status")
        p = Running(d, "--sandbox", "log", "-n", f"json:{d}/log.json")
        check_confined("--sandbox log", p.process.pid)
        check(p.stop() == 0, "--sandbox log: exit status")
        if not ROOT:
            return
        p = Running(d, "--stay-root", "-n", f"json:{d}/root.json")
        check_confined("--stay-root", p.process.pid, root=True)
        check(b"--stay-root" in p.said(), f"--stay-root is not said: {p.said()}")
        check(p.stop() == 0, "--stay-root: exit status")
        p = Running(d, "--user", "12345:23456", "-n", f"json:{d}/user.json")
        s = status(f"/proc/{p.process.pid}/status")
        check(s["Uid"] == ["12345"] * 4 and s["Gid"] == ["23456"] * 4, f"--user: {s['Uid']} {s['Gid']}")
        check(p.stop() == 0, "--user: exit status")
        for args, end, words in ((("--user", "root"), 1, b"--stay-root"), (("--user", "no-such-user"), 1, b"no-such-user"),
                                 (("--user", "nobody", "--stay-root"), 2, b"together")):
            r = run("-i", A, *args)
            check(r.returncode == end and words in r.stderr, f"{args}: {r.returncode} {r.stderr}")


def part_daemon():
    with workdir() as d, live.links((A, B)):
        pid_file = Path(d) / "pid"
        r = run("-i", A, "--daemon", "--pidfile", pid_file, "-n", f"json:{d}/out.json", "--stats", f"{d}/stats")
        check(r.returncode == 0, f"--daemon: {r.returncode} {r.stderr}")
        pid = int(pid_file.read_text())
        check_confined("--daemon", pid)
        packets(3)
        time.sleep(0.3)
        os.kill(pid, signal.SIGTERM)
        check(until(lambda: not pid_file.exists(), PATIENCE_S), "--daemon: did not end")
        check(until(lambda: Path(f"{d}/out.json").exists(), PATIENCE_S), f"--daemon: {os.listdir(d)}")


def part_savefile():
    """A savefile is parsed with no more privileges than an interface."""
    frame, _ = live.frame(live.Flow("10.1.0.1", "10.1.0.2", 17, 1, 2, 0), 40)
    header = bytes.fromhex("d4c3b2a102000400000000000000000000000100") + (1).to_bytes(4, "little")
    record = b"".join(v.to_bytes(4, "little") for v in (1000000000, 0, len(frame), len(frame))) + frame
    with workdir() as d:
        os.chmod(d, 0o700)
        with open(f"{d}/stderr", "wb") as err:
            p = subprocess.Popen([PITOT, "-r", "-", "--debug", "-n", f"json:{d}/out.json"], stdin=subprocess.PIPE,
                                 stderr=err)
        p.stdin.write(header + record)
        p.stdin.flush()
        check(until(lambda: b"sandbox:" in Path(f"{d}/stderr").read_bytes(), PATIENCE_S), "savefile: no sandbox")
        check(until(lambda: at_work(p.pid), PATIENCE_S), "savefile: does not begin")
        check_confined("savefile", p.pid)
        p.stdin.write(record)
        p.stdin.close()
        check(p.wait(PATIENCE_S) == 0, f"savefile: {Path(f'{d}/stderr').read_bytes()}")
        lines = Path(f"{d}/out.json").read_text().splitlines()
        check(len(lines) == 1 and json.loads(lines[0])["packetDeltaCount"] == 2, f"savefile: {lines}")


def part_subverted():
    if not SECCOMP:
        skip_part("no seccomp in this kernel or this build")
        return
    if not HOOKS:  # there part_taken_over has it
        return
    calls = ["execve", "socket", "send", "connect"] + ([] if SANITIZED else ["ptrace"])
    calls += [] if SANITIZED or COVERAGE else ["open", "write"]
    with workdir() as d, live.links((A, B)):
        for method in ("afpacket", "pcap"):
            for call in calls:
                p = Running(d, "--capture", method, "-n", f"json:{d}/out.json", env={"PITOT_TEST_PARSER": call})
                opener = children(p.process.pid)
                packets(2)
                check(until(lambda: b"pitot-metering has ended: killed by signal 31" in p.said(), PATIENCE_S),
                      f"{method}: a parser that calls {call} lives: {p.said()}")
                check(p.process.poll() is None, f"{method}: {call}: {p.process.poll()} {p.said()}")
                p.stop(signal.SIGKILL)
                gone = until(lambda: not any(os.path.exists(f"/proc/{o}") for o in opener), PATIENCE_S)
                check(gone, f"{method}: {call}: a process stayed behind")


def forbidden_calls(fds):
    """What nobody who has taken over a parser may do: to everything that it has open, the name of the call and its
    arguments."""
    request = [struct.pack("=IHHi16x", 1, kind, 0, -1) for kind in range(12)]  # of the processes that open files
    address = struct.pack("=H2s4s8x", socket.AF_INET, b"\0\x35", bytes([127, 0, 0, 1]))
    calls = [("openat", -100, b"/etc/passwd\0", os.O_RDONLY), ("openat2", -100, b"/etc/passwd\0", bytes(24), 24),
             ("socket", socket.AF_INET, socket.SOCK_DGRAM, 0), ("socket", socket.AF_UNIX, socket.SOCK_SEQPACKET, 0),
             ("execve", b"/bin/true\0", 0, 0), ("clone", signal.SIGCHLD, 0, 0, 0, 0), ("memfd_create", b"x\0", 0),
             ("kill", 1, 0), ("ptrace", 0, 0, 0, 0), ("io_uring_setup", 1, bytes(120)), ("process_vm_writev", 1, 0, 0, 0, 0, 0),
             ("open", b"/etc/passwd\0", os.O_RDONLY), ("fork",), ("write of x32", 2, b"x", 1)]
    for n, fd in enumerate(fds):
        calls += [("write", fd, b"x", 1), ("sendto", fd, request[n % 12], 28, 0x40, 0, 0)]
    calls.append(("connect", fds[-1], address, 16))
    for kind, message in enumerate(request):
        calls.append((("sendto", fds[kind % len(fds)], message, 28, 0x40, 0, 0)))
    calls += [("sendmsg", fds[-1], bytes(56), 0x40), ("writev", 2, bytes(16), 1), ("pwrite64", 2, b"x", 1, 0),
              ("bind", fds[-1], address, 16), ("sendfile", 2, fds[0], 0, 1), ("splice", fds[0], 0, 2, 0, 1, 0)]
    return [c for c in calls if c[0] in injectlib.NUMBERS[injectlib.MACHINE]]


def is_confined(pid):
    """Does it measure, and may the thread that does no longer make any call?"""
    try:
        metering = roles(pid)["pitot-metering"]
        return at_work(pid) and status(f"/proc/{metering}/task/{injectlib.worker(metering)}/status")["Seccomp"] == ["2"]
    except (KeyError, OSError):
        return False


def wait_confined(p):
    check(until(lambda: is_confined(p.process.pid), PATIENCE_S), f"pitot-metering is not confined: {p.said()}")


def part_taken_over():
    """System calls that are put into the metering process by ptrace: each ends it, and pitot goes on."""
    if not SECCOMP:
        skip_part("no seccomp in this kernel or this build")
        return
    why = injectlib.lacking()
    if why:
        skip_part(f"no system calls by ptrace: {why}")
        return
    # what a sanitizer's run-time does, too, is allowed there, and what the counters of a build for coverage need
    allowed = ("open", "openat", "clone", "fork", "kill", "ptrace", "write", "writev") if SANITIZED else ()
    allowed += ("openat", "write", "writev") if COVERAGE else ()
    with workdir() as d, live.links((A, B)):
        todo, p = None, None
        while todo is None or todo:
            if p is None:
                p = Running(d, "-n", f"json:{d}/out.json", "--stats", f"{d}/stats", "--control", f"{d}/control")
                struck = 0
                wait_confined(p)
            pid = roles(p.process.pid)["pitot-metering"]
            if todo is None:
                todo = [c for c in forbidden_calls(sorted(int(fd) for fd in os.listdir(f"/proc/{pid}/fd")))
                        if c[0] not in allowed]
                check(injectlib.outcome(pid, "getpid") == pid, "a harmless call does not come back")
                for link in descriptors(pid):
                    check(link in ("packet", "unix", "udp", "anon_inode:[eventfd]") or "/dev/null" in link, f"metering has {link}")
            call = todo.pop()
            got = injectlib.outcome(pid, *call)
            check(got == "SIGSYS", f"{call}: {got}")
            check(until(lambda pid=pid: roles(p.process.pid).get("pitot-metering", pid) != pid, PATIENCE_S), f"{call}: {p.said()}")
            struck += 1
            wait_confined(p)
            if struck == 3 or not todo:  # from then on it is waited for longer
                check(p.said().count(b"pitot-metering has ended: killed by signal 31") == struck, f"{call}: {p.said()}")
                check(p.stop() == 0, f"{call}: {p.process.returncode} {p.said()}")
                p = None


def add_address(name, address):
    octets = socket.inet_aton(address)
    live.rtnetlink(20, 0x600, struct.pack("=BBBBi", socket.AF_INET, 24, 0, 0, socket.if_nametoindex(name)) +
                   live.attribute(1, octets) + live.attribute(2, octets))


def part_names():
    """Names are looked up again after SIGHUP, with the sandbox on."""
    live.set_up("lo")
    sinks = [Sink(), Sink("::1")]  # whichever comes first is a matter of /etc/hosts
    with workdir() as d, live.links((A, B)):
        add_address(A, "192.0.2.1")  # a host without any address resolves nothing
        p = Running(d, "-n", f"ipfix://localhost:{sinks[0].port}", "-n",
                    f"ipfix://localhost:{sinks[1].port}", "-t", "active=1,inactive=1")
        for sport in range(3):
            packets(2, 1000 + sport)
            p.process.send_signal(signal.SIGHUP)
            time.sleep(1.5)
        check(p.stop() == 0, f"names: exit status {p.process.returncode}: {p.said().decode(errors='replace')}")
    check(sum(len(s.stop()) for s in sinks) >= 3, "names: records did not arrive after SIGHUP")


def part_spool():
    """What root opened the other user writes: new segments, too, where that user may not even look."""
    with workdir() as d, live.links((A, B)), socket.socket() as listener:
        os.chmod(d, 0o700)
        live.set_up("lo")
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        p = Running(d, "-n", f"ipfix+tcp://127.0.0.1:{port}", "--spool", f"{d}/spool", "--reconnect", "1", "-t",
                    "active=1,inactive=1", "--flush-interval", "0")
        for sport in range(3):
            packets(2, 1000 + sport)
            time.sleep(1)

        def spooled():
            return [f for f in Path(f"{d}/spool").rglob("*") if f.is_file()]
        check(until(lambda: sum(f.stat().st_size for f in spooled()) > 200, PATIENCE_S),
              f"spool: {spooled()}: {p.said().decode(errors='replace')}")
        files = spooled()
        check(not ROOT or all(f.stat().st_uid != 0 for f in files), f"spool: root's files: {files}")
        check(b"spool" not in p.said(), f"spool: {p.said().decode(errors='replace')}")
        listener.listen()
        listener.settimeout(PATIENCE_S)
        with contextlib.suppress(socket.timeout):
            connection, _ = listener.accept()
            connection.settimeout(PATIENCE_S)
            check(len(connection.recv(65536)) > 100, "spool: nothing comes when the collector is back")
            connection.close()
        check(p.stop() in (0, 1), f"spool: {p.process.returncode} {p.said()}")


# ---- interfaces that come and go


def metered(p, stats):
    s = stats_of(p, stats)
    return s["packets"]["metered"] if s else -1


def again_after(p, stats, before):
    """Sends until packets are metered again: how long that took."""
    start = time.monotonic()
    while time.monotonic() - start < PATIENCE_S:
        packets(1)
        time.sleep(0.1)
        if metered(p, stats) > before:
            return time.monotonic() - start
    return 1e9


def check_took(what, took, limit, p):
    """The best of several is what it takes; more is what the machine did besides, and must come to an end."""
    check(min(took) <= limit and max(took) <= PATIENCE_S, f"{what}: metering again after {took} s: {p.said()}")


def part_recovery():
    with workdir() as d:
        stats, out = Path(d) / "stats", Path(d) / "out.json"
        with live.links((A, B)):
            p = Running(d, "--stats", stats, "-n", f"json:{out}", "-t", "active=1000,inactive=1000,tcp-end=off",
                        "-f", "udp port 53")
            packets(10)
            check(until(lambda: metered(p, stats) == 10, PATIENCE_S), "recovery: ten packets")
            took = []
            for _ in range(2):
                live.set_up(A, False)
                check(until(lambda: p.said().count(b"is down or gone") > 0, PATIENCE_S), f"down is not said: {p.said()}")
                before = metered(p, stats)
                live.set_up(A)
                live.wait_running(A, B)
                took.append(again_after(p, stats, before))
            check_took("down and up", took, 4, p)
            live.delete_link(A)
            time.sleep(0.5)
            check(p.process.poll() is None, f"ended when the interface was deleted: {p.said()}")
        took = []
        for _ in range(3):
            before = metered(p, stats)
            with live.links((A, B)):
                took.append(again_after(p, stats, before))
                check(len(os.listdir(f"/proc/{p.process.pid}/fd")) < 40, "descriptors grow")
                check_confined("after recovery", p.process.pid)
        check_took("deleted and made anew", took, 4, p)
        s = stats_of(p, stats)
        check(s and s["flows"]["created"] == 1, f"the flow was not kept: {s and s['flows']}")
        check(p.process.poll() is None and p.stop() == 0, f"recovery: {p.process.returncode} {p.said()}")
        s = statistics(stats)
        check_ledger("recovery", s)
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        check(len(lines) == 1 and lines[0]["packetDeltaCount"] == s["packets"]["metered"],
              f"recovery: not one record of {s['packets']['metered']} packets: {lines[:2]}")
        # of absences that follow each other at once only the last is told; all are counted: down and up twice, deleted
        # four times
        check(p.said().count(b"capturing again") >= 2, f"recovery is not said: {p.said().decode()}")
        check(s["interfaces"]["gaps"] >= 6 and s["interfaces"]["gap_seconds"] > 0.5, f"gaps: {s['interfaces']}")
        check(not sanitizer(p.said()), p.said().decode(errors="replace"))


def part_successor():
    """An interface of libpcap or XDP that was made anew is captured by the ring; the flow and all counters go on."""
    for method, why in (("pcap", None), ("xdp", live.without_xdp(PITOT))):
        if why:
            print(f"  {method}: {why}", flush=True)
            continue
        with workdir() as d:
            stats, out, took = Path(d) / "stats", Path(d) / "out.json", []
            with live.links((A, B)):
                p = Running(d, "--capture", method, "--stats", stats, "-n", f"json:{out}", "-t",
                            "active=1000,inactive=1000,tcp-end=off", "udp port 53")
                packets(10)
                check(until(lambda: metered(p, stats) == 10, PATIENCE_S), f"{method}: ten packets")
            for _ in range(3):
                before = metered(p, stats)
                with live.links((A, B)):
                    took.append(again_after(p, stats, before))
                check_confined(method, p.process.pid)
            check_took(f"{method}: deleted and made anew", took, 2, p)
            said = p.said().count(f"captured by afpacket from now on, instead of {method}".encode())
            check(said == 1, f"{method}: its successor is told {said} times: {p.said()}")
            check(p.stop() == 0 and not sanitizer(p.said()), f"{method}: {p.process.returncode} {p.said()}")
            s = statistics(stats)
            check_ledger(method, s)
            check(s["flows"]["created"] == 1 and s["interfaces"]["gaps"] >= 3, f"{method}: {s['flows']} {s['interfaces']}")
            rows = [json.loads(line) for line in out.read_text().splitlines()]
            check(len(rows) == 1 and rows[0]["packetDeltaCount"] == s["packets"]["metered"],
                  f"{method}: not one record of {s['packets']['metered']} packets: {rows[:2]}")


def part_other_interfaces():
    """While one interface is gone the other is measured, and no packet of it is missed."""
    with workdir() as d, live.links(("psc0", "psd0")):
        stats = Path(d) / "stats"
        with live.links((A, B)):
            p = Running(d, "-i", "psc0", "--stats", stats, "-n", f"json:{d}/out.json", "-f", "udp port 53")
            live.delete_link(A)
        frame, _ = live.frame(live.Flow("10.2.0.1", "10.2.0.2", 17, 1, 53, 0), 40)
        with live.sender("psd0") as s:
            for i in range(2000):
                s.send(frame)
                if i == 1000:
                    with live.links((A, B)):
                        time.sleep(0.5)
        check(until(lambda: metered(p, stats) == 2000, PATIENCE_S), f"the other interface: {metered(p, stats)} of 2000 packets")
        check(p.stop() == 0, f"the other interface: {p.said()}")


def part_killed():
    with workdir() as d, live.links((A, B)):
        p = Running(d, "-n", f"json:{d}/out.json")
        opener = children(p.process.pid)
        # pitot-files is for the control socket, if this is the one that has the usual place
        check(set(roles(p.process.pid)) - {"pitot-files"} == {"pitot-exporting", "pitot-metering", "pitot-opener",
                                                              "pitot-outputs"}, f"{roles(p.process.pid)}")
        p.stop(signal.SIGKILL)
        gone = until(lambda: not any(os.path.exists(f"/proc/{o}") for o in opener), PATIENCE_S)
        check(gone, "a process outlived a pitot that was killed")
        p = Running(d, "-n", f"json:{d}/out.json")
        for name in ("pitot-opener", "pitot-outputs"):  # of each there are two, and both are killed at once
            elder = roles(p.process.pid)[name]
            os.kill(p.process.pid, signal.SIGSTOP)
            os.kill(elder, signal.SIGSTOP)
            os.kill(roles(elder)[name], signal.SIGKILL)
            os.kill(elder, signal.SIGKILL)
            os.kill(p.process.pid, signal.SIGCONT)
        until(lambda: p.said().count(b"; start pitot again") == 2, PATIENCE_S)
        packets(2)
        check(p.process.poll() is None, f"ended with its opener: {p.said()}")
        check(p.stop() in (0, 1), f"without an opener: {p.process.returncode} {p.said()}")


def part_notify():
    with workdir() as d, live.links((A, B)), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(f"{d}/notify")
        os.chmod(d, 0o755)
        s.settimeout(PATIENCE_S)
        p = Running(d, "-n", f"json:{d}/out.json", wait=False,
                    env={"NOTIFY_SOCKET": f"{d}/notify", "WATCHDOG_USEC": "1000000"})
        check(s.recv(100) == b"READY=1", "notify: not ready first")
        check(s.recv(100) == b"WATCHDOG=1" and s.recv(100) == b"WATCHDOG=1", "notify: no watchdog")
        p.process.send_signal(signal.SIGTERM)
        last = b""
        while last != b"STOPPING=1":
            last = s.recv(100)
        check(p.process.wait(PATIENCE_S) == 0, f"notify: {p.said()}")


def main():
    why = live.enter_namespace()
    if why:
        skip(f"no network namespace: {why}")
    if not SECCOMP:
        skip_part("no seccomp in this kernel or this build")
    run_parts(part_privileges, part_descriptors, part_no_capabilities, part_modes, part_daemon, part_savefile, part_subverted, part_taken_over,
              part_names, part_spool, part_recovery, part_successor, part_other_interfaces, part_killed, part_notify)
    finish()


main()
