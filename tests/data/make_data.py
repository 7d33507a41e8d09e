#!/usr/bin/env python3
"""Writes the synthetic captures of this folder: make_data.py [DIRECTORY].

Deterministic: the committed files are what it writes.  web.pcap is a recording (record.sh).
"""
import os
import socket
import struct
import sys

T0 = 1_700_000_000_000_000_000  # ns


def mac(n):
    return struct.pack("!HI", 0x0200, n)


def ether(kind, payload):
    return mac(2) + mac(1) + struct.pack("!H", kind) + payload


def vlan(tci, kind, payload):
    return struct.pack("!HH", tci, kind) + payload


def ip4(proto, payload, src="192.0.2.1", dst="198.51.100.2", ident=1, offset=0, more=False, df=False,
        options=b"", total=None, tos=0):
    flags = (0x2000 if more else 0) | (0x4000 if df else 0) | offset // 8
    length = 20 + len(options) + len(payload) if total is None else total
    return struct.pack("!BBHHHBBH4s4s", 0x45 + len(options) // 4, tos, length, ident, flags, 64, proto, 0,
                       socket.inet_aton(src), socket.inet_aton(dst)) + options + payload


def ip6(proto, payload, src="2001:db8::1", dst="2001:db8::2", length=None):
    return struct.pack("!IHBB", 0x60000000 | 0x12345, len(payload) if length is None else length, proto, 64) \
        + socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst) + payload


def udp(sport, dport, n):
    return struct.pack("!HHHH", sport, dport, 8 + n, 0) + bytes(i & 255 for i in range(n))


def tcp(sport, dport, flags, n=0):
    return struct.pack("!HHIIHHHH", sport, dport, 1, 1, 5 << 12 | flags, 65535, 0, 0) + bytes(n)


def icmp(kind, code, n=8):
    return struct.pack("!BBHHH", kind, code, 0, 1, 1) + bytes(n)


def sctp(sport, dport, chunk, n=0):
    return struct.pack("!HHII", sport, dport, 7, 0) + struct.pack("!BBH", chunk, 0, 4 + n) + bytes(n)


