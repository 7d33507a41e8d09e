#!/usr/bin/env python3
"""Traffic that means harm: hostile.py PITOT SRCROOT [PACKETS]

Floods of new flows, of fragments, of headers; pitot reads them from a pipe, as it would from an interface: memory
stays what -m and --max-fragments say, established flows stay exact, every packet is in a counter.
PACKETS, or PITOT_FLOOD in the environment, is the size of the two large floods: 1000000 by default, and 300000 with a
sanitizer, which fill the table four times, too.
"""
import json
import os
import random
import re
import resource
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import e2elib as e

FLOOD = int(sys.argv[3] if len(sys.argv) > 3 and sys.argv[3].isdigit() else os.environ.get("PITOT_FLOOD", 300000 if e.SANITIZED else 1000000))
MIB = 1 << 20
ROUNDS = 1 if e.SANITIZED else 16  # of a sanitizer no figure is wanted
TABLE = 65536
ESTABLISHED = 2  # packets of each flow before the flood: those of one packet give way first
ENTRY = 160  # octets that a flow takes in the table, its share of the buckets included
PCAP = struct.pack("<IHHiIII", 0xa1b23c4d, 2, 4, 0, 0, 65535, 1)
ETHER = bytes(12)


def ip4(payload, protocol, src="10.0.0.1", dst="10.0.0.2", ident=1, fragment=0, total=None):
    address = lambda text: bytes(map(int, text.split(".")))
    total = 20 + len(payload) if total is None else total
    return struct.pack("!BBHHHBBH", 0x45, 0, total, ident, fragment, 64, protocol, 0) + address(src) + address(dst) + payload


def ip6(payload, protocol, src=1, dst=2):
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + src.to_bytes(16, "big") + dst.to_bytes(16, "big") + payload


def frame(packet):
    return ETHER + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet


def record(data, at_ns):
    return struct.pack("<IIII", *divmod(at_ns, 10**9), len(data), len(data)) + data


