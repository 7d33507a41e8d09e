#!/usr/bin/env python3
"""Clocks that step, and counters and uptimes that pass 2^32.

    clock_steps.py PITOT SRCROOT [--only NAME]

In builds with -Dtest_hooks=true the clock of a live measurement steps by an hour, and a program begins with an uptime
of nearly 49.7 days (PITOT_TEST_CLOCK); in others these parts are left out.  Prints `ok NAME` or `FAIL NAME why`.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import live
import option_data
from live import Failure, check, links, running, sender

with open(sys.argv[1], "rb") as program_file:
    HOOKS = b"PITOT_TEST_CLOCK" in program_file.read()
FLOWS = 20
FIELDS = ("sourceIPv4Address,sourceTransportPort,packetDeltaCount,octetDeltaCount,flowStartMilliseconds,"
          "flowEndMilliseconds,flowEndReason")


class Version5(threading.Thread):
    """Takes NetFlow v5, and checks First <= Last <= sysUptime of every record as it comes, modulo 2^32."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.1)
        self.url = "netflow5://127.0.0.1:%d" % self.socket.getsockname()[1]
        self.records = self.packets = 0
        self.uptimes, self.wrong, self.ending = [], [], False
        self.start()

    def run(self):
        while True:
            try:
                self.message(self.socket.recv(65535))
            except socket.timeout:
                if self.ending:
                    return

    def message(self, octets):
        _, count, uptime, seconds = struct.unpack_from("!HHII", octets)
        self.uptimes.append(uptime)
        for i in range(count):
            packets, _, first, last = struct.unpack_from("!IIII", octets, 24 + 48 * i + 16)
            self.records += 1
            self.packets += packets
            length, age = (last - first) & 0xffffffff, (uptime - last) & 0xffffffff
            if length > 7200000 or age > 7200000:
                self.wrong.append(f"First {first}, Last {last}, sysUptime {uptime}")
            if abs(seconds - age // 1000 - time.time()) > 3700 + 10:
                self.wrong.append(f"ends {age} ms before {seconds}, and it is {time.time():.0f}")

    def stop(self):
        self.ending = True
        self.join()


def keep_sending(name, seconds, until=lambda: True):
    """A packet each of FLOWS flows every 50 ms, and until that is so; how many rounds."""
    frames = [live.frame(live.Flow("10.0.0.%d" % (1 + i), "10.0.1.1", 17, 1000 + i, 53, 0), 22)[0] for i in range(FLOWS)]
    end, rounds = time.monotonic() + seconds, 0
    with sender(name) as s:
        while time.monotonic() < end or not until():
            check(time.monotonic() < end + live.DEADLINE_S, "what is waited for does not come")
            for f in frames:
                s.send(f)
            rounds += 1
            time.sleep(0.05)
    return rounds


def measure(program, plan, seconds, *args, until=lambda collector: True):
    """What came of FLOWS flows while the clock did as planned, and the collector of NetFlow v5 had what is wanted: rows,
    statistics, the collector, rounds."""
    collector = Version5()
    os.environ["PITOT_TEST_CLOCK"] = plan
    try:
        with links(("pt0", "pt0p")), tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            path = f"{folder}/out.json"
            with running(program, "-i", "pt0", "--fields", FIELDS, *args, collectors=[f"json:{path}", collector.url],
                         fields=False) as p:
                rounds = keep_sending("pt0p", seconds, lambda: until(collector))
                stats = p.stop()
            with open(path) as f:
                rows = [json.loads(line) for line in f]
    finally:
        del os.environ["PITOT_TEST_CLOCK"]
    collector.stop()
    return rows, stats, collector, rounds


def check_rows(rows, stats, collector, rounds, most):
    check(stats["ledger"]["balanced"] is True, "ledger")
    by_flow = {}
    for r in rows:
        check(r["flowStartMilliseconds"] <= r["flowEndMilliseconds"], f"ends before it starts: {r}")
        by_flow.setdefault(r["sourceIPv4Address"], []).append(r)
    check(len(by_flow) == FLOWS, f"{len(by_flow)} flows")
    for source, records in by_flow.items():
        check(sum(r["packetDeltaCount"] for r in records) == rounds, f"{source}: {records} of {rounds} packets")
        check(len(records) <= most, f"{source}: split into {len(records)} records: {records}")
    check(not collector.wrong, f"NetFlow v5: {len(collector.wrong)} wrong: {collector.wrong[:3]}")
    check(collector.packets == rounds * FLOWS, f"NetFlow v5: {collector.packets} packets of {rounds * FLOWS}")


def steady(program):
    """Without any step a flow is one record: what follows is of the steps."""
    rows, stats, collector, rounds = measure(program, "", 3)
    check_rows(rows, stats, collector, rounds, 1)


def forward(program):
    """An hour forward: time-outs passed, so what there is ends once."""
    rows, stats, collector, rounds = measure(program, "+3600@2", 5)
    check_rows(rows, stats, collector, rounds, 2)
    check(max(r["flowEndMilliseconds"] for r in rows) > (time.time() + 3500) * 1000, "the clock did not step")


def back(program):
    """An hour back: no packet is lost, no flow ends before it starts."""
    rows, stats, collector, rounds = measure(program, "-3600@2", 5)
    check_rows(rows, stats, collector, rounds, 2)


def forward_and_back(program):
    rows, stats, collector, rounds = measure(program, "+3600@2,-3600@4,-3600@6,+3600@8", 10)
    check_rows(rows, stats, collector, rounds, 5)


def goes_on_afterwards(program):
    """After a step either way time-outs work: active ones every second, and silent flows end."""
    for plan in ("+3600@2", "-3600@2"):
        collector = option_data.Collector()
        os.environ["PITOT_TEST_CLOCK"] = plan
        try:
            with links(("pt0", "pt0p")):
                with running(program, "-i", "pt0", "-t", "active=1,inactive=1", "--stats-interval", "1",
                             collectors=[collector.url], fields=False) as p:
                    keep_sending("pt0p", 3)
                    collector.read()
                    before = collector.records
                    keep_sending("pt0p", 2, lambda: collector.read() or collector.records >= before + 2 * FLOWS)
                    end = time.monotonic() + live.DEADLINE_S
                    while option_data.statistics(p)["flows"]["active"]:
                        check(time.monotonic() < end, f"{plan}: silent flows do not end")
                        time.sleep(0.2)
                    p.stop()
        finally:
            del os.environ["PITOT_TEST_CLOCK"]


def uptime_wraps(program):
    """sysUptime passes 2^32 ms: First, Last and it stay consistent."""
    # the program adds an hour, so that flows may begin before it
    def wraps(collector):
        return collector.uptimes and max(collector.uptimes) > 2**31 > min(collector.uptimes)
    begun = time.monotonic()
    rows, stats, collector, rounds = measure(program, f"uptime={2**32 - 3600000 - 5000}", 6, "-t", "active=1,inactive=1", until=wraps)
    check_rows(rows, stats, collector, rounds, 2 + int(time.monotonic() - begun))
    check(wraps(collector), f"sysUptime did not wrap: {collector.uptimes}")


def counters(program):
    """One flow of 140,000 packets of 65,535 octets: more than 2^33."""
    count, size = 140000, 65535
    packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, size, 1, 0, 64, 17, 0, bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2)))
    packet += struct.pack("!HHHH", 1, 2, size - 20, 0)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/big.pcap"
        with open(path, "wb") as f:
            f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 64, 101))
            for i in range(count):
                f.write(struct.pack("<IIII", 1700000000, i, len(packet), size) + packet)
        got = subprocess.run([program, "-q", "-r", path, "-n", "json:-", "-n", f"netflow5+file:{folder}/out.v5",
                              "--stats", f"{folder}/stats"], capture_output=True, check=False)
        check(got.returncode == 0, got.stderr.decode())
        rows = [json.loads(line) for line in got.stdout.splitlines()]
        check([(r["packetDeltaCount"], r["octetDeltaCount"]) for r in rows] == [(count, count * size)], f"{rows}")
        with open(f"{folder}/out.v5", "rb") as f:
            octets = f.read()
        with open(f"{folder}/stats") as f:
            stats = json.load(f)
    check(stats["octets"]["metered"] == count * size and stats["ledger"]["balanced"] is True, f"{stats['octets']}")
    packets5 = octets5 = at = 0
    while at < len(octets):
        n = struct.unpack_from("!H", octets, at + 2)[0]
        for i in range(n):
            p, o = struct.unpack_from("!II", octets, at + 24 + 48 * i + 16)
            packets5, octets5 = packets5 + p, octets5 + o
        at += 24 + 48 * n
    check((packets5, octets5) == (count, count * size), f"NetFlow v5: {packets5} packets, {octets5} octets")


if __name__ == "__main__":
    parts = (counters,)
    if HOOKS:
        parts += (steady, forward, back, forward_and_back, goes_on_afterwards, uptime_wraps)
    else:
        print("a build without test hooks: clocks do not step here")
    try:
        sys.exit(option_data.main(parts))
    except Failure as failure:
        sys.exit(str(failure))
