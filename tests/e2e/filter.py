#!/usr/bin/env python3
"""One meaning for a filter: the same expression selects the same packets wherever it runs.

    filter.py PITOT SRCROOT

Makes a network namespace of its own.  The same packets, without a VLAN tag, with one, two and three, are received,
sent, forwarded by a bridge, seen on "any" and read from files of several kinds; each expression has to select the
same of them in each place, by each capture method.  Which ones is told by tcpdump: of the frame without its tags, or
of the frame with all of them where the expression names vlan.
"""
import collections
import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

from e2elib import PITOT, SANITIZED, check, find, finish, have, run, skip, skip_part, together, workdir
import live

IN, OUT = "pfi", "pfo"  # OUT sends to IN
XDP_IN, XDP_OUT = "pfx", "pfy"
GUEST, PORT_IN, PORT_OUT, HOST = "pfg", "pfp", "pfq", "pfh"  # GUEST - PORT_IN, bridge, PORT_OUT - HOST
BRIDGE = "pfb"
COUNTS = not live.without_counting(PITOT)  # what the kernel rejects

TAGS = ((), ((0x8100, 10),), ((0x8100, 0x4010 | 5),), ((0x88a8, 5), (0x8100, 10)), ((0x8100, 5), (0x8100, 10)),
        ((0x88a8, 3), (0x8100, 4), (0x8100, 5)), ((0x9100, 7),), ((0x8100, 10), (0x9100, 4)))

# ---- packets


def ip4(src, dst, protocol, body, fragment=0, options=b""):
    head = struct.pack(">BBHHHBBH", 0x45 + len(options) // 4, 0, 20 + len(options) + len(body), 1, fragment, 64,
                       protocol, 0) + socket.inet_aton(src) + socket.inet_aton(dst) + options
    total = sum(struct.unpack(f">{len(head) // 2}H", head))
    total = (total & 0xffff) + (total >> 16)
    total = 0xffff ^ ((total & 0xffff) + (total >> 16))  # a bridge may look at it
    return 0x0800, head[:10] + struct.pack(">H", total) + head[12:] + body


def ip6(src, dst, protocol, body):
    return 0x86dd, (struct.pack(">IHBB", 6 << 28, len(body), protocol, 64) + socket.inet_pton(socket.AF_INET6, src) +
                    socket.inet_pton(socket.AF_INET6, dst) + body)


def udp(port, payload):
    return struct.pack(">HHHH", 1111, port, 8 + len(payload), 0) + payload


def tcp(flags, payload=b""):
    return struct.pack(">HHIIBBHHH", 2222, 80, 1, 1, 0x50, flags, 512, 0, 0) + payload


def packets(tags):
    """(source address or None, EtherType, packet) of one kind each; the source tells tags and kind."""
    out = []

    def four(*args, **kw):
        src = f"10.{tags}.0.{len(out)}"
        out.append((src, *ip4(src, *args, **kw)))

    def six(*args):
        src = f"2001:db8:{tags + 1:x}::{len(out) + 1:x}"
        out.append((src, *ip6(src, *args)))

    four("192.0.2.1", 17, udp(53, b"AB" + bytes(30)))
    four("192.0.2.2", 17, udp(5353, bytes(32)))
    four("198.51.100.1", 6, tcp(2, bytes(20)))
    four("192.0.2.1", 6, tcp(0x18, b"GET / " + bytes(14)))
    four("198.51.100.2", 1, struct.pack(">BBHHH", 8, 0, 0, 1, 1) + bytes(32))
    six("2001:db8::1", 17, udp(53, bytes(30)))
    six("2001:db8::2", 6, tcp(0x10, bytes(20)))
    six("2001:db8::2", 58, struct.pack(">BBHHH", 128, 0, 0, 1, 1) + bytes(20))
    out.append((None, 0x0806, struct.pack(">HHBBH", 1, 0x800, 6, 4, 1) + bytes(6) + bytes([10, tags, 9, 9]) + bytes(6) +
                socket.inet_aton("192.0.2.1") + bytes(18)))
    four("192.0.2.3", 17, udp(53, bytes(32)), fragment=0x2000)
    four("192.0.2.3", 17, bytes(40), fragment=5)
    four("192.0.2.1", 17, udp(53, bytes(600)))
    four("192.0.2.4", 17, udp(53, bytes(30)), options=bytes([1] * 8))
    for length in (68, 70, 72, 74, 76, 80):  # of the frame without tags
        four("192.0.2.5", 17, udp(9, bytes(length - 42)))
    return out


