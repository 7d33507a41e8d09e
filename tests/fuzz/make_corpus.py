#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets from tests/data: make_corpus.py [DIRECTORY]."""
import random
import struct
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "data"
LINKS = [1, 0, 9, 12, 14, 50, 51, 101, 104, 105, 107, 108, 113, 127, 228, 229, 239, 276]  # as fuzz_decode.c
LATER = ("kinds.pcapng", "link-unknown.pcapng")  # seeds keep their numbers
URLS = ["collector.example", "collector.example:4739", "10.0.0.5", "[2001:db8::5]:4739", "ipfix://[2001:db8::5]:4739",
        "netflow5://127.0.0.1:2055", "netflow9://c", "ipfix+tcp://c:1", "ipfix+tls://c", "json:-", "text:/tmp/x",
        "ipfix+file:/tmp/x", "ipfix+udp://c", "netflow5+tcp://c", "ipfix://[fe80::1%eth0]:4739", "://", "[", "ipfix://:0"]
CONFIGS = ["read = a.pcap\ncollector = 127.0.0.1\ncollector = json:-\n",
           "# comment\n\ninterface = 3:eth0\ntimeout = active=60,inactive=15.5,tcp-end=off\nmax-flows = 65536\n",
           "flow-key = tos,vlan\nfields = octetDeltaCount,1,2\nfilter = not port 22\nbuffer = 64M\nquiet = yes\n",
           "domain = 7\nsource = [2001:db8::1]:99\nmtu = 1400\nttl = 5\ntemplate-refresh = 1\ntemplate-packets = 2\n",
           "nonsense\n", "max-flows = 0\n", "read = \"a b\"\n", "config = /etc/pitot.conf\n"]


def crc32c(data):
    crc = 0xffffffff
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def block(number, message):
    """A message in a segment of a spool (probe/spool/spool_block.c)."""
    head = struct.pack(">HHIIIHH8sQIIQQI", 10, 68, 0, 0, 0, 65535, 52, b"pitotspl", number, len(message), 3, 30, 3000,
                       crc32c(message))
    return head + struct.pack(">I", crc32c(head)) + message


def spools():
    template = struct.pack(">HHIIIHHHHHHI", 10, 32, 0, 0, 0, 2, 16, 65535, 1, 0x8001, 48, 32473)
    position = b"pitotpos" + struct.pack(">QQ", 3, 5)
    position += struct.pack(">II", crc32c(position), 0)
    first = template + block(0, b"templates") + b"".join(block(n, bytes([n]) * (16 + n)) for n in range(1, 6))
    second = template + b"".join(block(n, bytes(8)) for n in range(1000, 1004))
    for one, two in ((first, second), (first, b""), (b"", second), (first[:-7], second[:-70]), (second, first),
                     (first + first, second), (first[:200] + b"?" + first[200:], second), (b"x" * 70, template)):
        for flags in range(4):
            yield bytes([flags]) + position + struct.pack(">H", len(one)) + one + two


def roundtrips():
    """Configuration and operations as fuzz_roundtrip.c reads them; records are what the generator says."""
    rng = random.Random(7)

    def octets(n):
        return bytes(rng.choice((0, 1, 6, 255, rng.randrange(256))) for _ in range(n))

    def text(n):
        return bytes([n]) + rng.choice((b"eth0 \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" * 12,
                                       b"\xed\xa0\x80\xf0\x8f\xbf\xbf" * 20, octets(128)))[:n]

    def record():
        return bytes([rng.randrange(6)]) + octets(128) + bytes([rng.choice((0xa2, 0xaa, 0xab, 0xb3, 0x5a, rng.randrange(256)))])\
            + octets(rng.choice((0, 5, 10)))

    def step(harsh):
        kind = rng.randrange(12)
        if kind < 6:
            return record() + bytes([6, rng.randrange(64)]) * rng.randrange(3)
        if kind < 9:
            return bytes([7, rng.randrange(256)])
        return bytes([rng.choice((8, 9, 10, 11, 12, 13, 14, 15) if harsh else (8, 9, 10, 11))]) + octets(6)

    for number in range(72):
        flags = (number // 3) & 7 | rng.choice((0, 8, 24)) | rng.choice((0, 32, 64, 96))
        interfaces = b"".join(bytes([1, 1 + i]) + text(rng.randrange(20)) + text(rng.randrange(50))
                              for i in range(number % 4))
        yield bytes([number % 3, flags]) + octets(12) + octets(5) + octets(2 if flags & 32 else 1) + bytes([number % 4])\
            + interfaces + (bytes([20]) + octets(20) if flags & 64 else b"")\
            + b"".join(step(flags & 2) for _ in range(rng.randrange(4, 24)))


def frames(data):
    order = "<" if data[:1] in (b"\xd4", b"\x4d") else ">"
    link, at = struct.unpack(order + "I", data[20:24])[0], 24
    while at + 16 <= len(data):
        size = struct.unpack(order + "I", data[at + 8:at + 12])[0]
        yield link, data[at + 16:at + 16 + size]
        at += 16 + size


def shorten(data, packets):
    """The first packets of a pcap file."""
    at = 24
    order = "<" if data[:1] in (b"\xd4", b"\x4d") else ">"
    for _ in range(packets):
        if at + 16 > len(data):
            break
        at += 16 + struct.unpack(order + "I", data[at + 8:at + 12])[0]
    return data[:at]


def seeds():
    seen = set()
    for path in sorted(DATA.glob("*.pcap")):
        if path.name.startswith("bad-") or path.name in ("link-unknown.pcap", "web.pcap", "long.pcap"):
            continue
        for link, frame in frames(path.read_bytes()):
            shape = (link, len(frame) // 16, frame[12:26])
            if shape not in seen and len(frame) < 400 and len([s for s in seen if s[0] == link]) < 40:
                seen.add(shape)
                yield "decode", bytes([LINKS.index(link), 0x80, 0]) + frame
    for path in sorted(DATA.glob("*.pcap*"), key=lambda p: (p.name in LATER, p.name)):
        data = path.read_bytes()
        if path.suffix == ".pcap" and not path.name.startswith("bad-"):
            data = shorten(data, 12)
        elif len(data) > 3000 and not path.name.startswith("kinds"):
            data = data[:3000]
        yield "file", data
        yield "pipeline", b"\x03\x05" + data
    for url in URLS:
        yield "collector", url.encode()
    for text in CONFIGS:
        yield "config", text.encode()
    for data in spools():
        yield "spool", data
    for data in roundtrips():
        yield "roundtrip", data


def main():
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "corpus"
    count = {}
    for target, data in seeds():
        count[target] = count.get(target, 0) + 1
        folder = where / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"seed-{count[target]:03}").write_bytes(data)


main()
