#!/usr/bin/env python3
"""Collectors on UDP that are away for a while: what they refuse is charged to the records in it, and what they get when
they are back begins with templates.  Records that arrived and those that were not sent are all that there were."""
import socket
import struct
import subprocess

import e2elib as e


class Collector:
    """A port of loopback that somebody listens on, or nobody."""

    def __init__(self):
        self.port = e.free_port()
        self.socket = None
        self.sessions = []   # the datagrams of each time that it was there

    def begin(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        e.make_room(self.socket)
        self.socket.setblocking(False)
        e.wait(self.bind, f"port {self.port} is taken")
        self.sessions.append([])

    def bind(self):
        try:  # a program that another thread is starting may have the last socket for a moment
            self.socket.bind(("127.0.0.1", self.port))
        except OSError:
            return False
        return True

    def take(self):
        try:
            while self.socket:
                self.sessions[-1].append(self.socket.recv(65535))
        except BlockingIOError:
            pass
        return self.sessions[-1]

    def end(self):
        self.take()
        self.socket.close()
        self.socket = None

    def early(self):
        return [early(session) for session in self.sessions]

    def records(self):
        return sum(count(session) for session in self.sessions)


def sets(datagram):
    version, at = struct.unpack_from("!H", datagram)[0], 0
    at = 20 if version == 9 else 16
    while at + 4 <= len(datagram):
        set_id, size = struct.unpack_from("!HH", datagram, at)
        yield version, set_id, datagram[at + 4:at + size]
        at += size


def count(session):
    """Flow records that can be decoded: version 5, or behind the template that this session has."""
    length, n = None, 0
    for datagram in session:
        if datagram[:2] == b"\0\5":
            n += struct.unpack_from("!H", datagram, 2)[0]
            continue
        for version, set_id, body in sets(datagram) if datagram else ():
            if set_id == (0 if version == 9 else 2):
                fields = struct.unpack_from("!H", body, 2)[0]
                length = sum(struct.unpack_from("!H", body, 4 + 4 * i + 2)[0] for i in range(fields))
            elif set_id == 256:
                n += len(body) // length if length else 0
    return n


def early(session):
    """Messages of flows before the first templates."""
    n = 0
    for datagram in session:
        for version, set_id, _ in sets(datagram) if datagram[:2] in (b"\0\x09", b"\0\x0a") else ():
            if set_id == (0 if version == 9 else 2):
                return n
            n += set_id == 256
    return n


class Feed:
    """pitot, which reads flows from a pipe: each second of packet time ends those of the second before."""

    def __init__(self, d, *args):
        self.stats = f"{d}/s"
        self.process = subprocess.Popen([e.PITOT, "-r", "-", "-w", "1", "-t", "active=1,inactive=1", "--flush-interval", "0",
                                         "--template-refresh", "3600", "--template-packets", "1000000", "--stats", self.stats,
                                         *args], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self.process.stdin.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 101))
        self.second = self.flows = 0

    def put(self, n):
        """n flows, and an end to those before."""
        self.second += 10
        for i in range(n):
            packet = struct.pack("!BBHHHBBHII", 0x45, 0, 40, i, 0, 64, 17, 0, 0xc0000201, 0xc6336400 + i)
            packet += struct.pack("!HHHH", self.second % 60000, 5000, 20, 0) + bytes(12)
            self.process.stdin.write(struct.pack("<IIII", 1_700_000_000 + self.second, 0, len(packet), len(packet)) + packet)
        self.process.stdin.flush()
        self.flows += n

    def not_sent(self):
        """Of the one collector, until now."""
        return e.statistics_now(self.process, self.stats)["collectors"][0]["not_sent"]["records"]

    def end(self, where):
        _, err = self.process.communicate(timeout=60)
        e.check(not e.sanitizer(err), f"{where}: {err!r}")
        s = e.statistics(self.stats)
        e.check_ledger(where, s)
        return self.process.returncode, err.decode(), s


def wait_for(feed, collector, n, what):
    """Feeds until the collector has n flow records of this session; who was away hears of it by what comes."""
    def enough():
        if count(collector.take()) >= n:
            return True
        feed.put(40)
        return False
    e.wait(enough, what)


def away(scheme):
    """Away, back, away, back: nothing is lost that is not told, and templates are there first."""
    c = Collector()
    c.begin()
    with e.workdir() as d:
        f = Feed(d, "-n", f"{scheme}://127.0.0.1:{c.port}")
        for turn in range(2):
            wait_for(f, c, 100, f"{scheme}: nothing came in turn {turn}")
            c.end()
            before = f.not_sent()
            e.wait(lambda: f.put(40) or f.not_sent() >= before + 200, f"{scheme}: nothing is refused in turn {turn}")
            c.begin()
        wait_for(f, c, 100, f"{scheme}: nothing came at the end")
        status, err, s = f.end(scheme)
        c.end()
    told = s["collectors"][0]
    e.check(not any(c.early()), f"{scheme}: messages before templates: {c.early()}")
    e.check(told["not_sent"]["records"] >= 400, f"{scheme}: not_sent {told['not_sent']}, although it was more before")
    e.check(c.records() + told["not_sent"]["records"] == f.flows, f"{scheme}: {c.records()} arrived of {f.flows}, not_sent {told}")
    e.check(s["flows"]["not_sent"] == told["not_sent"]["records"], f"{scheme}: the whole says {s['flows']}")
    e.check(status == 1 and "Connection refused" in err and f"{told['not_sent']['records']} of {f.flows}" in err, f"{scheme}: {status} {err}")


def failover(scheme):
    """The second collector has the records while the first is away, and the first when it is back; templates are not due."""
    a, b = Collector(), Collector()
    a.begin()
    b.begin()
    with e.workdir() as d:
        f = Feed(d, "--collector-group", "failover", "-n", f"{scheme}://127.0.0.1:{a.port}", "-n", f"{scheme}://127.0.0.1:{b.port}")
        for turn in range(2):
            wait_for(f, a, 100, f"{scheme} failover: the first gets nothing in turn {turn}")
            a.end()
            wait_for(f, b, count(b.take()) + 200, f"{scheme} failover: the second gets nothing in turn {turn}")
            a.begin()
        wait_for(f, a, 100, f"{scheme} failover: the first gets nothing at the end")
        _, _, s = f.end(f"{scheme} failover")
        a.end()
        b.end()
    lost = s["flows"]["not_sent"]
    e.check(not any(a.early() + b.early()), f"{scheme} failover: messages before templates: {a.early()}, {b.early()}")
    e.check(a.records() + b.records() + lost == f.flows, f"{scheme} failover: {a.records()} and {b.records()} of {f.flows}, not sent {lost}")
    e.check(0 < lost < f.flows / 4, f"{scheme} failover: {lost} of {f.flows} not sent")


SCHEMES = ["netflow5", "netflow9", "ipfix"]
e.together(away, SCHEMES)
e.together(failover, SCHEMES)
e.finish()
