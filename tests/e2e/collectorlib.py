"""Foreign collectors that the end-to-end tests hand datagrams to: nfdump's and pmacct's."""
import csv
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

import e2elib as e


def as_pcap(datagrams, port, path):
    with open(path, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 101))
        for i, d in enumerate(datagrams):
            packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(d), i & 65535, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
            packet += struct.pack("!HHHH", 40000, port, 8 + len(d), 0) + d
            f.write(struct.pack("<IIII", 1_700_000_000 + i, 0, len(packet), len(packet)) + packet)


def replay(datagrams, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for d in datagrams:
            s.sendto(d, ("127.0.0.1", port))
            time.sleep(0.001)


def wait_taken(port):
    """Until the collector has taken what was sent from its socket."""
    for _ in range(500):
        rows = [r.split() for name in ("udp", "udp6") for r in Path(f"/proc/net/{name}").read_text().splitlines()]
        waiting = [r[4] for r in rows if r[1].endswith(f":{port:04X}")]
        if all(w.endswith(":00000000") for w in waiting):
            return
        time.sleep(0.02)


def start(command, port):
    """A collector that has opened its port."""
    p = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    want = f":{port:04X} "
    for _ in range(200):
        if want in Path("/proc/net/udp").read_text() or want in Path("/proc/net/udp6").read_text():
            break
        time.sleep(0.02)
    time.sleep(0.1)
    return p


def nfdump(datagrams, where, collector="nfcapd"):
    """{key: [packets, octets, flags]}; the collector is nfcapd, or sfcapd for sFlow."""
    port, found = e.free_port(), {}
    with e.workdir() as d:
        p = start([e.find(collector), "-w", d, "-b", "127.0.0.1", "-p", str(port), "-B", "4000000"], port)
        replay(datagrams, port)
        wait_taken(port)
        time.sleep(0.4)
        p.send_signal(signal.SIGTERM)
        p.wait(10)
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


def nfacctd(datagrams, sampling=None, collector="nfacctd", renormalize=False):
    """sampling: a list that gets the sampling rate of every record.  The collector is nfacctd, or sfacctd for sFlow;
    renormalize: it scales what was sampled."""
    port, found = e.free_port(), {}
    with e.workdir() as d:
        Path(f"{d}/conf").write_text(
            f"daemonize: false\n{collector}_ip: 127.0.0.1\n{collector}_port: {port}\nplugins: print\nplugin_buffer_size: 102400\n"
            f"plugin_pipe_size: 10240000\naggregate: src_host,dst_host,src_port,dst_port,proto,tcpflags"
            f"{',sampling_rate' if sampling is not None else ''}\n"
            f"print_output: csv\nprint_output_file: {d}/out\nprint_output_file_append: true\nprint_refresh_time: 1\nprint_num_protos: true\n"
            f"print_cache_entries: 16411\n{collector}_disable_checks: true\n"
            f"{f'{collector}_renormalize: true' if renormalize else ''}\n", encoding="utf-8")
        p = start([e.find(collector), "-f", f"{d}/conf"], port)
        replay(datagrams, port)
        wait_taken(port)
        time.sleep(3)
        p.send_signal(signal.SIGINT)
        try:
            p.wait(10)
        except subprocess.TimeoutExpired:  # sfacctd may outlive the signal; what it had was written before
            p.kill()
            p.wait()
        rows = list(csv.DictReader(Path(f"{d}/out").read_text().splitlines())) if Path(f"{d}/out").exists() else []
    for row in rows:
        if sampling is not None:
            sampling.append(int(row["SAMPLING_RATE"]))
        proto = row["PROTOCOL"]
        number = int(proto) if proto.isdigit() else {"icmp": 1, "tcp": 6, "udp": 17, "ipv6-icmp": 58, "sctp": 132}.get(proto, -1)
        e.add(found, (row["SRC_IP"], row["DST_IP"], number, int(row["SRC_PORT"]), int(row["DST_PORT"])),
              int(row["PACKETS"]), int(row["BYTES"]), int(row["TCP_FLAGS"]) if number == 6 else 0)
    return found