def extension(following, kind, n=8):
    """A header of n octets in front of `following` (protocol, octets)."""
    proto, rest = following
    if kind == 51:
        return kind, struct.pack("!BBHII", proto, n // 4 - 2, 0, 1, 1) + bytes(n - 12) + rest
    pad = struct.pack("!BB", 1, n - 4) if kind in (0, 60) else b"\0\0"
    return kind, struct.pack("!BB", proto, n // 8 - 1) + pad + bytes(n - 4) + rest


def fragment6(following, ident, offset, more):
    proto, rest = following
    return 44, struct.pack("!BBHI", proto, 0, offset | (1 if more else 0), ident) + rest


def pcap(frames, link=1, order="<", nano=False, snap=262144):
    """frames: (time_ns, octets[, length on the wire])."""
    out = struct.pack(order + "IHHiIII", 0xa1b23c4d if nano else 0xa1b2c3d4, 2, 4, 0, 0, snap, link)
    for frame in frames:
        t, data = frame[0], frame[1]
        wire = frame[2] if len(frame) > 2 else len(data)
        out += struct.pack(order + "IIII", t // 10**9, t % 10**9 // (1 if nano else 1000), len(data), wire) + data
    return out


def block(order, kind, body):
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, 12 + len(body)) + body + struct.pack(order + "I", 12 + len(body))


def pcapng(frames, order="<", links=(1,)):
    """frames: (time_ns, octets[, interface]); nanosecond times on interface 0, microseconds on the others."""
    out = block(order, 0x0a0d0d0a, struct.pack(order + "IHHq", 0x1a2b3c4d, 1, 0, -1))
    for i, link in enumerate(links):
        options = struct.pack(order + "HHB3x", 9, 1, 9) + struct.pack(order + "HH", 0, 0) if i == 0 else b""
        out += block(order, 1, struct.pack(order + "HHI", link, 0, 262144) + options)
    for frame in frames:
        t, data = frame[0], frame[1]
        interface = frame[2] if len(frame) > 2 else 0
        stamp = t if interface == 0 else t // 1000
        out += block(order, 6, struct.pack(order + "IIIII", interface, stamp >> 32, stamp & 0xffffffff, len(data),
                                           len(data)) + data)
    return out


def options(order, *pairs):
    return b"".join(struct.pack(order + "HH", c, len(v)) + v + bytes(-len(v) % 4) for c, v in pairs) + bytes(4)


def section(order, length=-1):
    return block(order, 0x0a0d0d0a, struct.pack(order + "IHHq", 0x1a2b3c4d, 1, 0, length))


def interface(order, link, snap=262144, *pairs):
    return block(order, 1, struct.pack(order + "HHI", link, 0, snap) + options(order, *pairs))


def packet(order, kind, number, stamp, data, wire=None, *pairs):
    """A Packet Block of that kind: 6 enhanced, 2 obsolete, 3 simple."""
    wire = len(data) if wire is None else wire
    if kind == 3:
        return block(order, 3, struct.pack(order + "I", wire) + data)
    head = struct.pack(order + "I", number) if kind == 6 else struct.pack(order + "HH", number, 5)
    data += bytes(-len(data) % 4) if pairs else b""
    captured = len(data) if not pairs else wire
    return block(order, kind, head + struct.pack(order + "IIII", stamp >> 32, stamp & 0xffffffff, captured, wire)
                 + data + (options(order, *pairs) if pairs else b""))


def many_kinds():
    """A pcapng file with everything: sections of both byte orders, link types that are known and one that is not,
    clocks of several kinds, every block with packets, and blocks that are passed over."""
    def frame(link, port, n=10):
        inner = ip4(17, udp(port, 53, n))
        return {1: ether(0x0800, inner), 101: inner, 0: struct.pack("<I", 2) + inner}.get(link, inner)

    s = T0 // 10**9
    out = b""
    for order, port in (("<", 100), (">", 200), ("<", 300)):
        body = block(order, 10, struct.pack(order + "II", 0x544c534b, 12) + b"CLIENT_RANDO") + interface(order, 249, 0)
        body += interface(order, 101, 64, (9, b"\x8a"), (14, struct.pack(order + "q", s - 1000)))
        body += interface(order, 1, 0, (9, b"\x09"), (2, b"eth0"))
        body += packet(order, 6, 2, T0 + port, frame(1, port))
        body += packet(order, 6, 1, 1000 << 10 | 512, frame(101, port + 1)[:30], 38)
        body += packet(order, 6, 0, T0 // 1000, frame(249, port + 2))
        body += block(order, 4, bytes(64)) + block(order, 0xbad, struct.pack(order + "I", 32473) + bytes(40))
        body += interface(order, 0, 262144)
        body += packet(order, 2, 3, T0 // 1000 + 3, frame(0, port + 3)) + packet(order, 6, 2, T0 + 5, frame(1, port + 4))
        body += packet(order, 6, 2, T0 + 6, frame(1, port + 4), None, (1, b"a comment"), (2, struct.pack(order + "I", 1)))
        body += block(order, 5, struct.pack(order + "III", 0, 0, 0)) + block(order, 0x80000bad, bytes(1 << 10))
        out += section(order, len(body) if order == ">" else -1) + body
    # simple packets are of the first interface
    out += section(">") + interface(">", 101, 44) + packet(">", 3, 0, 0, ip4(17, udp(400, 53, 40))[:44], 68)
    out += packet(">", 3, 0, 0, ip4(17, udp(401, 53, 5))) + section("<") + section(">", 0)
    return out


def spaced(frames, step_ns=10_000_000):
    return [(T0 + i * step_ns, f) for i, f in enumerate(frames)]


def mixed():
    frames = []
    for i in range(20):
        src = f"10.0.{i % 4}.{i}"
        frames += [ether(0x0800, ip4(17, udp(1024 + i, 53, 20 + i), src)),
                   ether(0x0800, ip4(17, udp(53, 1024 + i, 60 + i), "198.51.100.2", src)),
                   ether(0x86dd, ip6(17, udp(5000 + i, 443, 200), f"2001:db8::{i + 1:x}"))]
    for flags, n in ((0x02, 0), (0x10, 0), (0x18, 300), (0x18, 1000), (0x11, 0)):
        frames += [ether(0x0800, ip4(6, tcp(40000, 80, flags, n))),
                   ether(0x0800, ip4(6, tcp(80, 40000, flags | 0x10, 0), "198.51.100.2", "192.0.2.1"))]
    frames += [ether(0x0806, bytes(28)),
               ether(0x0800, ip4(1, icmp(8, 0))),
               ether(0x86dd, ip6(58, icmp(128, 0))),
               ether(0x0800, ip4(50, bytes(40))),
               ether(0x0800, ip4(47, struct.pack("!HH", 0, 0x0800) + ip4(17, udp(1, 2, 3)))),
               ether(0x0800, ip4(17, udp(1111, 2222, 5))) + bytes(13)]  # Ethernet padding
    return frames


def vlans():
    inner = [(0x0800, ip4(17, udp(1000 + i, 53, 10 * i))) for i in range(5)] + \
            [(0x86dd, ip6(6, tcp(2000 + i, 80, 0x10, 10 * i))) for i in range(5)]
    frames = []
    for kind, packet in inner:
        frames += [ether(0x8100, vlan(0x2064, kind, packet)),
                   ether(0x88a8, vlan(200, 0x8100, vlan(101, kind, packet))),
                   ether(0x9100, vlan(300, 0x8100, vlan(102, kind, packet)))]
    label = struct.pack("!I", 16 << 12 | 0x100 | 64)
    frames += [ether(0x8847, label + ip4(17, udp(3000, 53, 9))),
               ether(0x8847, struct.pack("!I", 17 << 12 | 64) + label + ip6(17, udp(3001, 53, 9))),
               ether(0x8847, label + bytes(4) + ether(0x0800, ip4(17, udp(3002, 53, 9)))),
               ether(0x8864, struct.pack("!BBHHH", 0x11, 0, 5, 2 + 37, 0x21) + ip4(17, udp(3003, 53, 9)))]
    return frames


def fragments():
    frames = []
    for d in range(6):
        whole = udp(4000 + d, 53, 4000)
        pieces = [(o, whole[o:o + 1480]) for o in range(0, len(whole), 1480)]
        if d % 3 == 1:
            pieces = pieces[1:]  # the first one was never seen
        if d % 3 == 2:
            pieces.reverse()  # it comes last
        for o, piece in pieces:
            more = o + len(piece) < len(whole)
            if d < 3:
                frames.append(ether(0x0800, ip4(17, piece, ident=100 + d, offset=o, more=more)))
            else:
                frames.append(ether(0x86dd, ip6(*fragment6((17, piece), 100 + d, o, more))))
    frames.append(ether(0x86dd, ip6(*fragment6((17, udp(4999, 53, 30)), 999, 0, False))))  # atomic
    return frames


def v6ext():
    frames = []
    for i in range(4):
        u = (17, udp(5000 + i, 53, 10))
        frames += [ether(0x86dd, ip6(*extension(u, 0))),
                   ether(0x86dd, ip6(*extension(extension(u, 60, 16), 43, 24))),
                   ether(0x86dd, ip6(*extension(u, 51, 24))),
                   ether(0x86dd, ip6(*extension(extension(extension(u, 60), 0), 60, 256)))]
    frames += [ether(0x86dd, ip6(59, b"")),
               ether(0x86dd, ip6(*extension((135, bytes(16)), 60))),
               ether(0x86dd, ip6(50, bytes(32)))]
    return frames


def icmps():
    frames = []
    for i in range(5):
        frames += [ether(0x0800, ip4(1, icmp(8, 0, 56))), ether(0x0800, ip4(1, icmp(0, 0, 56), "198.51.100.2", "192.0.2.1"))]
        frames += [ether(0x86dd, ip6(58, icmp(128, 0, 56))), ether(0x86dd, ip6(58, icmp(129, 0, 56), "2001:db8::2", "2001:db8::1"))]
    quoted = ip4(17, udp(6000, 33434, 12))[:28]
    frames += [ether(0x0800, ip4(1, struct.pack("!BBHI", 3, 3, 0, 0) + quoted)),
               ether(0x0800, ip4(1, struct.pack("!BBHI", 11, 0, 0, 0) + quoted)),
               ether(0x86dd, ip6(58, icmp(135, 0, 16))), ether(0x86dd, ip6(58, icmp(136, 0, 16)))]
    return frames


def sctps():
    frames = []
    for i in range(6):
        frames += [ether(0x0800, ip4(132, sctp(2905, 36412, i, 20 * i))),
                   ether(0x0800, ip4(132, sctp(36412, 2905, i, 16), "198.51.100.2", "192.0.2.1")),
                   ether(0x86dd, ip6(132, sctp(2906, 36412, i, 8))),
                   ether(0x0800, ip4(33, struct.pack("!HHBBHI", 5001, 5002, 3, 0, 0, 0))),
                   ether(0x86dd, ip6(136, struct.pack("!HHHH", 5003, 5004, 8, 0) + bytes(24)))]
    return frames


def long_flow():
    """One flow over five minutes and one that pauses: active and idle time-outs."""
    frames = [(T0 + i * 5 * 10**9, ether(0x0800, ip4(17, udp(7000, 7001, 100)))) for i in range(60)]
    frames += [(T0 + i * 40 * 10**9 + 1, ether(0x0800, ip4(6, tcp(7002, 80, 0x10, 5)))) for i in range(8)]
    return sorted(frames)


def broken():
    good = ip4(17, udp(8000, 53, 30))
    return [ether(0x0800, good),
            ether(0x0800, b"\x65" + good[1:]), ether(0x86dd, good), ether(0x0800, b"\x44" + good[1:]),
            ether(0x0800, ip4(17, udp(8001, 53, 4), total=19)),
            ether(0x0800, ip4(17, udp(8002, 53, 4), total=9000)),
            ether(0x8100, b"\0"), ether(0x0800, good[:19]), ether(0x86dd, ip6(17, b"")[:39]), b"\1\2\3",
            mac(2) + mac(1) + b"\x81\x00" * 200, ether(0x8864, b"\x21\0\0\0\0\0\0\x21" + good),
            ether(0x86dd, ip6(0, bytes(8), length=0)), ether(0x0800, good)]


def cooked(kind, sll2):
    if sll2:
        return lambda p: struct.pack("!HHIHBB8s", kind, 0, 3, 1, 0, 6, mac(1)) + p
    return lambda p: struct.pack("!HHH8sH", 0, 1, 6, mac(1), kind) + p


def files():
    m = spaced(mixed())
    raw = [ip4(17, udp(9000 + i, 53, i)) for i in range(5)] + [ip6(17, udp(9000 + i, 53, i)) for i in range(5)]
    v4, v6 = raw[:5], raw[5:]
    whole = pcap(m)
    yield "mixed.pcap", whole
    yield "mixed-ns.pcap", pcap([(t + 123, f) for t, f in m], nano=True)
    yield "mixed-be.pcap", pcap(m, order=">")
    yield "mixed-snap64.pcap", pcap([(t, f[:64], len(f)) for t, f in m], snap=64)
    yield "mixed.pcapng", pcapng(m)
    yield "mixed-be.pcapng", pcapng(m, order=">")
    yield "two-links.pcapng", pcapng(m[:20] + [(t + 5, r, 1) for (t, _), r in zip(m[20:], raw)], links=(1, 101))
    yield "kinds.pcapng", many_kinds()
    yield "link-unknown.pcapng", section("<") + interface("<", 147) + interface("<", 249) + packet("<", 6, 1, T0, bytes(60))
    yield "vlan.pcap", pcap(spaced(vlans()))
    yield "fragments.pcap", pcap(spaced(fragments()))
    yield "v6ext.pcap", pcap(spaced(v6ext()))
    yield "icmp.pcap", pcap(spaced(icmps()))
    yield "sctp.pcap", pcap(spaced(sctps()))
    yield "long.pcap", pcap(long_flow())
    yield "broken.pcap", pcap(spaced(broken()))
    yield "no-ip.pcap", pcap(spaced([ether(0x0806, bytes(28)), ether(0x88cc, bytes(40))]))
    yield "link-raw.pcap", pcap(spaced(raw), 101)
    yield "link-ipv4.pcap", pcap(spaced(v4), 228)
    yield "link-ipv6.pcap", pcap(spaced(v6), 229)
    yield "link-null.pcap", pcap(spaced([struct.pack("<I", 2) + p for p in v4] + [struct.pack("<I", 30) + p for p in v6]), 0)
    yield "link-loop.pcap", pcap(spaced([struct.pack(">I", 2) + p for p in v4] + [struct.pack(">I", 24) + p for p in v6]), 108)
    yield "link-ppp.pcap", pcap(spaced([b"\xff\3\0\x21" + p for p in v4] + [b"\xff\3\0\x57" + p for p in v6]), 9)
    yield "link-pppoe.pcap", pcap(spaced([struct.pack("!BBHHH", 0x11, 0, 1, len(p) + 2, 0x21) + p for p in v4]), 51)
    yield "link-sll.pcap", pcap(spaced([cooked(0x0800, False)(p) for p in v4] + [cooked(0x86dd, False)(p) for p in v6]), 113)
    yield "link-sll2.pcap", pcap(spaced([cooked(0x0800, True)(p) for p in v4] + [cooked(0x86dd, True)(p) for p in v6]), 276)
    yield "link-unknown.pcap", pcap(spaced(raw), 147)
    yield "bad-empty.pcap", b""
    yield "bad-header-only.pcap", whole[:24]  # a capture of nothing: this one is fine
    yield "bad-short-header.pcap", whole[:17]
    yield "bad-magic.pcap", b"this is not a capture file, it is a sentence about one\n"
    yield "bad-truncated.pcap", whole[:-7]
    yield "bad-truncated-record.pcap", whole[:24 + 16 + 62 + 9]
    yield "bad-record-length.pcap", whole[:24 + 8] + struct.pack("<I", 0x7fffffff) + whole[24 + 12:]
    yield "bad-truncated.pcapng", pcapng(m)[:-9]


def main():
    where = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    for name, data in files():
        with open(os.path.join(where, name), "wb") as f:
            f.write(data)


if __name__ == "__main__":
    main()