class Run(threading.Thread):
    """pitot on a pipe: write() to it, then finish(); the records of addresses that begin with keep are kept."""

    def __init__(self, folder, *args, keep=None):
        super().__init__(daemon=True)
        self.stats, self.keep, self.kept, self.records, self.most_kib = folder + "/stats", keep, [], 0, 0
        self.process = subprocess.Popen(
            [e.PITOT, "-q", "-r", "-", "-n", "json:-", "--send-buffer", "1M", "--stats", self.stats, *map(str, args)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.start()
        self.write(PCAP)

    def run(self):
        for line in self.process.stdout:
            self.records += 1
            if self.keep and self.keep in line:
                self.kept.append(line)

    def write(self, data):
        try:
            self.process.stdin.write(data)
        except BrokenPipeError:
            e.check(False, f"pitot ended: {self.process.stderr.read()!r}")
            raise SystemExit(1) from None
        self.look()

    def look(self):
        """Resident memory of all its processes; what they share counts once."""
        kib = 0
        for pid in (self.process.pid, *e.roles(self.process.pid).values()):
            try:
                found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
            except OSError:  # it has ended
                continue
            kib += int(found.group(1)) if found else 0
        self.most_kib = max(self.most_kib, kib)

    def finish(self, where, measured=False):
        self.process.stdin.flush()
        if measured:
            time.sleep(0.2)  # what it still reads may need memory
            self.look()
        self.process.stdin.close()
        status = self.process.wait(600)
        self.join()
        stderr = self.process.stderr.read()
        e.check(status == 0 and not e.sanitizer(stderr), f"{where}: status {status}: {stderr.decode()}")
        s = e.statistics(self.stats)
        e.check_ledger(where, s)
        e.check(self.records == s["flows"]["exported"], f"{where}: {self.records} records, {s['flows']}")
        return s


def idle_kib(folder):
    run = Run(folder, "-m", 1, "--max-fragments", 1)
    run.write(record(frame(ip4(bytes(8), 17)), 10**18))
    run.finish("one packet", measured=True)
    return run.most_kib


def check_memory(where, run, idle, entries, more=0):
    """What was configured, and 8 MiB for what was not."""
    bound = idle * 1024 + entries * ENTRY + more + 10 * MIB  # 2 of it: what waits for the file to be written
    print(f"  {where}: {run.most_kib / 1024:.1f} MiB resident, bound {bound / MIB:.1f} MiB", flush=True)
    e.check(e.SANITIZED or run.most_kib * 1024 <= bound, f"{where}: {run.most_kib} KiB resident, bound {bound // 1024}")


def block(template, count):
    """count records of a frame, to be varied by columns; the offset of its first octet of the frame; the size."""
    one = record(template, 0)
    return bytearray(one * count), 16, len(one)


def set_times(data, size, count, first_ns, step_ns):
    """Columns: seconds and nanoseconds, little endian; within a block they may not change the second."""
    seconds, ns = divmod(first_ns, 10**9)
    if ns + count * step_ns >= 10**9:
        seconds, ns = seconds + 1, 0
    times = struct.pack(f"<{2 * count}I", *(v for i in range(count) for v in (seconds, ns + i * step_ns)))
    for k in range(8):
        data[k::size] = times[k::8]
    return seconds * 10**9 + ns + count * step_ns


def flood(folder, idle, where, template, vary, established):
    """FLOOD packets of a flow each, and 1,000 established flows that send now and then."""
    count, at_ns = 65536, 17 * 10**17
    data, at, size = block(template, count)
    run = Run(folder, "-m", TABLE, keep=b'"172.16.')
    began, sent, rounds = time.monotonic(), 0, 0
    for _ in range(ESTABLISHED):  # a flow of a single packet is not established
        run.write(b"".join(record(f, at_ns + i) for i, f in enumerate(established)))
        at_ns += len(established)
    while sent < FLOOD:
        n = min(count, FLOOD - sent)
        at_ns = set_times(data, size, count, at_ns, 1000)
        vary(data, at, size, count, rounds)
        run.write(memoryview(data)[:n * size])
        run.write(b"".join(record(f, at_ns + i) for i, f in enumerate(established)))
        sent, rounds, at_ns = sent + n, rounds + 1, at_ns + len(established)
    s = run.finish(where, measured=True)
    took = time.monotonic() - began
    rounds += ESTABLISHED
    packets = FLOOD + rounds * len(established)
    print(f"  {where}: {packets / took / 1e6:.2f} million packets/s through the pipe, "
          f"{s['flows']['ended']['resources']} ended for want of room", flush=True)
    e.check(s["packets"]["metered"] == packets, f"{where}: {s['packets']} of {packets}")
    e.check(s["flows"]["created"] == FLOOD + len(established), f"{where}: {s['flows']}")
    e.check(FLOOD < 4 * TABLE or s["flows"]["ended"]["resources"] > 0, f"{where}: the table was never full")
    check_memory(where, run, idle, TABLE)
    got = e.json_flows(b"".join(run.kept))
    expected = {}
    for f in established:
        address = ".".join(map(str, f[26:30]))
        sport, dport = struct.unpack_from("!HH", f, 34)
        e.add(expected, (address, "10.0.0.9", 6, sport, dport), rounds, rounds * (len(f) - 14), 0x10)
    e.check(got == expected, f"{where}: established flows differ:\n{e.differences(expected, got)}")


def tcp(flags, sport=1024, dport=80, payload=b""):
    return struct.pack("!HHIIBBHHH", sport, dport, 1, 0, 0x50, flags, 512, 0, 0) + payload


def established_flows():
    return [frame(ip4(tcp(0x10, 2000 + i, 443, bytes(i % 50)), 6, f"172.16.{i >> 8}.{i & 255}", "10.0.0.9"))
            for i in range(1000)]


def syn_flood(folder, idle):
    columns = struct.pack(f"!{65536}H", *range(65536))

    def vary(data, at, size, count, rounds):
        source, port = at + 14 + 12, at + 14 + 20
        data[source + 2::size], data[source + 3::size] = columns[0::2], columns[1::2]
        data[source + 1::size] = bytes([rounds & 255]) * count
        data[port::size] = bytes([4 + (rounds >> 8)]) * count
    flood(folder, idle, "SYN flood", frame(ip4(tcp(2), 6)), vary, established_flows())


def ip6_flood(folder, idle):
    randomness = random.Random(1)

    def vary(data, at, size, count, rounds):
        for k in range(8, 40):  # both addresses
            data[at + 14 + k::size] = randomness.randbytes(count)
        data[at + 14 + 8::size] = bytes([0x20]) * count
    flood(folder, idle, "random IPv6", frame(ip6(struct.pack("!HHHH", 53, 53, 8, 0), 17)), vary, established_flows())


def send_packets(folder, where, packets, *args, measured=False, keep=None):
    run, at_ns = Run(folder, *args, keep=keep), 17 * 10**17
    chunk = []
    for packet in packets:
        chunk.append(record(packet if isinstance(packet, bytes) else bytes(packet), at_ns))
        at_ns += 10000
        if len(chunk) == 4096:
            run.write(b"".join(chunk))
            chunk = []
    run.write(b"".join(chunk))
    return run, run.finish(where, measured)


def fragment_flood(folder, idle):
    """First fragments whose others never come, of 200,000 datagrams: as many are followed as may be."""
    first = frame(ip4(struct.pack("!HHHH", 7, 7, 1480, 0) + bytes(16), 17, fragment=0x2000))
    packets = []
    for i in range(200000):
        f = bytearray(first)
        f[26:30], f[18:20] = (0x0b000000 + (i >> 8)).to_bytes(4, "big"), (i & 0xffff).to_bytes(2, "big")
        packets.append(f)
    run, s = send_packets(folder, "fragment flood", packets, "-m", TABLE, "--max-fragments", 4096,
                          measured=True)
    e.check(s["packets"]["metered"] == len(packets), f"fragment flood: {s['packets']}")
    e.check(s["fragments"]["tracked"] == len(packets) and s["fragments"]["evicted"] >= len(packets) - 4096,
            f"fragment flood: {s['fragments']}")
    check_memory("fragment flood", run, idle, TABLE, 4096 * 128)


def overlapping_fragments(folder):
    """Overlapping, out of order, repeated, beyond 65,535: each octet of each packet is counted once."""
    packets, octets, randomness = [], 0, random.Random(2)
    for ident in range(1, 3001):
        pieces = [(0, 0x2000, struct.pack("!HHHH", 1000 + ident % 50, 53, 400, 0) + bytes(64))]
        pieces += [(randomness.choice((1, 2, 8, 9, 100, 8191)), randomness.choice((0, 0x2000)),
                    bytes(randomness.choice((1, 8, 64)))) for _ in range(randomness.randrange(8))]
        if ident % 3 == 0:
            randomness.shuffle(pieces)
        if ident % 5 == 0:
            pieces = pieces[1:] + pieces[1:]
        for offset, more, payload in pieces:
            packets.append(frame(ip4(payload, 17, ident=ident, fragment=more | offset)))
            octets += 20 + len(payload)
    _, s = send_packets(folder, "overlapping fragments", packets)
    e.check(s["packets"]["metered"] == len(packets), f"overlapping fragments: {s['packets']}")
    e.check(s["octets"]["metered"] == octets, f"overlapping fragments: {s['octets']['metered']} octets of {octets}")


def deep_nesting(folder):
    """Up to 64 VLAN tags, and MPLS labels: headers beyond --max-layers are counted, and nothing else happens."""
    tagged, labelled = [], []
    for depth in range(65):
        # of each a flow of its own
        inner = ip4(struct.pack("!HHHH", 1000 + depth, 2, 8, 0), 17)
        tags = b"".join(b"\x81\x00" + struct.pack("!H", i + 1) for i in range(depth))
        labels = b"".join(struct.pack("!I", (i + 16) << 12 | (i == depth - 1) << 8 | 64) for i in range(depth))
        tagged.append(ETHER + tags + b"\x08\x00" + inner)
        if depth:
            labelled.append(ETHER + b"\x88\x47" + labels + inner)
    for layers in (16, 255):
        for what, frames, deepest in (("tags", tagged, layers - 1), ("labels", labelled, 64)):
            run, s = send_packets(folder, f"{what}, {layers} layers", frames, "--max-layers", layers, keep=b'"')
            p, where = s["packets"], f"{what}, {layers} layers"
            ports = {int(r["sourceTransportPort"]) - 1000 for r in map(json.loads, run.kept)}
            # the Ethernet header is one; a stack of labels is one, too
            wanted = {depth for depth in range(what == "labels", 65) if depth <= deepest}
            e.check(ports == wanted, f"{where}: metered are those of depth {sorted(ports)}")
            e.check(p["metered"] == len(wanted) and p["ignored"]["too_deep"] == len(frames) - len(wanted), f"{where}: {p}")


def header_chains(folder):
    """Chains of up to 170 IPv6 extension headers, of every kind, cut anywhere."""
    packets, randomness = [], random.Random(3)
    for length in list(range(20)) + [40, 80, 170]:
        for kind in (0, 43, 60, 51, 44, 135):
            chain, after = b"", 17
            for _ in range(length):
                chain, after = bytes([after, 0]) + bytes(6) + chain, kind
            packet = frame(ip6(chain + struct.pack("!HHHH", 1, 2, 8, 0), after if length else 17))
            packets.append(packet)
            packets.append(packet[:randomness.randrange(54, len(packet) + 1)])
    _, s = send_packets(folder, "header chains", packets, "-C", 65535)
    p = s["packets"]
    e.check(p["metered"] + sum(p["ignored"].values()) == len(packets), f"header chains: {p}")
    e.check(p["metered"] >= len(packets) // 2, f"header chains: {p}")


def crafted_keys(folder):
    """Keys that a weak hash maps to one place, beside random ones: what each costs is printed, and is not judged."""
    count = 65536
    columns = struct.pack(f"!{count}H", *range(count))
    randomness = random.Random(4)

    def of_random(data, at, size):
        for k in (12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23):
            data[at + 14 + k::size] = randomness.randbytes(count)

    def of_equal_xor(data, at, size):  # source ^ destination and the ports' are the same for all
        for k in (14, 18):
            data[at + 14 + k::size], data[at + 15 + k::size] = columns[0::2], columns[1::2]

    def of_low_bits(data, at, size):  # all differences are in the addresses' high halves
        data[at + 14 + 12::size], data[at + 14 + 13::size] = columns[0::2], columns[1::2]

    def of_one_field(data, at, size):  # sequential ports only
        data[at + 14 + 20::size], data[at + 14 + 21::size] = columns[0::2], columns[1::2]

    best = {}
    for vary in (of_random, of_equal_xor, of_low_bits, of_one_field) * (1 if e.SANITIZED else 3):
        data, at, size = block(frame(ip4(struct.pack("!HHHH", 9, 9, 8, 0), 17)), count)
        set_times(data, size, count, 17 * 10**17, 1000)
        vary(data, at, size)
        path = f"{folder}/keys.pcap"
        Path(path).write_bytes(PCAP + bytes(data) * ROUNDS)
        began = resource.getrusage(resource.RUSAGE_CHILDREN)
        got = e.run("-q", "-r", path, "-n", f"ipfix+file:{folder}/out.ipfix", "-m", 2 * count, "--stats", f"{folder}/s")
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        took = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
        s = e.statistics(f"{folder}/s")
        e.check(got.returncode == 0, f"crafted keys: {got.stderr!r}")
        e.check_ledger("crafted keys", s)
        e.check(s["packets"]["metered"] == ROUNDS * count, f"crafted keys: {s['packets']}")
        best[vary.__name__[3:]] = min(took, best.get(vary.__name__[3:], took))
    for name, took in best.items():
        print(f"  keys {name}: {ROUNDS * count / took / 1e6:.2f} million packets/s of processor time, "
              f"{100 * best['random'] / took:.0f} % of random ones", flush=True)


def main():
    with e.workdir() as folder:
        idle = idle_kib(folder)
        for part in (syn_flood, ip6_flood, fragment_flood):
            part(folder, idle)
        for part in (overlapping_fragments, deep_nesting, header_chains, crafted_keys):
            part(folder)
    e.finish()


main()
