#!/usr/bin/env python3
"""Foreign decoders read what pitot sends: nfdump, tshark and nfacctd, against an independent reader of the captures.

NetFlow v5, v9 and IPFIX over UDP, IPFIX files, JSON and text; packets, octets and TCP flags of every 5-tuple.  With a
sanitizer tshark, which takes most of the time, reads one capture only: pitot is run in the same way all the same.
"""
import re
import struct
import subprocess
import xml.etree.ElementTree as xml
from pathlib import Path

import e2elib as e
import flows
from collectorlib import as_pcap, nfacctd, nfdump

CAPTURES = ["web.pcap", "mixed.pcap", "vlan.pcap", "fragments.pcap", "v6ext.pcap", "icmp.pcap", "sctp.pcap", "broken.pcap",
            "mixed.pcapng", "mixed-be.pcapng", "mixed-ns.pcap", "mixed-be.pcap", "mixed-snap64.pcap", "link-raw.pcap",
            "link-ipv4.pcap", "link-ipv6.pcap", "link-null.pcap", "link-loop.pcap", "link-ppp.pcap", "link-pppoe.pcap",
            "link-sll.pcap", "link-sll2.pcap", "no-ip.pcap", "bad-header-only.pcap"]
FOREIGN = ["web.pcap", "mixed.pcap", "vlan.pcap", "fragments.pcap", "v6ext.pcap", "icmp.pcap", "sctp.pcap", "link-sll2.pcap"]
FORMATS = ["netflow5", "netflow9", "ipfix"]


def export(capture, scheme):
    """The datagrams that pitot sends."""
    sink = e.Sink()
    got = e.run("-q", "-r", e.DATA / capture, *e.NO_AGEING, "-n", f"{scheme}://127.0.0.1:{sink.port}")
    datagrams = sink.stop()
    e.check(got.returncode == 0 and not got.stderr, f"{capture} {scheme}: status {got.returncode}, {got.stderr!r}")
    return datagrams


def pdml_flows(command, where):
    got = subprocess.run(command, capture_output=True, check=False)
    found = {}
    e.check(b"Malformed" not in got.stdout, f"{where}: tshark calls a message malformed")
    e.check(b"cflow.sequence_analysis" not in got.stdout and b"Unexpected flow sequence" not in got.stdout,
            f"{where}: tshark sees a gap in the sequence numbers")
    for flow in xml.fromstring(got.stdout).iter("field"):
        if not re.fullmatch(r"(Flow|pdu) \d+(/\d+)?.*", flow.get("show") or "") and flow.get("name") != "cflow.pdu":
            continue
        v = {}
        for field in flow.iter("field"):
            v.setdefault(field.get("name"), field.get("show"))
        if "cflow.packets" not in v and "cflow.packets64" not in v:
            continue
        key = (v.get("cflow.srcaddr") or v.get("cflow.srcaddrv6"), v.get("cflow.dstaddr") or v.get("cflow.dstaddrv6"),
               int(v["cflow.protocol"]), int(v.get("cflow.srcport", 0)), int(v.get("cflow.dstport", 0)))
        flags = int(v.get("cflow.tcpflags") or v.get("cflow.tcpflags16") or "0", 0)
        e.add(found, key, int(v.get("cflow.packets") or v["cflow.packets64"]),
              int(v.get("cflow.octets") or v["cflow.octets64"]), flags)
    return found


def tshark(datagrams, scheme, where):
    with e.workdir() as d:
        as_pcap(datagrams, 2055, f"{d}/x.pcap")
        return pdml_flows([e.find("tshark"), "-n", "-r", f"{d}/x.pcap", "-d", "udp.port==2055,cflow", "-T", "pdml"],
                          f"{where} {scheme}")


