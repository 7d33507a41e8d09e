#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets from tests/data: make_corpus.py [DIRECTORY]."""
import random
import struct
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "data"
LINKS = [1, 0, 9, 12, 14, 50, 51, 101, 104, 105, 107, 108, 113, 127, 228, 229, 239, 276]  # as fuzz_decode.c
TUNNELS = [  # a frame of each kind, made with scapy: fuzz_decode.c opens tunnels where the third octet is odd
    ("gre",
     "02000000000202000000000108004500005200010000402ff678c0000201c0000202000008004500003a000100004011"
     "669e0a0900010a09000203e900350026d860787878787878787878787878787878787878787878787878787878787878"),
    ("gre",
     "02000000000202000000000108004500005600010000402ff674c0000201c000020220000800000000074500003a0001"
     "00004011669e0a0900010a09000203e900350026d8607878787878787878787878787878787878787878787878787878"
     "78787878"),
    ("gre",
     "02000000000202000000000186dd60000000003a2f4020010db800010000000000000000000120010db8000100000000"
     "0000000000028000080068f0000045000032004d000a400066610a0900010a0900027878787878787878787878787878"
     "78787878787878787878787878787878"),
    ("gre",
     "02000000000202000000000186dd6000000000402f4020010db800010000000000000000000120010db8000100000000"
     "0000000000028000080077ff00004500003800010000400166b00a0900010a0900020301112d000000004500001c0001"
     "0000401166bc0a0900020a0900010009000a0008ebb6"),
    ("gre",
     "02000000000202000000000186dd6000000000422f4020010db800010000000000000000000120010db8000100000000"
     "00000000000220000800000000074500003a000100004011669e0a0900010a09000203e900350026d860787878787878"
     "787878787878787878787878787878787878787878787878"),
    ("ipip",
     "02000000000202000000000108004500004d000100004029f683c0000201c0000202600000000011114020010db80000"
     "0000000000000000000920010db80000000000000000000000080bb9003500113975797979797979797979"),
    ("ipip",
     "02000000000202000000000186dd600000000039294020010db800010000000000000000000120010db8000100000000"
     "000000000002600000000011114020010db800000000000000000000000920010db80000000000000000000000080bb9"
     "003500113975797979797979797979"),
    ("vxlan",
     "020000000002020000000001080045000070000100004011f678c0000201c0000202303912b5005c8d81080000000000"
     "2a000200000000060200000000058100000308004500003a000100004011669e0a0900010a09000203e900350026d860"
     "787878787878787878787878787878787878787878787878787878787878"),
    ("vxlan",
     "02000000000202000000000186dd600000000051114020010db800010000000000000000000120010db8000100000000"
     "000000000002303912b500512d620800000000002a0002000000000602000000000588a800028100000108004500002b"
     "00010000400666b80a0900010a09000207d1005000000000000000005012200083210000787878"),
    ("geneve",
     "02000000000202000000000108004500006c000100004011f67cc0000201c0000202303917c10058ac28000065580000"
     "2a0002000000000602000000000508004500003a000100004011669e0a0900010a09000203e900350026d86078787878"
     "7878787878787878787878787878787878787878787878787878"),
    ("geneve",
     "02000000000202000000000108004500005e000100004011f68ac0000201c0000202000117c1004a6ee0000008000000"
     "01004500003a000100004011669e0a0900010a09000203e900350026d860787878787878787878787878787878787878"
     "787878787878787878787878"),
    ("gtp",
     "02000000000202000000000108004500005e000100004011f68ac0000201c000020208680868004a4d6230ff003a0000"
     "00374500003a000100004011669e0a0900010a09000203e900350026d860787878787878787878787878787878787878"
     "787878787878787878787878"),
    ("gtp",
     "020000000002020000000001080045000066000100004011f682c0000201c000020208680868005244c534ff00420000"
     "003700000085010003004500003a000100004011669e0a0900010a09000203e900350026d86078787878787878787878"
     "7878787878787878787878787878787878787878"),
    ("gtp",
     "020000000002020000000001080045000062000100004011f686c0000201c000020208680868004e4b5232ff003e0000"
     "0037000400004500003a000100004011669e0a0900010a09000203e900350026d8607878787878787878787878787878"
     "78787878787878787878787878787878"),
    ("erspan",
     "02000000000202000000000108004500006c00010000402ff65ec0000201c0000202100088be00000000000000030000"
     "000002000000000602000000000508004500003a000100004011669e0a0900010a09000203e900350026d86078787878"
     "7878787878787878787878787878787878787878787878787878"),
    ("erspan",
     "02000000000202000000000108004500007000010000402ff65ac0000201c0000202100022eb00000000200000030000"
     "00000000000002000000000602000000000508004500003a000100004011669e0a0900010a09000203e900350026d860"
     "787878787878787878787878787878787878787878787878787878787878"),
    ("erspan",
     "02000000000202000000000108004500006000010000402ff66ac0000201c0000202000088be02000000000602000000"
     "000508004500003a000100004011669e0a0900010a09000203e900350026d86078787878787878787878787878787878"
     "7878787878787878787878787878"),
    ("l2tp",
     "02000000000202000000000108004500005f000100004011f689c0000201c000020206a506a5004b99f8002200000000"
     "ff03214500003a000100004011669e0a0900010a09000203e900350026d8607878787878787878787878787878787878"
     "78787878787878787878787878"),
    ("pptp",
     "02000000000202000000000108004500005d00010000402ff66dc0000201c00002023001880b003d000500000000ff03"
     "214500003a000100004011669e0a0900010a09000203e900350026d86078787878787878787878787878787878787878"
     "7878787878787878787878"),
    ("pptp",
     "02000000000202000000000108004500005000010000402ff67ac0000201c00002023081880b002c0005000000000000"
     "0000214500002b00010000400666b80a0900010a09000207d1005000000000000000005012200083210000787878"),
    ("teredo",
     "020000000002020000000001080045000055000100004011f693c0000201c00002020dd8c35000413910600000000011"
     "114020010db800000000000000000000000920010db80000000000000000000000080bb9003500113975797979797979"
     "797979"),
    ("teredo",
     "020000000002020000000001080045000062000100004011f686c0000201c0000202c3500dd8004e7ab3000100000000"
     "00000000000000600000000011114020010db800000000000000000000000920010db80000000000000000000000080b"
     "b9003500113975797979797979797979"),
    ("teredo",
     "02000000000202000000000108004500005d000100004011f68bc0000201c0000202c3500dd8004976fd00000001c000"
     "0201600000000011114020010db800000000000000000000000920010db80000000000000000000000080bb900350011"
     "3975797979797979797979"),
    ("mplsudp",
     "02000000000202000000000108004500005a000100004011f68ec0000201c0000202c35019eb00468168000631004500"
     "003a000100004011669e0a0900010a09000203e900350026d86078787878787878787878787878787878787878787878"
     "7878787878787878"),
    ("etherip",
     "02000000000202000000000108004500005e000100004061f63ac0000201c00002023000020000000006020000000005"
     "08004500003a000100004011669e0a0900010a09000203e900350026d860787878787878787878787878787878787878"
     "787878787878787878787878"),
    ("nest",
     "02000000000202000000000108004500008a000100004029f646c0000201c000020260000000004e044020010db80001"
     "0000000000000000000120010db80001000000000000000000024500004e000100004004f6a7c0000201c00002024500"
     "003a000100004011669e0a0900010a09000203e900350026d86078787878787878787878787878787878787878787878"
     "787878787878"),
    ("nest",
     "02000000000202000000000186dd60000000005a2f4020010db800010000000000000000000120010db8000100000000"
     "000000000002000008004500005600010000402ff674c0000201c000020220000800000000054500003a000100004011"
     "669e0a0900010a09000203e900350026d860787878787878787878787878787878787878787878787878787878787878"),
    ("ah",
     "020000000002020000000001080045000066000100004033f660c0000201c00002020400000000000001000000007a7a"
     "7a7a7a7a7a7a7a7a7a7a4500003a000100004011669e0a0900010a09000203e900350026d86078787878787878787878"
     "7878787878787878787878787878787878787878"),
    ("l2tpv3",
     "020000000002020000000001080045000064000100004073f622c0000201c00002020000000700000000020000000006"
     "02000000000508004500003a000100004011669e0a0900010a09000203e900350026d860787878787878787878787878"
     "787878787878787878787878787878787878"),
]
LATER = ("kinds.pcapng", "link-unknown.pcapng")  # seeds keep their numbers
URLS = ["collector.example", "collector.example:4739", "10.0.0.5", "[2001:db8::5]:4739", "ipfix://[2001:db8::5]:4739",
        "netflow5://127.0.0.1:2055", "netflow9://c", "ipfix+tcp://c:1", "ipfix+tls://c", "json:-", "text:/tmp/x",
        "ipfix+file:/tmp/x", "ipfix+udp://c", "netflow5+tcp://c", "ipfix://[fe80::1%eth0]:4739", "://", "[", "ipfix://:0"]