MACS = (bytes.fromhex("020000000002" "020000000001"), bytes.fromhex("020000000004" "020000000003"))


def ethernet(macs, tags, ether_type, packet):
    return macs + b"".join(struct.pack(">HH", *t) for t in tags) + struct.pack(">H", ether_type) + packet


class Packet:
    def __init__(self, number, src, tags, ether_type, packet):
        self.number, self.src, self.tags, self.type, self.packet = number, src, tags, ether_type, packet
        self.macs = MACS[number % 2]
        self.frame = ethernet(self.macs, tags, ether_type, packet)
        self.twin = ethernet(self.macs, (), ether_type, packet)

    def sll(self, known=False):
        """As in a frame; or as sll2(True), and the first tag put back by libpcap."""
        head = struct.pack(">HHH", 0, 1, 6) + self.macs[6:] + bytes(2)
        if not known or not self.tags:
            return head + self.frame[12:]
        return head + self.frame[12:16] + struct.pack(">H", self.type) + self.frame[18:]

    def sll2(self, known=False):
        """As in a frame; or with the packet's type in the header and the rest of the tags in front of the packet."""
        first = self.type if known else struct.unpack_from(">H", self.frame, 12)[0]
        rest = self.frame[18 if known and self.tags else 14:]
        return struct.pack(">HHIHBB", first, 0, 7, 1, 0, 6) + self.macs[6:] + bytes(2) + rest


PACKETS = [Packet(n, *what) for n, what in enumerate(
    (src, tags, t, p) for i, tags in enumerate(TAGS) for src, t, p in packets(i))]

# ---- files


def pcap(link, frames, magic=0xa1b2c3d4, snap_len=262144):
    """Packet n has the time n."""
    return (struct.pack("<IHHiIII", magic, 2, 4, 0, 0, snap_len, link) +
            b"".join(struct.pack("<IIII", n, 0, min(len(f), snap_len), len(f)) + f[:snap_len] for n, f in frames))


def modified_pcap(link, frames):
    """One that libpcap reads for us."""
    return (struct.pack("<IHHiIII", 0xa1b2cd34, 2, 4, 0, 0, 262144, link) +
            b"".join(struct.pack("<IIII", n, 0, len(f), len(f)) + bytes(8) + f for n, f in frames))


def pcapng(link, frames):
    def block(kind, body):
        body += bytes(-len(body) % 4)
        return struct.pack("<II", kind, 12 + len(body)) + body + struct.pack("<I", 12 + len(body))
    return (block(0x0a0d0d0a, struct.pack("<IHHq", 0x1a2b3c4d, 1, 0, -1)) + block(1, struct.pack("<HHI", link, 0, 0)) +
            b"".join(block(6, struct.pack("<IIIII", 0, 0, n * 1000000, len(f), len(f)) + f) for n, f in frames))


def oracle(expression, folder):
    """The numbers of the packets that tcpdump selects."""
    names_vlan = "vlan" in expression.split()
    path = Path(folder) / f"oracle-{names_vlan}.pcap"
    path.write_bytes(pcap(1, [(p.number, p.frame if names_vlan else p.twin) for p in PACKETS]))
    done = subprocess.run([find("tcpdump"), "-r", path, "-w", "-", expression], capture_output=True, check=False)
    check(done.returncode == 0, f"tcpdump {expression!r}: {done.stderr}")
    data, at, numbers = done.stdout, 24, set()
    while at < len(data):
        number, _, cap_len, _ = struct.unpack_from("<IIII", data, at)
        numbers.add(number)
        at += 16 + cap_len
    return numbers


