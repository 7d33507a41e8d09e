#!/usr/bin/env python3
"""Every wait has an end: whatever pitot waits for, it hears TERM and USR1 and ends in --stop-timeout and a moment.

    waits.py PITOT SRCROOT [PART]
"""
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import e2elib as e
import injectlib
import flows

WEB = e.DATA / "web.pcap"
PATIENCE_S = 30  # for what has to come
HOURS = 1 << 42  # octets: a file of so many is not read to its end


class Running:
    """pitot, whose standard error is a file."""

    def __init__(self, directory, *args, **how):
        self.path = Path(directory) / "stderr"
        with open(self.path, "wb") as err:
            self.process = subprocess.Popen([e.PITOT, *map(str, args)], stderr=err, **how)

    def started(self):
        """Until its processes are at work: signals are for them from then on."""
        e.wait(lambda: self.process.poll() is not None or e.at_work(self.process.pid),
               lambda: f"not started: {self.said()}", PATIENCE_S)

    def said(self):
        return self.path.read_text(errors="replace")

    def term(self, how=signal.SIGTERM, seconds=PATIENCE_S):
        """Its exit status after the signal; None when it does not end."""
        self.process.send_signal(how)
        return self.end(seconds)

    def end(self, seconds=PATIENCE_S):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None


def sleeps(pid):
    """Whether it has begun to wait: none of its processes uses any more processor time, or wants to."""
    def used():
        if not all(e.waits(p) for p in (pid, *e.roles(pid).values())):
            raise OSError
        return [Path(f"/proc/{p}/stat").read_text().rsplit(")", 1)[1].split()[i]
                for p in (pid, *e.roles(pid).values()) for i in (11, 12)]
    try:
        before = used()
        time.sleep(0.3)
        return used() == before
    except OSError:  # one has ended, or wants to run
        return False


def statistics_of(p, path):
    """What USR1 has written; None when it wrote nothing."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    p.process.send_signal(signal.SIGUSR1)
    if e.wait(lambda: path.exists() and path.stat().st_size and path.stat().st_mtime_ns != before,
              lambda: f"USR1: no statistics: {p.said()}", PATIENCE_S):
        return e.statistics(path)
    return None


def metered(p, stats, packets):
    """Until so many are in the statistics."""
    def enough():
        s = statistics_of(p, stats)
        return s and s["packets"]["metered"] == packets
    return e.wait(enough, lambda: f"not {packets} packets: {p.said()}", PATIENCE_S)


# ---- closed standard descriptors


def closed(*args, fds):
    """pitot's exit status and what it said, started with these descriptors closed."""
    def close():
        for fd in fds:
            os.close(fd)
    err = None if 2 in fds else subprocess.PIPE
    return subprocess.run([e.PITOT, *map(str, args)], stderr=err, preexec_fn=close, timeout=PATIENCE_S, check=False)


def part_closed_descriptors():
    for fds in ((0,), (1,), (2,), (0, 1, 2)):
        with e.workdir() as d:
            got = closed("-q", "-r", WEB, *e.NO_AGEING, "-n", f"json:{d}/out", "--stats", f"{d}/stats", fds=fds)
            found = e.json_flows(Path(f"{d}/out").read_bytes())
            e.check(got.returncode == 0 and not e.differences(flows.flows(WEB)[0], found), f"without {fds}: {got}")
    got = closed("-q", "-r", WEB, "-n", "json:-", fds=(1,))
    e.check(got.returncode == 1 and b"standard output is closed" in got.stderr, f"json:- without 1: {got}")
    got = closed("-q", "-r", "-", "-n", "json:/dev/null", fds=(0,))
    e.check(got.returncode == 1 and b"standard input is closed" in got.stderr, f"-r - without 0: {got}")
    for fds in ((0,), (0, 1, 2)):
        with e.workdir() as d:
            os.mkfifo(f"{d}/in")
            pidfile, hold = Path(d) / "pid", os.open(f"{d}/in", os.O_RDWR)
            os.write(hold, WEB.read_bytes())
            got = closed("--daemon", "-r", f"{d}/in", "-n", f"json:{d}/out", "-p", pidfile, "-q", fds=fds)
            e.check(got.returncode == 0, f"--daemon without {fds}: {got}")
            pid = int(pidfile.read_text())
            e.wait(lambda: sleeps(pid), f"--daemon without {fds} takes all of a processor")
            targets = [os.readlink(f"/proc/{pid}/fd/{n}") for n in range(3)]
            e.check(targets == ["/dev/null"] * 3, f"--daemon without {fds}: {targets}")
            os.kill(pid, signal.SIGTERM)
            e.wait(lambda: not pidfile.exists() and not os.path.exists(f"/proc/{pid}"), f"--daemon without {fds}: deaf")
            os.close(hold)