FILTERS = ["tcp", "host 10.0.0.1 and not port 53", "src net 10.0.0.0/8 or (ip6 and dst portrange 1-1024)",
           "!(udp||icmp) && vlan 7", "port 53 or domain", "src or dst host ::1", "((((", "proto 256", "net ::/129"]
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


def section(name, version, body):
    return struct.pack("=24sIIQ", name.encode(), version, 0, len(body)) + body + bytes(-len(body) % 8)


def handed_flow(n, protocol=17, state=0, blocks=b""):
    """The core of a flow record (flow_record.h), and its blocks."""
    key = bytes([10, 0, 0, n]) + bytes(12) + bytes([10, 0, 1, n]) + bytes(12)
    key += struct.pack("=HHBBBBHH", 1000 + n, 53, protocol, 4, 0, 0, 0, n % 3)
    core = key + struct.pack("=IQIBBHQQQQIIIHBB", 1, n, 2, 0, 0, 0, n, 100 * n, 1700000000 * 10**9, 1700000001 * 10**9, 60,
                             140, 0, 2, 64, 64)
    return core + bytes([0, state]) + blocks


def handed_collector(url, kind, state):
    """struct handed_collector of export_hand_over.c; kind: the number of the format."""
    return struct.pack("=6I5q4I6Q", 0, kind, 0, 0, 77, 1700000000, 1699990000000, 1700000000000, 10000, 1700000000, 5, 1,
                       len(url), 0, 0, 1, 2, 3, 0, 0, 0) + url + state