EXPRESSIONS = (
    "host 192.0.2.1", "not host 192.0.2.1", "net 192.0.2.0/24", "udp port 53", "not port 53", "port 53 or tcp", "ip6",
    "ip6 and udp port 53", "host 2001:db8::2", "tcp[tcpflags] & tcp-syn != 0",
    "tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420", "udp[8:2] = 0x4142", "icmp", "icmp6", "arp", "not arp",
    "arp or ip6", "less 74", "greater 75", "len = 70", "ip[6:2] & 0x1fff != 0", "ip[6:2] & 0x3fff = 0",
    "ip[0] & 0xf > 5", "ip proto 17 and not dst net 192.0.2.4/31", "ip[2:2] = len - 14",
    "vlan", "not vlan", "vlan 10", "vlan 5", "not vlan 10", "vlan and host 192.0.2.1", "vlan 5 and vlan 10",
    "vlan and vlan and udp port 53", "vlan 10 and ip6", "icmp or vlan 10", "vlan and greater 80", "len = 78 or vlan 4094",
    "vlan and len = 82",
)
# What only Ethernet has.
ETHERNET_EXPRESSIONS = ("ether src 02:00:00:00:00:01", "ether dst 02:00:00:00:00:02", "ether[12:2] = 0x86dd",
                        "ether[10:4] = 0x00010800", "ether[11:2] = 0x0108", "ether[12:2] = 0x0800", "ether[ether[0] + 10:2] = 0x0806",
                        "vlan and ether[ether[0] + 10:2] = 0x88a8", "vlan and ether[13:2] = 0x0040")


def expect(expression, place, wanted, stats, rows, several=False):
    """wanted: {number of a packet: how often it is received}; several: or more often.  Flows have records of as many."""
    want, got = collections.Counter(), collections.Counter()
    for number, times in wanted.items():
        if PACKETS[number].src:
            want[PACKETS[number].src] += times
    for r in rows:
        got[r.get("sourceIPv4Address") or r.get("sourceIPv6Address")] += r["packetDeltaCount"]
    received, times = stats["packets"]["received"], sum(wanted.values())
    right = check(set(got) == set(want) if several else got == want,
                  f"{expression!r} {place}: not {list((want - got).items())[:6]}, but {list((got - want).items())[:6]}")
    return check(received >= times and bool(received) == bool(times) if several else received == times,
                 f"{expression!r} {place}: {received} received, of {times}") and right


def read_files(some, expression, numbers):
    """Several files at once are as good as each by itself: a packet has a source of its own, so its record tells in how
    many of them it was selected.  Where that is not all or none, each file is tried alone, to say which it is."""
    place = "in " + ", ".join(name for name, _, _, _ in some)
    wanted = collections.Counter(p.number for _, _, of, _ in some for p in of if p.number in numbers)
    stats_path = f"{some[0][1]}.{os.urandom(4).hex()}"
    p = run(*(word for _, path, _, _ in some for word in ("-r", path)), "-n", "json:-", "--stats", stats_path, "-t",
            "active=1000000,inactive=1000000", expression)
    right = check(p.returncode == 0, f"{expression!r} {place}: {p.stderr}")
    if right:
        stats = json.loads(Path(stats_path).read_text())
        right = expect(expression, place, wanted, stats, map(json.loads, p.stdout.splitlines()))
        filtered = sum(len(of) for _, _, of, _ in some) - sum(wanted.values())
        right = check(stats["packets"]["filtered"] == filtered,
                      f"{expression!r} {place}: {stats['packets']['filtered']} filtered, of {filtered}") and right
    if not right and len(some) > 1:
        for one in some:
            read_files([one], expression, numbers)


