"""Foreign collectors that the end-to-end tests hand datagrams to: nfdump's and pmacct's."""
import csv
import os
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

import e2elib as e

PATIENCE_S = 60


def as_pcap(datagrams, port, path):
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 101))
        for i, d in enumerate(datagrams):
            packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(d), i & 65535, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
            packet += struct.pack("!HHHH", 40000, port, 8 + len(d), 0) + d
            f.write(struct.pack("<IIII", 1_700_000_000 + i, 0, len(packet), len(packet)) + packet)


AT_ONCE = 32  # datagrams that a collector's socket surely holds


def replay(datagrams, port, process):
    """All of them, no faster than the process takes them; when this returns it waits for more."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for i, d in enumerate(datagrams):
            s.sendto(d, ("127.0.0.1", port))
            if i % AT_ONCE == AT_ONCE - 1:
                wait_taken(port)
    wait_taken(port)
    e.wait(lambda: process.poll() is not None or all(e.waits(pid) for pid in (process.pid, *e.roles(process.pid).values())),
           "the collector does not wait for more", PATIENCE_S)


def queues(port):
    """Of the sockets with this port, in hexadecimal: sent and not gone, come and not taken."""
    rows = [r.split() for name in ("udp", "udp6") for r in Path(f"/proc/net/{name}").read_text().splitlines()]
    return [r[4] for r in rows if r[1].endswith(f":{port:04X}")]


def wait_taken(port):
    """Until the collector has taken what was sent from its socket."""
    end = time.monotonic() + PATIENCE_S
    while any(not q.endswith(":00000000") for q in queues(port)):
        if time.monotonic() > end:
            e.check(False, f"the collector on port {port} does not read")
            return
        time.sleep(0.002)


def start(command, port, log=os.devnull, words=""):
    """A collector that has opened its port, and said these words in its log."""
    with open(log, "wb") as out:
        p = subprocess.Popen(command, stdout=out, stderr=out)
    e.wait(lambda: p.poll() is not None or queues(port) and words in Path(log).read_text(errors="replace"),
           f"{command[0]} does not open port {port}", PATIENCE_S)
    return p


def nfdump(datagrams, where, collector="nfcapd"):
    """{key: [packets, octets, flags]}; the collector is nfcapd, or sfcapd for sFlow."""
    port, found = e.free_port(), {}
    with e.workdir() as d:
        p = start([e.find(collector), "-w", d, "-b", "127.0.0.1", "-p", str(port), "-B", "4000000"], port)
        replay(datagrams, port, p)
        p.send_signal(signal.SIGTERM)
        p.wait(PATIENCE_S)
        got = subprocess.run([e.find("nfdump"), "-R", d, "-q", "-N", "-6", "-o",
                              "fmt:%sa,%da,%pr,%sp,%dp,%pkt,%byt,%flg"], capture_output=True, text=True, check=False)
    for row in csv.reader(got.stdout.splitlines()):
        if len(row) != 8:
            continue
        src, dst, proto, sport, dport, packets, octets, flags = (c.strip() for c in row)
        number = int(proto) if proto.isdigit() else PROTOCOLS.get(proto)
        if not e.check(number is not None, f"{where}: nfdump says protocol {proto!r}"):
            continue
        if "." in dport:  # ICMP: type.code
            kind, code = dport.split(".")
            dport = int(kind) * 256 + int(code)
        bits = sum(1 << "FSRPAUEC".index(c) for c in flags if c in "FSRPAUEC") if number == 6 else 0
        e.add(found, (src, dst, number, int(sport), int(dport)), int(packets), int(octets), bits)
    return found


PROTOCOLS = {"ICMP": 1, "TCP": 6, "UDP": 17, "DCCP": 33, "IPv6": 41, "GRE": 47, "ESP": 50, "AH": 51, "ICMP6": 58, "NoNxt": 59,
             "SCTP": 132, "UDPLi": 136, "MOBIL": 135, "MobHe": 135, "IPv6-ICMP": 58, "IPv6-NoNxt": 59, "UDPLite": 136}


def printed(path, sampling):
    """{key: [packets, octets, flags]} of the lines that are whole; sampling gets their rates."""
    found, text = {}, Path(path).read_text() if Path(path).exists() else ""
    for row in csv.DictReader(text[:text.rfind("\n") + 1].splitlines()):
        if sampling is not None:
            sampling.add(int(row["SAMPLING_RATE"]))
        proto = row["PROTOCOL"]
        number = int(proto) if proto.isdigit() else {"icmp": 1, "tcp": 6, "udp": 17, "ipv6-icmp": 58, "sctp": 132}.get(proto, -1)
        e.add(found, (row["SRC_IP"], row["DST_IP"], number, int(row["SRC_PORT"]), int(row["DST_PORT"])),
              int(row["PACKETS"]), int(row["BYTES"]), int(row["TCP_FLAGS"]) if number == 6 else 0)
    return found


def nfacctd(datagrams, enough, sampling=None, collector="nfacctd", renormalize=False):
    """What it prints when it is told to end: not before, for one that is told so while it prints does it twice.
    enough: of that, whether it is all; it may outlive the signal.
    sampling: a set that gets the sampling rates of the records.  The collector is nfacctd, or sfacctd for sFlow;
    renormalize: it scales what was sampled."""
    port = e.free_port()
    with e.workdir() as d:
        Path(f"{d}/conf").write_text(
            f"daemonize: false\n{collector}_ip: 127.0.0.1\n{collector}_port: {port}\nplugins: print\nplugin_buffer_size: 102400\n"
            f"plugin_pipe_size: 10240000\naggregate: src_host,dst_host,src_port,dst_port,proto,tcpflags"
            f"{',sampling_rate' if sampling is not None else ''}\n"
            f"print_output: csv\nprint_output_file: {d}/out\nprint_output_file_append: true\nprint_refresh_time: 3600\nprint_num_protos: true\n"
            f"print_cache_entries: 16411\n{collector}_disable_checks: true\n"
            f"{f'{collector}_renormalize: true' if renormalize else ''}\n", encoding="utf-8")
        # its plugin, a process of its own, gets what was sent to it only when it was told to end: it has to be there
        p = start([e.find(collector), "-f", f"{d}/conf"], port, f"{d}/log", "cache entries")
        replay(datagrams, port, p)
        p.send_signal(signal.SIGINT)
        found, end = {}, time.monotonic() + PATIENCE_S
        while not enough(found) and p.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
            found = printed(f"{d}/out", sampling)
        if p.poll() is None:
            p.kill()
        p.wait()
        found = printed(f"{d}/out", sampling)
    return found