def handed_templates(fields):
    body = struct.pack("=IIQQII", 1, 3, 10**9, 10**9, 1, 1) + struct.pack("=IHHHH", 0, 256, len(fields), 0, 0)
    return body + b"".join(struct.pack("=IHH", 0, number, length) for number, length in fields)


def handed():
    frames, tunnel = struct.pack("=16sI", b"FRAMES", 24), struct.pack("=16sI", b"TUNNEL", 64)
    plain = struct.pack("=II", 114, 0) + b"".join(handed_flow(n) for n in range(1, 13))
    blocks = struct.pack("=II", 114, 2) + frames + tunnel + handed_flow(1, 6, 3, bytes(24) + bytes(range(64)))
    fragment = struct.pack("=I", 64) + bytes([10] * 32) + struct.pack("=IIBBHxxxxQHHB3x", 7, 1, 4, 17, 0, 1700000000 * 10**9,
                                                                      1000, 53, 17)
    sessions = section("facts", 1, bytes(96)) + section("collector", 1, handed_collector(
        b"a", 2, handed_templates([(8, 4), (12, 4), (2, 8)]))) + section("collector", 1, handed_collector(
            b"c", 3, struct.pack("=II", 1, 20) + bytes(40)))
    magic = b"pitot-1\0"
    yield magic + section("flows", 1, plain) + section("fragments", 1, fragment)
    yield magic + section("flows", 1, blocks)
    yield magic + section("of later", 2, b"unknown") + sessions
    yield magic + section("flows", 2, plain)


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
    for text in FILTERS:
        yield "flow_filter", text.encode()
    for text in CONFIGS:
        yield "config", text.encode()
    for data in spools():
        yield "spool", data
    for data in roundtrips():
        yield "roundtrip", data
    for data in handed():
        yield "takeover", data


def main():
    where = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "corpus"
    count = {}
    for target, data in seeds():
        count[target] = count.get(target, 0) + 1
        folder = where / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"seed-{count[target]:03}").write_bytes(data)
    for number, (_, frame) in enumerate(TUNNELS, 1):
        (where / "decode" / f"tunnel-{number:03}").write_bytes(bytes([0, 0x80, 1]) + bytes.fromhex(frame))


main()