def files(folder):
    """(name, path, packets in it, for what kind of expression)"""
    bare = [p for p in PACKETS if not p.tags]
    ip_only = [p for p in bare if p.src]
    cooked = [p for p in PACKETS if not p.tags or p.src]  # the rest of tags is told from IP only
    family = {0x0800: 2, 0x86dd: 30}
    kinds = (
        ("pcap", pcap(1, [(p.number, p.frame) for p in PACKETS]), PACKETS, "all"),
        ("pcapng", pcapng(1, [(p.number, p.frame) for p in PACKETS]), PACKETS, "all"),
        ("modified pcap", modified_pcap(1, [(p.number, p.frame) for p in PACKETS]), PACKETS, "all"),
        ("snap length 96", pcap(1, [(p.number, p.frame) for p in PACKETS], snap_len=96), PACKETS, "all"),
        ("SLL", pcap(113, [(p.number, p.sll()) for p in PACKETS]), PACKETS, "any link"),
        ("SLL2", pcap(276, [(p.number, p.sll2()) for p in PACKETS]), PACKETS, "any link"),
        ("SLL2 in pcapng", pcapng(276, [(p.number, p.sll2()) for p in PACKETS]), PACKETS, "any link"),
        ("SLL2 as of Linux 6.11", pcap(276, [(p.number, p.sll2(True)) for p in cooked]), cooked, "no vlan"),
        ("SLL as of Linux 6.11", pcap(113, [(p.number, p.sll(True)) for p in cooked]), cooked, "no vlan"),
        ("raw IP", pcap(101, [(p.number, p.packet) for p in ip_only]), ip_only, "no link"),
        ("BSD loopback", pcap(0, [(p.number, struct.pack(">I", family[p.type]) + p.packet) for p in ip_only]), ip_only,
         "no link"),
    )
    for i, (name, data, of, kind) in enumerate(kinds):
        path = Path(folder) / f"file{i}"
        path.write_bytes(data)
        yield name, path, of, kind


def fits(kind, expression):
    """Raw IP and the like have no tags, and no Ethernet header that would count in a length."""
    words = expression.split()
    if kind == "all":
        return True
    if expression in ETHERNET_EXPRESSIONS and (kind == "no link" or "dst" in words or "ether[" in expression):
        return False
    return kind == "any link" or ("vlan" not in words and
                                  (kind == "no vlan" or not {"len", "less", "greater"} & set(words)))


def from_files(folder, wanted):
    all_files = list(files(folder))
    together(lambda e: read_files([f for f in all_files if fits(f[3], e)], e, wanted[e]), wanted)


# ---- live


def set_flags(name, clear):
    """Takes offload flags away, as ethtool -K does."""
    value = ctypes.create_string_buffer(8)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sP", name.encode(), ctypes.addressof(value)) + bytes(16)
        struct.pack_into("=II", value, 0, 0x25, 0)  # ETHTOOL_GFLAGS
        fcntl.ioctl(s, 0x8946, request)
        flags = struct.unpack_from("=I", value, 4)[0]
        struct.pack_into("=II", value, 0, 0x26, flags & ~clear)  # ETHTOOL_SFLAGS
        fcntl.ioctl(s, 0x8946, request)


@contextlib.contextmanager
def bed():
    """Interfaces that nobody but the test sends by."""
    live.without_neighbour_discovery()
    with live.links((IN, OUT), (XDP_IN, XDP_OUT), (GUEST, PORT_IN), (PORT_OUT, HOST)):
        live.add_bridge(BRIDGE)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            for port in (PORT_IN, PORT_OUT):
                fcntl.ioctl(s, 0x89a2,  # SIOCBRADDIF
                            struct.pack("16si", BRIDGE.encode(), socket.if_nametoindex(port)) + bytes(20))
        live.set_up(BRIDGE)
        wait_forwarding()
        try:
            yield
        finally:
            live.delete_link(BRIDGE)


def wait_forwarding():
    """Until a frame gets through the bridge, and none is on its way any more."""
    head = MACS[0] + b"\x88\xb5"
    with live.sender(GUEST) as s, socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88b5)) as r:
        r.bind((HOST, 0x88b5))
        r.settimeout(0.1)
        for i in range(300):
            number = i.to_bytes(2, "big")
            s.send(head + number + bytes(44))
            with contextlib.suppress(socket.timeout):
                while r.recv(100)[14:16] != number:
                    pass
                return
    raise live.Failure("the bridge does not forward")


class Place:
    def __init__(self, name, *args, times=1):
        self.name, self.args, self.times = name, args, times


