"""An independent answer: what flows are in a capture file, by the definitions of pitot(8), MEASUREMENT.

Small and slow; it shares no code with the program.  flows(FILE) -> {(src, dst, proto, sport, dport): [packets,
octets, tcp flags]}, and the number of frames that hold no usable IP packet.
"""
import ipaddress
import struct

PORTS = {6, 17, 33, 132, 136}


def read_pcap(data):
    magic = data[:4]
    order = "<" if magic in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    link = struct.unpack(order + "I", data[20:24])[0] & 0x03ffffff
    at = 24
    while at + 16 <= len(data):
        _, _, captured, wire = struct.unpack(order + "IIII", data[at:at + 16])
        if at + 16 + captured > len(data):
            return
        yield link, data[at + 16:at + 16 + captured], wire
        at += 16 + captured


def read_pcapng(data):
    links, snaps, at, order = [], [], 0, "<"
    while at + 12 <= len(data):
        if data[at:at + 4] == b"\n\r\r\n":
            order = "<" if data[at + 8:at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            links, snaps = [], []
        kind, size = struct.unpack(order + "II", data[at:at + 8])
        if size < 12 or at + size > len(data):
            return
        body = data[at + 8:at + size - 4]
        if kind == 1:
            links.append(struct.unpack(order + "H", body[:2])[0])
            snaps.append(struct.unpack(order + "I", body[4:8])[0] or 262144)
        elif kind in (2, 6):
            interface, _, _, captured, wire = struct.unpack(order + ("IIIII" if kind == 6 else "HxxIIII"), body[:20])
            yield links[interface], body[20:20 + captured], wire
        elif kind == 3:
            wire = struct.unpack(order + "I", body[:4])[0]
            yield links[0], body[4:4 + min(wire, snaps[0])], wire
        at += size


def read(path):
    with open(path, "rb") as f:
        data = f.read()
    return read_pcapng(data) if data[:4] == b"\n\r\r\n" else read_pcap(data)


class NoIp(Exception):
    pass


def u16(data, at):
    if at + 2 > len(data):
        raise NoIp
    return data[at] << 8 | data[at + 1]


def by_ethertype(data, at, kind):
    """(offset, version) of the IP header."""
    for _ in range(32):
        if kind in (0x8100, 0x88a8, 0x9100, 0x9200):
            kind, at = u16(data, at + 2), at + 4
        elif kind in (0x8847, 0x8848):
            while not u16(data, at + 2) & 0x100:
                at += 4
            at += 4
            nibble = u16(data, at) >> 12
            if nibble in (4, 6):
                return at, nibble
            at += 4 if nibble == 0 and u16(data, at + 16) in (0x0800, 0x86dd, 0x8100) else 0
            kind, at = u16(data, at + 12), at + 14
        elif kind == 0x8864:
            if data[at] != 0x11 or data[at + 1]:
                raise NoIp
            return by_ppp(data, at + 6)
        elif kind == 0x0800:
            return at, 4
        elif kind == 0x86dd:
            return at, 6
        elif kind < 0x600 and data[at:at + 6] == b"\xaa\xaa\3\0\0\0":
            kind, at = u16(data, at + 6), at + 8
        else:
            raise NoIp
    raise NoIp


def by_ppp(data, at):
    kind = u16(data, at)
    if kind == 0x21:
        return at + 2, 4
    if kind == 0x57:
        return at + 2, 6
    raise NoIp


def by_family(family):
    if family == 2:
        return 4, 4
    if family in (10, 24, 28, 30):
        return 4, 6
    raise NoIp


def find_ip(link, data):
    if link == 1:
        return by_ethertype(data, 14, u16(data, 12))
    if link == 113:
        return by_ethertype(data, 16, u16(data, 14))
    if link == 276:
        return by_ethertype(data, 20, u16(data, 0))
    if link in (12, 14, 101):
        return 0, data[0] >> 4 if data else 0
    if link == 228:
        return 0, 4
    if link == 229:
        return 0, 6
    if link == 0:
        if len(data) < 4:
            raise NoIp
        family = struct.unpack("<I", data[:4])[0]
        return by_family(family if family < 65536 else struct.unpack(">I", data[:4])[0])
    if link == 108:
        return by_family(struct.unpack(">I", data[:4])[0])
    if link in (9, 50):
        return by_ppp(data, 2 if data[:2] == b"\xff\3" else 0)
    if link == 51:
        return by_ppp(data, 6)
    raise NoIp  # in a file of several link types


def walk6(packet):
    """(protocol, offset of its header or None, fragment id or None, is it a later fragment)."""
    proto, at, ident = packet[6], 40, None
    while proto in (0, 43, 44, 51, 60):
        if proto == 44:
            if at + 8 > len(packet):
                return proto, None, None, False
            proto, field = packet[at], u16(packet, at + 2)
            if field & 0xfff9:
                ident = packet[at + 4:at + 8]
            if field & 0xfff8:
                return proto, None, ident, True
            at += 8
            continue
        if at + 2 > len(packet):
            return proto, None, ident, False
        size = (packet[at + 1] + 2) * 4 if proto == 51 else (packet[at + 1] + 1) * 8
        proto, at = packet[at], at + size
        if at > len(packet):
            return proto, None, ident, False
    return proto, at, ident, False


def measure(link, data, wire, firsts):
    """(key, octets, tcp flags); NoIp when the frame is not metered."""
    at, version = find_ip(link, data)
    packet, on_wire = data[at:], wire - at
    if not packet or packet[0] >> 4 != version or len(packet) < (20 if version == 4 else 40):
        raise NoIp
    if version == 4:
        header, octets = (packet[0] & 15) * 4, u16(packet, 2) or on_wire
        if header < 20 or octets < header:
            raise NoIp
        src, dst, proto = packet[12:16], packet[16:20], packet[9]
        field = u16(packet, 6)
        ident = (packet[4:6], proto) if field & 0x3fff else None
        later, at = bool(field & 0x1fff), header
    elif version == 6:
        payload = u16(packet, 4)
        # without a payload length: offload, but not where there is no next header or a hop-by-hop one
        octets = payload + 40 if payload or packet[6] in (0, 59) else on_wire
        src, dst = packet[8:24], packet[24:40]
        proto, at, ident, later = walk6(packet[:octets])
    else:
        raise NoIp
    packet = packet[:octets]
    sport = dport = flags = 0
    if not later and at is not None:
        if proto in PORTS and len(packet) >= at + 4:
            sport, dport = u16(packet, at), u16(packet, at + 2)
            if proto == 6 and len(packet) >= at + 14:
                flags = u16(packet, at + 12) & 0xfff
        elif proto in (1, 58) and len(packet) >= at + 2:
            dport = u16(packet, at)
    if ident is not None:
        datagram = (src, dst, ident)
        if later:
            sport, dport = firsts.get(datagram, (0, 0))
        else:
            firsts[datagram] = (sport, dport)
    key = (str(ipaddress.ip_address(src)), str(ipaddress.ip_address(dst)), proto, sport, dport)
    return key, octets, flags


def flows(path):
    found, ignored, firsts = {}, 0, {}
    for link, data, wire in read(path):
        try:
            key, octets, flags = measure(link, data, wire, firsts)
        except NoIp:
            ignored += 1
            continue
        f = found.setdefault(key, [0, 0, 0])
        f[0] += 1
        f[1] += octets
        f[2] |= flags
    return found, ignored