def many_flows(path, n):
    """A capture of n flows of one packet each."""
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 101))
        for i in range(n):
            packet = struct.pack("!BBHHHBBH4sI", 0x45, 0, 40, i, 0, 64, 17, 0, b"\xc0\0\2\1", 0xc6336400 + i % 250)
            packet += struct.pack("!HHHH", 1024 + i // 250, 5000, 20, 0) + bytes(12)
            f.write(struct.pack("<IIII", 1_700_000_000 + i // 1000, i % 1000, len(packet), len(packet)) + packet)


def all_of_it(scheme):
    """One export reaches everyone whole, flows and the sampling rate, whatever of it a collector does not understand."""
    sampling = set()
    with e.workdir() as d:
        many_flows(f"{d}/many.pcap", 4000)
        expected, _ = flows.flows(f"{d}/many.pcap")
        datagrams = export(f"{d}/many.pcap", scheme)
        e.check(len(expected) == 4000, f"the reference has {len(expected)} flows")
        if e.find("tshark"):
            compare(f"many {scheme} tshark", expected, tshark(datagrams, scheme, "many"))
            as_pcap(datagrams, 2055, f"{d}/x.pcap")
            rates = subprocess.run([e.find("tshark"), "-n", "-r", f"{d}/x.pcap", "-d", "udp.port==2055,cflow", "-T", "fields", "-e",
                                    "cflow.sampling_interval"], capture_output=True, text=True, check=False).stdout.split()
            e.check(rates and set(rates) == {"1"}, f"many {scheme} tshark: sampling {rates}")
        if e.find("nfcapd") and e.find("nfdump"):
            compare(f"many {scheme} nfdump", expected, nfdump(datagrams, f"many {scheme}"))
        if e.find("nfacctd"):
            compare(f"many {scheme} nfacctd", expected, nfacctd(datagrams, whole(expected), sampling))
            e.check(sampling == {1}, f"many {scheme} nfacctd: sampling {sampling}")


def only4(expected):
    return {k: v for k, v in expected.items() if ":" not in k[0]}


def whole(expected, mask=0xfff):
    return lambda got: not e.differences(expected, got, mask)


def compare(where, expected, got, mask=0xfff):
    difference = e.differences(expected, got, mask)
    e.check(not difference, f"{where}:\n{difference}")


def own_outputs():
    """JSON, text, and the statistics, on every capture."""
    for capture in CAPTURES:
        expected, ignored = flows.flows(e.DATA / capture)
        with e.workdir() as d:
            got = e.run("-q", "-r", e.DATA / capture, *e.NO_AGEING, "-n", "json:-", "-n", f"text:{d}/t", "--stats", f"{d}/s")
            e.check(got.returncode == 0 and not got.stderr, f"{capture}: status {got.returncode}, {got.stderr!r}")
            compare(f"{capture} json", expected, e.json_flows(got.stdout))
            s = e.statistics(f"{d}/s")
            rows = Path(f"{d}/t").read_text().splitlines()[1:]
        e.check_ledger(capture, s)
        e.check(s["packets"]["metered"] == sum(f[0] for f in expected.values()), f"{capture}: metered packets")
        e.check(s["octets"]["metered"] == sum(f[1] for f in expected.values()), f"{capture}: metered octets")
        e.check(sum(s["packets"]["ignored"].values()) == ignored, f"{capture}: {ignored} frames are to be ignored: {s}")
        e.check(len(rows) == len(expected), f"{capture}: {len(rows)} lines of text for {len(expected)} flows")


def foreign(capture):
    expected, _ = flows.flows(e.DATA / capture)
    with_tshark = e.find("tshark") and (not e.SANITIZED or capture == "mixed.pcap")
    for scheme in FORMATS:
        wanted, mask = (only4(expected), 0xff) if scheme == "netflow5" else (expected, 0xff)
        datagrams = export(capture, scheme)
        if with_tshark:
            compare(f"{capture} {scheme} tshark", wanted, tshark(datagrams, scheme, capture), mask)
        if e.find("nfcapd") and e.find("nfdump"):
            compare(f"{capture} {scheme} nfdump", wanted, nfdump(datagrams, f"{capture} {scheme}"), mask)
        if e.find("nfacctd") and capture in ("web.pcap", "mixed.pcap"):
            # nfacctd 1.7.7 reads the first of tcpControlBits' two octets
            known = 0 if scheme == "ipfix" else mask
            compare(f"{capture} {scheme} nfacctd", wanted, nfacctd(datagrams, whole(wanted, known)), known)
    with e.workdir() as d:
        got = e.run("-q", "-r", e.DATA / capture, *e.NO_AGEING, "-n", f"ipfix+file:{d}/x.ipfix")
        e.check(got.returncode == 0, f"{capture} ipfix+file: {got.stderr!r}")
        if with_tshark:
            compare(f"{capture} ipfix+file tshark", expected,
                    pdml_flows([e.find("tshark"), "-n", "-r", f"{d}/x.ipfix", "-T", "pdml"], f"{capture} file"))


def main():
    for programs in (["tshark"], ["nfcapd", "nfdump"], ["nfacctd"]):
        e.have(*programs)
    own_outputs()
    e.together(all_of_it, ["netflow9", "ipfix"])
    e.together(foreign, FOREIGN)
    e.finish()


main()
