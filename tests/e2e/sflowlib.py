"""An independent reader of sFlow version 5 datagrams ("sFlow Version 5", sflow.org, July 2004)."""
import collections
import struct

Datagram = collections.namedtuple("Datagram", "agent sub_agent sequence uptime_ms samples")
FlowSample = collections.namedtuple("FlowSample", "sequence source rate pool drops input output protocol frame_length stripped header")
CounterSample = collections.namedtuple("CounterSample", "sequence source counters")

GENERIC = ("index", "type", "speed", "direction", "status", "in_octets", "in_unicast", "in_multicast", "in_broadcast",
           "in_discards", "in_errors", "in_unknown", "out_octets", "out_unicast", "out_multicast", "out_broadcast",
           "out_discards", "out_errors", "promiscuous")


def words(data, at, n):
    return struct.unpack_from(f"!{n}I", data, at)


def _records(data, at, n):
    """{format: octets}"""
    found = {}
    for _ in range(n):
        kind, length = words(data, at, 2)
        found[kind] = data[at + 8:at + 8 + length]
        at += 8 + length
    assert at == len(data), "records do not fill their sample"
    return found


def _flow_sample(data):
    sequence, source, rate, pool, drops, came, went, n = words(data, 0, 8)
    raw = _records(data, 32, n)[1]
    protocol, frame_length, stripped, size = words(raw, 0, 4)
    return FlowSample(sequence, source, rate, pool, drops, came, went, protocol, frame_length, stripped, raw[16:16 + size])


def _counter_sample(data):
    sequence, source, n = words(data, 0, 3)
    generic = _records(data, 12, n)[1]
    assert len(generic) == 88
    return CounterSample(sequence, source, dict(zip(GENERIC, struct.unpack("!IIQIIQIIIIIIQIIIIII", generic))))


def read(data):
    """A datagram; AssertionError or struct.error when it is none.  Compact samples only."""
    version, family = words(data, 0, 2)
    assert version == 5 and family in (1, 2)
    size = 4 if family == 1 else 16
    sub_agent, sequence, uptime_ms, n = words(data, 8 + size, 4)
    at, samples = 24 + size, []
    for _ in range(n):
        kind, length = words(data, at, 2)
        body = data[at + 8:at + 8 + length]
        assert len(body) == length and length % 4 == 0
        samples.append({1: _flow_sample, 2: _counter_sample}[kind](body))
        at += 8 + length
    assert at == len(data), f"{len(data) - at} octets behind the samples"
    return Datagram(data[8:8 + size], sub_agent, sequence, uptime_ms, samples)