# ---- input without an end in sight


def pcap_header(magic=0xa1b2c3d4):
    return struct.pack("<IHHiIII", magic, 2, 4, 0, 0, 262144, 1)


def hear(where, p, stats):
    p.started()
    s = statistics_of(p, stats)
    e.check(s and not s["final"], f"{where}: {s}")
    if s:
        e.check_ledger(where, s)
    e.check(p.process.poll() is None, f"{where}: it has ended: {p.said()}")
    status = p.term()
    e.check(status is not None and not e.sanitizer(p.said().encode()), f"{where}: TERM: {status} {p.said()}")


def part_huge_file():
    """A file that goes on for hours, of which no packet is metered."""
    frame = bytes(12) + b"\x08\x06" + bytes(46)
    chunk = b"".join(struct.pack("<IIII", 1700000000, 0, 60, 60) + frame for _ in range(20000))
    for magic in (0xa1b2c3d4, 0xa1b2cd34):
        for more in ([], ["-w", "2"], ["-f", "port 9"]):
            with e.workdir() as d:
                huge, stats = Path(d) / "huge.pcap", Path(d) / "stats"
                huge.write_bytes(pcap_header(magic) + (b"" if magic == 0xa1b2cd34 else chunk))
                os.truncate(huge, HOURS)  # zeros are packets without octets
                p = Running(d, "-q", "-r", huge, "-n", f"json:{d}/out", "--stats", stats, *more)
                hear(f"a huge file, magic {magic:x} {more}", p, stats)


def part_silent_pipe():
    """A pipe from which nothing comes, inside a packet."""
    for magic in (0xa1b2c3d4,):
        with e.workdir() as d:
            stats, data = Path(d) / "stats", pcap_header(magic) + struct.pack("<II", 1700000000, 0)
            p = Running(d, "-q", "-r", "-", "-n", f"json:{d}/out", "--stats", stats, stdin=subprocess.PIPE)
            p.process.stdin.write(data)
            p.process.stdin.flush()
            hear(f"a silent pipe, magic {magic:x}", p, stats)


# ---- files and processes that hang


