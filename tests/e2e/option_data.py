#!/usr/bin/env python3
"""What collectors are told by options (RFC 7011 §4) is what --stats says.

    option_data.py PITOT [SRCROOT] [--only NAME]

Live in a network namespace of its own.  Prints `ok NAME` or `FAIL NAME why`; exit status 77 without privilege.
"""

import collections
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import e2elib
import live
from live import Failure, check, links, mixture, running, send, sender

ARP = b"\xff" * 6 + b"\x02\0\0\0\0\x01" + struct.pack("!H", 0x0806) + bytes(46)
# scope and first field of what RFC 7011 §4.1, §4.2 and §4.3 define
METERING, RELIABILITY, EXPORTING = (149, 41), (149, 164), (144, 166)


class Collector:
    """Takes IPFIX datagrams on loopback."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        e2elib.make_room(self.socket)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.url = "ipfix://127.0.0.1:%d" % self.socket.getsockname()[1]
        self.templates = {}
        self.options = collections.defaultdict(list)  # (scope, first field): [(fields, totals before)]
        self.messages = self.octets = self.records = 0
        self.sequence = None
        self.gaps = 0
        self.sessions = 0

    def read(self):
        while True:
            try:
                self.message(self.socket.recv(65535))
            except BlockingIOError:
                return

    def message(self, octets):
        version, length, _, sequence, _ = struct.unpack_from("!HHIII", octets)
        check(version == 10 and length == len(octets), "no IPFIX message")
        self.sessions += self.sequence is None or sequence == 0 < self.sequence
        if self.sequence is not None:
            self.gaps += (sequence - self.sequence) & 0xffffffff
        before, at, data = (self.messages, self.octets, self.records), 16, 0
        while at < length:
            set_id, size = struct.unpack_from("!HH", octets, at)
            body = octets[at + 4:at + size]
            at += size
            data += self.set(set_id, body, before)
        self.messages += 1
        self.octets += length
        self.sequence = (sequence + data) & 0xffffffff

    def set(self, set_id, body, before):
        if set_id in (2, 3):
            self.template(set_id, body)
            return 0
        fields = self.templates[set_id]
        least = sum(1 if length == 65535 else length for _, length, _ in fields)
        n = at = 0
        while at + least <= len(body):
            row = {}
            for element, length, _ in fields:
                if length == 65535:  # RFC 7011 §7
                    length, at = body[at], at + 1
                # the second of an element that comes twice, which is the later time, has the negative number
                row[-element if element in row else element] = int.from_bytes(body[at:at + length], "big")
                at += length
            n += 1
            if fields[0][2]:
                self.options[(fields[0][0], fields[1][0])].append((row, before))
            else:
                self.records += 1
        return n

    def template(self, set_id, body):
        at = 0
        while at + 4 <= len(body):
            template, n = struct.unpack_from("!HH", body, at)
            scopes = struct.unpack_from("!H", body, at + 4)[0] if set_id == 3 else 0
            at += 6 if set_id == 3 else 4
            fields = []
            for i in range(n):
                element, length = struct.unpack_from("!HH", body, at)
                at += 4
                if element & 0x8000:
                    at += 4
                fields.append((element, length, i < scopes))
            self.templates[template] = fields


def statistics(p):
    """SIGUSR1; what it writes."""
    before = os.stat(p.stats).st_mtime_ns if os.path.exists(p.stats) else 0
    p.process.send_signal(signal.SIGUSR1)
    end = time.monotonic() + live.DEADLINE_S
    while time.monotonic() < end:
        time.sleep(0.02)
        try:
            if os.stat(p.stats).st_mtime_ns > before:
                with open(p.stats) as f:
                    return json.load(f)
        except (FileNotFoundError, json.JSONDecodeError):
            pass
    raise Failure("no statistics after SIGUSR1")


def check_told(collector, stats):
    """The last of each option set is what the statistics have."""
    told, before = collector.options[METERING][-1]
    check((told[41], told[40], told[42]) == before,
          f"messages, octets, records told {told[41], told[40], told[42]}, sent before {before}")
    told = collector.options[RELIABILITY][-1][0]
    check(told[164] == sum(stats["packets"]["ignored"].values()),
          f"ignored packets told {told[164]}: {stats['packets']['ignored']}")
    check(told[165] == stats["octets"]["ignored"], f"ignored octets told {told[165]}: {stats['octets']}")
    check(told[135] == stats["packets"]["dropped_by_kernel"], f"dropped packets told {told[135]}: {stats['packets']}")
    told = collector.options[EXPORTING][-1][0]
    c = stats["collectors"][0]
    lost = stats["flows"]["lost_on_the_way"]
    check(told[166] == c["not_sent"]["records"] + lost, f"flows not sent told {told[166]}: {c} {stats['flows']}")
    check(stats["ledger"]["balanced"] is True, f"ledger not balanced: {stats}")


def counted(program):
    """Ignored packets, and when: while it runs, and at the end."""
    collector = Collector()
    with links(("pt0", "pt0p")):
        with running(program, "-i", "pt0", "--stats-interval", "1", "-t", "active=1,inactive=1",
                     collectors=[collector.url], fields=False) as p:
            began = time.time() * 1000
            send("pt0p", mixture(1), 500)
            with sender("pt0p") as s:
                for _ in range(37):
                    s.send(ARP)
            ended = time.time() * 1000
            time.sleep(2.5)
            collector.read()
            check(len(collector.options[METERING]) >= 3, f"told {len(collector.options[METERING])} times in 2.5 s")
            now = statistics(p)
            check_told(collector, now)
            told = collector.options[RELIABILITY][-1][0]
            check(told[164] == 37 and told[165] == 37 * len(ARP), f"told {told} of 37 ignored")
            check(began - 50 <= told[323] <= told[-323] <= ended + 50, f"ignored from {told[323]} to {told[-323]}")
            with sender("pt0p") as s:
                s.send(ARP)
            stats = p.stop()
        collector.read()
        check(stats["packets"]["metered"] == 500, f"metered {stats['packets']}")
        check_told(collector, stats)
        check(collector.options[RELIABILITY][-1][0][164] == 38, "the last one is not in what was told at the end")
        check(collector.records == stats["flows"]["exported"] and collector.gaps == 0,
              f"{collector.records} records, {collector.gaps} missing")


def told_in_time(p, collector):
    """What was dropped is told with the next statistics; on a busy machine not at once."""
    end = time.monotonic() + 15
    while True:
        time.sleep(1.6)
        collector.read()
        now = statistics(p)
        try:
            check(now["packets"]["dropped_by_kernel"] > 0, "nothing was dropped")
            check_told(collector, now)
            return
        except live.Failure:
            if time.monotonic() > end:
                raise


def kernel_drops(program):
    """A stopped program loses packets in the kernel: the same number is in the options."""
    collector = Collector()
    with links(("pt0", "pt0p")):
        with running(program, "-i", "pt0", "--stats-interval", "1", "-B", "256K", collectors=[collector.url],
                     fields=False) as p:
            metering = e2elib.roles(p.process.pid)["pitot-metering"]
            p.process.send_signal(signal.SIGSTOP)  # first, or it starts the other one again
            os.kill(metering, signal.SIGSTOP)
            send("pt0p", mixture(1), 20000)
            os.kill(metering, signal.SIGCONT)
            p.process.send_signal(signal.SIGCONT)
            told_in_time(p, collector)
            stats = p.stop()
        collector.read()
        check(stats["packets"]["received"] + stats["packets"]["dropped_by_kernel"] == 20000, f"{stats['packets']}")
        check_told(collector, stats)


def to_a_file(program):
    """In a file, too, each says what stands before it, although a thread of its own writes that."""
    data = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data/web.pcap")
    with tempfile.TemporaryDirectory(prefix="pitot-e2e-") as folder:
        subprocess.run([program, "-q", "-r", data, "-n", f"ipfix+file:{folder}/out"], check=True, timeout=60)
        collector, at = Collector(), 0
        with open(f"{folder}/out", "rb") as f, contextlib.closing(collector.socket):
            octets = f.read()
        while at < len(octets):
            length = struct.unpack_from("!H", octets, at + 2)[0]
            collector.message(octets[at:at + length])
            at += length
    check(len(collector.options[METERING]) >= 2, "not at the start and at the end")
    for told, before in collector.options[METERING]:
        check((told[41], told[40], told[42]) == before,
              f"messages, octets, records told {told[41], told[40], told[42]}, before it {before}")


def main(scenarios):
    only = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv else ""
    program = os.path.abspath(sys.argv[1])
    why = live.enter_quiet_namespace()
    if why:
        return live.lacking(f"no network namespace: {why} (run as root)")
    status = 0
    for scenario in scenarios:
        if only not in scenario.__name__:
            continue
        try:
            scenario(program)
            print(f"ok {scenario.__name__}", flush=True)
        except (Failure, OSError, ValueError, KeyError, IndexError) as e:
            print(f"FAIL {scenario.__name__} {type(e).__name__} {e}", flush=True)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main((counted, kernel_drops, to_a_file)))