def places(xdp):
    """times: how often a packet is seen; 0: several times"""
    out = [
        Place("received and sent, afpacket", "--capture", "afpacket", "-i", IN, "-i", OUT, times=2),
        Place("received and sent, pcap", "--capture", "pcap", "-i", IN, "-i", OUT, times=2),
        Place("received, two workers", "-w", "2", "-i", IN),
        Place("sent only, two workers", "-w", "2", "--direction", "out", "-i", OUT),
        Place("into a bridge", "--direction", "in", "-i", PORT_IN),
        Place("out of a bridge", "--direction", "out", "-i", PORT_OUT),
        Place("any", "-i", "any", times=0),
        Place("any, received", "-i", "any", "--direction", "in", times=0),
        Place("any, sent", "-i", "any", "--direction", "out", times=0),
    ]
    if xdp:
        out.append(Place("received, xdp", "--capture", "xdp", "-i", XDP_IN))
    return out


def measure(expression, numbers, where):
    """All places at once; each packet is sent once by each interface.  A buffer of 16M is one that a reader may be held
    up for seconds with: the kernel goes on to the next block every 20 ms, however little is in it."""
    with contextlib.ExitStack() as stack:
        started = [(p, stack.enter_context(live.running(PITOT, *p.args, "--buffer", "16M", *expression.split())))
                   for p in where]
        for name in (OUT, XDP_OUT, GUEST):
            with live.sender(name) as s:
                for p in PACKETS:
                    live.put(s, p.frame)
        for place, p in started:
            p.process.send_signal(signal.SIGTERM)
        for place, p in started:
            stats = p.wait()
            expect(expression, place.name, dict.fromkeys(numbers, place.times or 1), stats, p.rows(), not place.times)
            counted = stats["packets"]["filtered"]
            if "xdp" in place.args or COUNTS:
                # a type of hardware, which an address that is computed may reach, eBPF cannot load
                cooked = {"inbound", "outbound", "ifindex"} & set(expression.split())
                expected = place.times * (len(PACKETS) - len(numbers))
                check(counted == expected if place.times else cooked or counted is not None,
                      f"{expression!r} {place.name}: {counted} filtered, of {expected}")
            else:
                check(counted is None, f"{expression!r} {place.name}: {counted} filtered")


def alive(wanted, where, share=1):
    """Each expression in every share-th place, which are others for the next expression."""
    for i, (expression, numbers) in enumerate(wanted.items()):
        try:
            measure(expression, numbers, where[i % share::share])
        except live.Failure as e:
            check(False, f"{expression!r}: {e}")


def long_ones(wanted):
    """Too long for two copies of the program in the kernel, but not for one."""
    long = " or ".join(f"len = {3000 + i}" for i in range(1100))
    where = [Place("received and sent, afpacket", "-i", IN, "-i", OUT, times=2), Place("any", "-i", "any", times=0)]
    for expression in ("udp port 53", "ip6", "len = 70", "tcp[tcpflags] & tcp-syn != 0"):
        measure(f"{expression} or {long}", wanted[expression], where)


def too_much(wanted):
    """What the kernel cannot run is run in user space, where it is counted, too."""
    many = "host 192.0.2.1 or " + " or ".join(f"ip6 host 2001:db8:0:1::{i:x}" for i in range(300))  # 5373 instructions
    for expression, same in ((many, "host 192.0.2.1"), ("ip protochain 17", "ip proto 17"),
                             ("not ip6 protochain 17 and ip6", "ip6 and not udp")):
        numbers = wanted[same]
        for place in (Place(f"on {IN} and {OUT}", "-i", IN, "-i", OUT, times=2), Place("on any", "-i", "any", times=0)):
            with live.running(PITOT, *place.args, "--filter", expression) as p:
                with live.sender(OUT) as s:
                    for packet in PACKETS:
                        live.put(s, packet.frame)
                stats = p.stop()
                expect(expression[:30], place.name, dict.fromkeys(numbers, place.times or 1), stats, p.rows(), not place.times)
                counted = stats["packets"]["filtered"]
                check(counted == place.times * (len(PACKETS) - len(numbers)) if place.times else counted,
                      f"{expression[:30]!r} {place.name}: {counted} filtered")
        for args in (("--capture", "afpacket"), ("-w", "2")):
            said = says(expression, "-i", IN, *args)
            check("--capture pcap" in said or "--workers 1" in said, f"{expression[:30]!r} {args}: {said}")