def is_gone(pid):
    """Also when nobody collects orphans here."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


class Piped(Running):
    """pitot, which measures a pipe that the test holds open: it goes on until it is told to stop."""

    def __init__(self, directory, *args, **how):
        super().__init__(directory, "-q", "-r", "-", *args, stdin=subprocess.PIPE, **how)
        self.process.stdin.write(WEB.read_bytes())
        self.process.stdin.flush()
        self.started()


def part_statistics_pipe():
    """--stats is a pipe: nobody reads it, or somebody who does not read."""
    for reader in (False, True):
        with e.workdir() as d:
            os.mkfifo(f"{d}/stats")
            hold = os.open(f"{d}/stats", os.O_RDWR | os.O_NONBLOCK) if reader else None
            while reader:
                try:
                    os.write(hold, bytes(4096))
                except BlockingIOError:
                    break
            p = Piped(d, "-n", f"json:{d}/out", "--stats", f"{d}/stats")
            p.process.send_signal(signal.SIGUSR1)
            words = "does not read" if reader else "No such device"
            e.wait(lambda: words in p.said(), lambda: f"--stats to a pipe: no '{words}': {p.said()}", PATIENCE_S)
            e.check(p.term() == 1 and p.said().count(words) == 2, f"--stats to a pipe: {p.said()}")
            if reader:
                os.close(hold)


def part_statistics_whole():
    """Whoever opens the statistics has all of them, and their mode stays."""
    with e.workdir() as d:
        stats = Path(d) / "stats"
        stats.write_text("old")
        stats.chmod(0o644)
        p = Piped(d, "-n", f"json:{d}/out", "--stats", stats)
        with open(stats, encoding="ascii") as old:
            e.check(metered(p, stats, 74), "not all was measured")
            e.check(old.read() == "old", "the file was changed under its reader")
        e.check(stats.stat().st_mode & 0o777 == 0o644, f"the mode is {stats.stat().st_mode:o}")
        p.process.stdin.close()
        e.check(p.end() == 0 and e.statistics(stats)["final"], f"final: {p.said()}")
        e.check(sorted(os.listdir(d)) == ["out", "stats", "stderr"], f"left: {os.listdir(d)}")


def part_statistics_often():
    """--stats-every writes them again and again."""
    with e.workdir() as d:
        stats = Path(d) / "stats"
        p = Piped(d, "-n", f"json:{d}/out", "--stats", stats, "--stats-every", "0.1")

        def received():
            return stats.exists() and e.statistics(stats)["packets"]["metered"] == 74
        e.wait(received, lambda: f"--stats-every: {p.said()}", PATIENCE_S)
        seen = set()
        e.wait(lambda: seen.add(e.statistics(stats)["seconds"]) or len(seen) > 3, "--stats-every: they stay the same")
        e.check(p.term() == 143 and e.statistics(stats)["final"], f"--stats-every: {p.said()}")


def part_helpers():
    """The processes that open files are stopped, or killed: one of them is started again; both at once are missed."""
    for how in (signal.SIGSTOP, signal.SIGKILL):
        for both in (False, True):
            with e.workdir() as d:
                p = Piped(d, "-n", f"json:{d}/out", "--stats", f"{d}/stats", "-p", f"{d}/pid", "--stop-timeout", "1")
                elder = e.roles(p.process.pid)["pitot-files"]
                e.wait(lambda elder=elder: e.roles(elder), "pitot-files is one process")
                younger = e.roles(elder)["pitot-files"]
                if both:  # at once: nobody does anything about it meanwhile
                    os.kill(p.process.pid, signal.SIGSTOP)
                    os.kill(elder, signal.SIGSTOP)
                os.kill(younger, how)
                if both:
                    os.kill(elder, how)
                    os.kill(p.process.pid, signal.SIGCONT)
                gone = both and how == signal.SIGKILL
                words = "pitot-files has ended: no statistics can be written" if gone else "pitot-files has ended: "
                e.wait(lambda words=words: words in p.said(), lambda: f"{how.name}: not told: {p.said()}", PATIENCE_S)
                status = p.term()
                e.check(status == (1 if gone else 143), f"{how.name}: {status} {p.said()}")
                e.check(gone or e.statistics(f"{d}/stats")["processes"]["helper_restarts"] >= 1, p.said())
                for pid in (elder, younger):
                    e.wait(lambda pid=pid: is_gone(pid), f"{how.name}: the process stays behind")


def part_restart():
    """The new one starts while the old one still ends: it waits for it.  One that is at work is not waited for."""
    with e.workdir() as d, e.workdir() as d2, socket.socket() as collector:
        collector.bind(("127.0.0.1", 0))
        collector.listen()  # and nobody accepts, or reads
        pidfile = Path(d) / "pid"
        old = Piped(d, "-n", f"ipfix+tcp://127.0.0.1:{collector.getsockname()[1]}", "-p", pidfile, "--stop-timeout", "3")
        e.wait(lambda: pidfile.read_text() == f"{old.process.pid}\n", "no pid file")
        got = e.run("-q", "-r", WEB, "-n", f"json:{d2}/none", "-p", pidfile)
        e.check(got.returncode == 1 and f"process {old.process.pid}, which is running".encode() in got.stderr, f"{got}")
        os.kill(old.process.pid, signal.SIGTERM)
        new = Running(d2, "-q", "-r", "-", "-n", f"json:{d2}/out", "-p", pidfile, stdin=subprocess.PIPE)
        new.process.stdin.write(WEB.read_bytes())
        new.process.stdin.close()
        e.check(new.end() == 0 and f"process {old.process.pid} is ending" in new.said(), f"the new one: {new.said()}")
        e.check(old.end() is not None, f"the old one: {old.said()}")
        e.check(not pidfile.exists(), "the pid file stays behind")


# ---- readers that do not read


def many_flows(path, n):
    """A capture file of n flows of a packet each."""
    ip = bytes.fromhex("4500001c0001000040110000")
    with open(path, "wb") as out:
        out.write(pcap_header())
        for i in range(n):
            frame = (bytes(12) + b"\x08\x00" + ip + struct.pack(">I", 0x0a000000 + i) + bytes([192, 0, 2, 2]) +
                     struct.pack(">HHHH", 1111, 53, 8, 0))
            out.write(struct.pack("<IIII", 1700000000 + i // 1000, 0, len(frame), len(frame)) + frame)


def arrived(sink):
    """IPFIX data records that came: the sequence number counts them."""
    return max((struct.unpack(">I", d[8:12])[0] for d in sink.datagrams), default=0)


def part_stuck_reader():
    """A pipe that nobody empties: the other collector gets everything, and TERM and USR1 are heard."""
    n = 60000
    for term in (True, False):
        with e.workdir() as d:
            many_flows(f"{d}/in.pcap", n)
            stats, sink, (r, w) = Path(d) / "stats", e.Sink(), os.pipe()
            p = Running(d, "-q", "-r", f"{d}/in.pcap", "-n", "json:-", "-n", f"ipfix://127.0.0.1:{sink.port}", "--stats",
                        stats, "--stop-timeout", "10" if term else "2", stdout=w)
            p.started()
            if term:
                s = statistics_of(p, stats)
                e.check(s and s["ledger"]["balanced"], f"stuck: {s and s['ledger']}")
                e.wait(lambda: sleeps(p.process.pid) or p.process.poll() is not None, "stuck: it does not wait")
                e.check(p.process.poll() is None, f"stuck: ended before: {p.said()}")
            status = p.term() if term else p.end()
            s = e.statistics(stats)
            e.check_ledger("stuck", s)
            pipe, udp = s["collectors"]
            e.check(status == (1 if not term or pipe["not_sent"]["records"] else 143), f"stuck: {status} {p.said()}")
            e.check(pipe["not_sent"]["records"] > 0 and f"{pipe['not_sent']['records']} of" in p.said(),
                    f"stuck: the loss is not told: {p.said()} {pipe}")
            e.check(udp["records"] == n and udp["not_sent"]["records"] == 0, f"stuck: UDP was sent {udp}")
            for end in (r, w):
                os.close(end)
            sink.stop()


def part_slow_reader():
    """A pipe whose reader is slow and steady gets everything, however short --stop-timeout is."""
    with e.workdir() as d:
        many_flows(f"{d}/in.pcap", 30000)
        p = Running(d, "-q", "-r", f"{d}/in.pcap", "-n", "json:-", "-n", "ipfix://127.0.0.1:9", "--stop-timeout", "2",
                    "--send-buffer", "2M", stdout=subprocess.PIPE)
        lines, end = 0, time.monotonic() + 4
        while True:
            data = p.process.stdout.read1(65536)
            lines += data.count(b"\n")
            if not data:
                break
            if time.monotonic() < end:
                time.sleep(0.1)
        p.end()
        e.check(lines == 30000 and "json:-" not in p.said(), f"slow reader: {lines} lines; {p.said()}")


def part_pager():
    """A pipe that is all that there is to write is waited for, whatever --stop-timeout says: as of any program."""
    with e.workdir() as d:
        many_flows(f"{d}/in.pcap", 5000)
        p = Running(d, "-q", "-r", f"{d}/in.pcap", "-n", "json:-", "--stop-timeout", "0", stdout=subprocess.PIPE)
        e.wait(lambda: sleeps(p.process.pid), "it does not wait")
        time.sleep(1.5)
        lines = p.process.stdout.read().count(b"\n")
        e.check(p.end() == 0 and lines == 5000, f"pager: {lines} lines: {p.said()}")
        p = Running(d, "-q", "-r", f"{d}/in.pcap", "-n", "json:-", "--stop-timeout", "1", stdout=subprocess.PIPE)
        e.wait(lambda: sleeps(p.process.pid), "it does not wait")
        e.check(p.term() == 1 and "not sent" in p.said(), f"pager, TERM: {p.said()}")


def part_interrupted():
    """Of a savefile that is not read to its end a part is no result."""
    for how, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        with e.workdir() as d:
            p = Piped(d, "-n", f"json:{d}/out", "--stats", f"{d}/stats", *e.NO_AGEING)
            metered(p, Path(d) / "stats", 74)
            e.check(p.term(how) == status, f"{how.name}: {p.process.returncode} {p.said()}")
            e.check(not os.path.exists(f"{d}/out") and how.name in p.said() and ".part" in p.said(), f"{how.name}: {p.said()}")
            found = e.json_flows(Path(f"{d}/out.part").read_bytes())
            e.check(not e.differences(flows.flows(WEB)[0], found), f"{how.name}: what was read is not all there")


def part_hung_thread():
    """A thread that hangs: the others end, and what is lost is told."""
    why = injectlib.lacking()
    if why:
        e.skip_part(f"no thread can be made to hang by ptrace: {why}")
        return
    for kind, words in (("metering", "metering thread"), ("exporting", "the exporting process")):
        with e.workdir() as d:
            p = Piped(d, "-n", f"json:{d}/out", "--stats", f"{d}/stats", "-p", f"{d}/pid", "-w", "2", "--stop-timeout", "1")
            e.wait(lambda: sleeps(p.process.pid), "it does not wait")
            process = e.roles(p.process.pid)[f"pitot-{kind}"]
            injectlib.Taken(injectlib.worker(process) if kind == "metering" else process).sleep()
            e.check(p.term() == 1 and words in p.said(), f"{kind} hangs: {p.process.returncode} {p.said()}")
            e.check(not os.path.exists(f"{d}/pid") and not e.statistics(f"{d}/stats")["final"], f"{kind} hangs: {os.listdir(d)}")


def part_full_disk():
    """A live file on a full disk is a failure, and what is there is whole."""
    if not os.path.exists("/dev/full"):
        return
    with e.workdir() as d:
        p = Piped(d, "-n", "json:/dev/full", "-n", "json:/dev/null", "-n", f"json:{d}/out")
        p.process.stdin.close()
        e.check(p.end() == 1 and "No space left" in p.said(), f"a full disk: {p.said()}")
        e.check(os.path.exists(f"{d}/out"), "the other file has no name")
        # a rename that fails
        p = Piped(d, "-n", f"json:{d}/result")
        os.mkdir(f"{d}/result")
        os.mkdir(f"{d}/result/x")
        p.process.stdin.close()
        e.check(p.end() == 1 and "result.part" in p.said(), f"no name: {p.said()}")


# ---- a system that does not answer


def part_silent_names():
    """A name service that never answers: savefiles and TERM."""
    if os.geteuid() != 0 or not e.have("unshare", "ip"):
        e.skip_part("a network namespace takes root")
        return
    bind = ("import os, socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 53)); "
            "s.set_inheritable(True); os.execv(sys.argv[1], sys.argv[1:])")
    with e.workdir() as d:
        Path(f"{d}/resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:5\n")
        Path(f"{d}/nsswitch.conf").write_text("hosts: dns\n")
        script = (f"ip link set lo up; ip link add pwa type veth peer name pwb; ip addr add 192.0.2.5/24 dev pwa; "
                  f"ip link set pwa up; ip link set pwb up; mount --bind {d}/resolv.conf /etc/resolv.conf; "
                  f"mount --bind {d}/nsswitch.conf /etc/nsswitch.conf; exec \"$@\"")
        for url in ("ipfix://no.such.name:4739", "ipfix+tcp://no.such.name:4739"):
            command = [e.find("unshare"), "--mount", "--net", "--propagation", "private", "sh", "-ec", script, "sh", sys.executable,
                       "-c", bind, e.PITOT, "-q", "-i", "lo", "-n", url, "-n", f"json:{d}/out", "--stop-timeout", "1",
                       "--stats", f"{d}/stats"]
            p = Running.__new__(Running)
            p.path = Path(d) / "stderr"
            with open(p.path, "wb") as err:
                p.process = subprocess.Popen(command, stderr=err)
            e.wait(lambda: p.process.poll() is not None or Path(f"/proc/{p.process.pid}/comm").read_text() == "pitot\n",
                   "not begun")
            p.started()
            s = statistics_of(p, Path(f"{d}/stats"))
            e.check(s and s["collectors"][0]["state"] == "connecting", f"{url}: {s and s['collectors']} {p.said()}")
            e.check(p.term() == 0 and os.path.exists(f"{d}/out"), f"{url}: TERM: {p.process.returncode} {p.said()}")


def part_small_disk():
    """A disk that is full for a while: what could not be written is told, what is there is whole, TERM is heard."""
    if os.geteuid() != 0 or not e.have("mount", "umount"):
        e.skip_part("a file system of its own takes root")
        return
    with e.workdir() as d:
        os.mkdir(f"{d}/small")
        subprocess.run([e.find("mount"), "-t", "tmpfs", "-o", "size=256k", "none", f"{d}/small"], check=True)
        try:
            many_flows(f"{d}/in.pcap", 20000)
            p = Running(d, "-q", "-r", f"{d}/in.pcap", "-n", f"json:{d}/small/out", "--stop-timeout", "1", "--stats", f"{d}/stats")
            e.check(p.end() == 1 and "No space left" in p.said() and "out.part" in p.said(), f"a small disk: {p.said()}")
            s = e.statistics(f"{d}/stats")
            e.check_ledger("a small disk", s)
            lines = Path(f"{d}/small/out.part").read_bytes()
            e.check(lines.endswith(b"}\n") or not lines, "a small disk: the file ends inside a line")
            e.check(lines.count(b"\n") == s["collectors"][0]["records"], f"a small disk: {s['collectors']}")
        finally:
            subprocess.run([e.find("umount"), f"{d}/small"], check=True)


def main():
    e.run_parts(part_closed_descriptors, part_huge_file, part_silent_pipe, part_stuck_reader, part_slow_reader, part_pager,
                part_interrupted, part_hung_thread, part_full_disk, part_statistics_pipe, part_statistics_whole,
                part_statistics_often, part_helpers, part_restart, part_silent_names, part_small_disk)
    e.finish()


main()