def tag_in_frame(wanted, where):
    """The card of the bridge's port cannot add a tag: the kernel puts it in before the frame is seen."""
    of = [p for p in where if PORT_OUT in p.args or "any, sent" == p.name]
    set_flags(PORT_OUT, 1 << 7)  # ETH_FLAG_TXVLAN
    chosen = ("udp port 53", "not host 192.0.2.1", "vlan 5 and vlan 10", "len = 70", "ip6")
    alive({e: wanted[e] for e in chosen}, of)


def cooked_only(folder, wanted, live_ones):
    """What is asked of a cooked header is told by that, and the packet behind the tags by the rest."""
    numbers = wanted["udp port 53"]
    if live_ones:
        index = socket.if_nametoindex(IN)
        for expression in ("inbound and udp port 53", "outbound and udp port 53", f"ifindex {index} and udp port 53"):
            measure(expression, numbers, [Place("any", "-i", "any", times=0)])
    else:
        cooked = [f for f in files(folder) if f[3] in ("any link", "no vlan")]
        read_files(cooked, "inbound and udp port 53", numbers)
        read_files(cooked, "outbound and udp port 53", set())


# ---- what is not possible is said


def says(expression, *args):
    with workdir() as folder:
        p = run("-n", f"json:{folder}/x", *args, expression)
    check(p.returncode in (1, 2) and p.stderr.count(b"\n") == 1, f"{expression[:60]!r}: {p.returncode}, {p.stderr}")
    return p.stderr.decode()


def sentences(folder):
    path = Path(folder) / "one.pcap"
    path.write_bytes(pcap(1, [(0, PACKETS[0].frame)]))
    cooked = Path(folder) / "one-sll2.pcap"
    cooked.write_bytes(pcap(276, [(0, PACKETS[0].sll2())]))
    for expression, word, character in (
            ("tcp porrt 80", "porrt", 5), ("tcp and and udp", "and", 9), ("host 1.2.3.4.5 and tcp", "1.2.3.4.5", 6),
            ("vlan 5000", "5000", 6), ("len > = 5", "=", 7), ("udp and port dns2", "dns2", 14), ("tcp)", ")", 4)):
        said = says(expression, "-r", path)
        check(f'at "{word}" (character {character})' in said, f"{expression!r}: {said}")
    for expression in ("(tcp", "tcp and", "port 80 or host"):
        check("at its end" in says(expression, "-r", path), expression)
    check("which way a packet went" in says("inbound", "-r", path), "inbound in a file")
    check("does not have" in says("vlan and ether dst 02:00:00:00:00:02", "-r", cooked), "MAC in a cooked file")


def main():
    if not have("tcpdump"):
        finish()
    with workdir() as folder:
        os.chmod(folder, 0o755)
        wanted = {e: oracle(e, folder) for e in EXPRESSIONS + ETHERNET_EXPRESSIONS}
        for expression, numbers in wanted.items():
            check("4094" in expression or 0 < len(numbers) < len(PACKETS),
                  f"{expression!r} tells no packets apart: {len(numbers)} of {len(PACKETS)}")
        sentences(folder)
        from_files(folder, wanted)
        cooked_only(folder, wanted, False)
        why = live.enter_namespace()
        if why:
            skip(f"no network namespace: {why}")
        with bed():
            xdp = live.without_xdp(PITOT)
            if xdp:
                skip_part(f"xdp: {xdp}")
            where = places(not xdp)
            # with a sanitizer each place and each expression, but not all pairs of them: the kernel runs the filter, and
            # how it is compiled is tried with every kind of link and every expression by files above
            alive(wanted, where, 3 if SANITIZED else 1)
            cooked_only(folder, wanted, True)
            tag_in_frame(wanted, where)
            long_ones(wanted)
            too_much({**wanted, **{e: oracle(e, folder) for e in ("ip proto 17", "ip6 and not udp")}})
    finish()


if __name__ == "__main__":
    main()
