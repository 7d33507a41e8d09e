#!/usr/bin/env python3
"""Collectors on UDP while the path to them changes: the host's own address, the device, the route; and what they are told
of interfaces that change their names and numbers."""
import contextlib
import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import e2elib as e
from transportlib import make_certificates

SINK = """
import socket, sys, threading
def streams():
    listener = socket.socket()
    listener.bind(("", 4739))
    listener.listen()
    while True:
        who = listener.accept()
        kept.append(who)
        out.write(f"tcp {who[1][0]} {who[1][1]} {who[0].recv(65535).hex()}\\n")
kept = []
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 4739))
with open(sys.argv[1], "w", buffering=1) as out:
    threading.Thread(target=streams, daemon=True).start()
    while True:
        data, who = s.recvfrom(65535)
        out.write(f"{who[0]} {who[1]} {data.hex()}\\n")
"""


def ip(*words):
    subprocess.run([e.find("ip"), *words], check=True)


def remove(device):
    """Whether it is still there or went with the namespace of its peer, which the kernel takes down when it likes."""
    subprocess.run([e.find("ip"), "link", "del", device], check=False, capture_output=True)


def heard(path):
    return [line.split() for line in Path(path).read_text().splitlines() if line.count(" ") == 2]


@contextlib.contextmanager
def neighbour(path, *links):
    """A host in a namespace of its own with a collector on 10.9.9.9, which writes what it hears to path; links are
    (ours, theirs, our address or None, their address)."""
    there = subprocess.Popen([sys.executable, "-c", SINK, path], preexec_fn=lambda: ctypes.CDLL(None).unshare(0x40000000))

    def theirs(*commands):
        for command in commands:
            subprocess.run([e.find("nsenter"), "-n", "-t", str(there.pid), *command.split()], check=True)

    def link(ours, peer, address, peer_address):
        ip("link", "add", ours, "type", "veth", "peer", "name", peer, "netns", str(there.pid))
        theirs(f"ip addr add {peer_address} dev {peer}", f"ip link set {peer} up")
        if address:
            ip("addr", "add", address, "dev", ours)
        ip("link", "set", ours, "up")

    try:
        e.wait(lambda: os.path.exists(path), "no sink")
        ip("link", "set", "lo", "up")
        theirs("ip link set lo up", "ip addr add 10.9.9.9/32 dev lo")
        for words in links:
            link(*words)
        theirs.pid = there.pid
        yield theirs, link
    finally:
        there.kill()
        there.wait()
        for ours, *_ in links:
            remove(ours)


@contextlib.contextmanager
def pitot(d, *args, captured="lo"):
    """Runs live; .stop() gives what it said and its statistics."""
    p = subprocess.Popen([e.PITOT, *(["-i", captured] if captured else []), "--stats", f"{d}/s", "--stay-root", *args],
                         stderr=open(f"{d}/err", "wb"))

    def stop():
        p.send_signal(signal.SIGTERM)
        p.wait(60)
        err = Path(f"{d}/err").read_text()
        e.check(p.returncode in (0, 1) and not e.sanitizer(err.encode()), f"{p.returncode} {err}")
        s = e.statistics(f"{d}/s")
        e.check_ledger("path", s)
        return err, s
    p.stop = stop
    try:
        yield p
    finally:
        p.kill()
        p.wait()


def begins_anew(messages):
    """Sequence number 0, templates."""
    return bool(messages) and messages[0][8:12] == bytes(4) and messages[0][16:18] == b"\0\2"


def address_changes(d):
    """The host gets another address: the socket that sent from the old one is given up, and a session begins."""
    with neighbour(f"{d}/heard", ("here", "there", "10.9.0.1/24", "10.9.0.2/24")), \
            pitot(d, "-n", "10.9.0.2:4739", "--template-refresh", "1") as p:
        e.wait(lambda: len(heard(f"{d}/heard")) > 2, "nothing came to begin with")
        ip("addr", "add", "10.9.0.3/24", "dev", "here")
        ip("addr", "del", "10.9.0.1/24", "dev", "here")
        ip("addr", "replace", "10.9.0.3/24", "dev", "here")  # which went with the first one
        e.wait(lambda: any(h[0] == "10.9.0.3" for h in heard(f"{d}/heard")), "nothing came from the new address")
        _, s = p.stop()
    messages = [bytes.fromhex(h[2]) for h in heard(f"{d}/heard") if h[0] == "10.9.0.3"]
    e.check(begins_anew(messages), f"the session from the new address does not begin with templates and 0: {messages[:1]}")
    e.check(s["collectors"][0]["sessions"] == 2, "not a session for each address")


def uplink_goes(d):
    """Two uplinks; the better one goes, and its address with it.  Nothing fails: only the route tells.  --source stays."""
    for source in ([], ["--source", "10.9.1.1"]):
        path = f"{d}/heard-{len(source)}"
        with neighbour(path, ("up1", "t1", "10.9.1.1/24", "10.9.1.2/24"), ("up2", "t2", "10.9.2.1/24", "10.9.2.2/24")) as (theirs, _), \
                pitot(d, "-n", "10.9.9.9:4739", "--template-refresh", "1", *source) as p:
            # whatever has the first address comes to both: only its source tells
            theirs("ip route add 10.9.1.1/32 via 10.9.2.1 metric 20")
            ip("route", "add", "default", "via", "10.9.1.2", "metric", "10")
            ip("route", "add", "default", "via", "10.9.2.2", "metric", "20")
            e.wait(lambda: any(h[0] == "10.9.1.1" for h in heard(path)), "nothing came by the first uplink")
            ip("route", "del", "default", "via", "10.9.1.2", "metric", "10")
            ip("link", "set", "up1", "down")
            first = len(heard(path))
            if not source:
                e.wait(lambda: any(h[0] == "10.9.2.1" for h in heard(path)), "the first uplink's address is kept")
            else:
                e.wait(lambda: len(heard(path)) > first + 2, "nothing comes from --source by the second uplink")
            p.stop()
        messages = [bytes.fromhex(h[2]) for h in heard(path) if h[0] == "10.9.2.1"]
        e.check(not messages if source else begins_anew(messages), f"from the second address: {messages[:1]}")
        ports = {h[1] for h in heard(path)}
        e.check(len(ports) == (1 if source else 2), f"source ports {ports}")


def uplink_goes_under_dtls(d):
    """Nothing is acknowledged there either."""
    if b"built without TLS" in e.run("-r", e.DATA / "web.pcap", "-n", "ipfix+dtls://127.0.0.1:9", "--stop-timeout", "0").stderr:
        e.skip_part("pitot was built without TLS")
        return
    make_certificates(d)
    with neighbour(f"{d}/heard", ("up1", "t1", "10.9.1.1/24", "10.9.1.2/24"), ("up2", "t2", "10.9.2.1/24", "10.9.2.2/24")) as (theirs, _):
        there = subprocess.Popen([e.find("nsenter"), "-n", "-t", str(theirs.pid), e.find("openssl"), "s_server", "-dtls1_2", "-accept",
                                  "10.9.9.9:4740", "-cert", f"{d}/good.pem", "-key", f"{d}/good.key", "-quiet"],
                                 stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ip("route", "add", "default", "via", "10.9.1.2", "metric", "10")
        ip("route", "add", "default", "via", "10.9.2.2", "metric", "20")
        with pitot(d, "-n", "ipfix+dtls://10.9.9.9:4740", "--tls-ca", f"{d}/ca.pem", "--tls-name", "localhost", "--reconnect", "1") as p:
            def connected(address):
                return f"{address}:" in subprocess.run([e.find("ss"), "-Hun"], capture_output=True, text=True, check=False).stdout
            e.wait(lambda: connected("10.9.1.1"), "DTLS: no session by the first uplink")
            ip("route", "del", "default", "via", "10.9.1.2", "metric", "10")
            ip("link", "set", "up1", "down")
            e.wait(lambda: connected("10.9.2.1") and not connected("10.9.1.1"), "DTLS: the first uplink's address is kept")
            p.stop()
        there.kill()
        there.wait()


def route_comes(d):
    """No route at the start: the collector is reached as soon as there is one."""
    with neighbour(f"{d}/heard") as (_, link), pitot(d, "-n", "10.9.9.9:4739", "-n", "ipfix+tcp://10.9.9.9:4739") as p:
        e.wait(lambda: "Network is unreachable" in Path(f"{d}/err").read_text(), "a missing route is not told")
        began = time.monotonic()
        link("vx", "vt", "10.9.3.1/24", "10.9.3.2/24")
        ip("route", "add", "10.9.9.9/32", "via", "10.9.3.2")
        e.wait(lambda: heard(f"{d}/heard"), "nothing came although there is a route")
        e.wait(lambda: "tcp 10.9.3.1" in Path(f"{d}/heard").read_text(), "nothing came over TCP although there is a route")
        e.check(time.monotonic() - began < 20, "the route's event did not do it")
        p.stop()
    remove("vx")


def device_comes(d):
    """No device and no source address at the start; then there is one, and it is made anew."""
    with neighbour(f"{d}/heard") as (_, link), \
            pitot(d, "-n", "10.9.9.9:4739", "--bind-device", "vx", "--source", "10.9.3.1", "--template-refresh", "1") as p:
        e.wait(lambda: "--bind-device vx: no such interface" in Path(f"{d}/err").read_text(), "a missing device is not told")
        link("vx", "vt", None, "10.9.3.2/24")
        e.wait(lambda: "--source 10.9.3.1: not an address" in Path(f"{d}/err").read_text(), "a missing address is not told")
        ip("addr", "add", "10.9.3.1/24", "dev", "vx")
        ip("route", "add", "10.9.9.9/32", "via", "10.9.3.2")
        e.wait(lambda: heard(f"{d}/heard"), "nothing came although all is there")
        device_made_anew(d, p, link)
    remove("vx")


def device_made_anew(d, p, link):
    for made_anew in range(2):
        told = Path(f"{d}/err").read_text().count("vx: no such interface")
        sessions = {h[1] for h in heard(f"{d}/heard")}
        ip("link", "del", "vx")
        e.wait(lambda: Path(f"{d}/err").read_text().count("vx: no such interface") > told, "a device that went is not told")
        link("vx", f"vt{made_anew}", "10.9.3.1/24", "10.9.3.2/24")
        ip("route", "add", "10.9.9.9/32", "via", "10.9.3.2")
        e.wait(lambda: {h[1] for h in heard(f"{d}/heard")} - sessions, "nothing comes by the device that was made anew")
    err, s = p.stop()
    c = s["collectors"][0]
    e.check(c["state"] == "up" and c["errors"] < 60, f"errors are not paced: {c}")
    e.check(err.count("reached again") >= 3, f"the device's return is not told:\n{err}")


def no_room(d):
    """A queue of the system that is full is waited for, and what is lost at last has the error's name."""
    with open(f"{d}/many.pcap", "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 262144, 101))
        for i in range(4000):
            packet = struct.pack("!BBHHHBBHII", 0x45, 0, 40, i, 0, 64, 17, 0, 0xc0000201, 0xc6336400 + i)
            packet += struct.pack("!HHHH", 4000, 5000, 20, 0) + bytes(12)
            f.write(struct.pack("<IIII", 1_700_000_000, 0, len(packet), len(packet)) + packet)
    with neighbour(f"{d}/heard", ("here", "there", "10.9.0.1/24", "10.9.0.2/24")):
        subprocess.run([e.find("tc"), "qdisc", "add", "dev", "here", "root", "tbf", "rate", "2mbit", "burst", "2kb", "limit", "4kb"],
                       check=True)
        got = e.run("-q", "-r", f"{d}/many.pcap", "-n", "10.9.0.2:4739", "--stats", f"{d}/s")
        c = e.statistics(f"{d}/s")["collectors"][0]
        e.check(got.returncode == 0 and c["not_sent"]["records"] == 0 and c["records"] == 4000, f"no room: {got} {c}")
        e.wait(lambda: len(heard(f"{d}/heard")) == c["messages"],
               lambda: f"{len(heard(f'{d}/heard'))} of {c['messages']} messages came through a narrow queue")
        subprocess.run([e.find("tc"), "qdisc", "replace", "dev", "here", "root", "pfifo", "limit", "0"], check=True)
        got = e.run("-q", "-r", f"{d}/many.pcap", "-n", "10.9.0.2:4739", "--stats", f"{d}/s")
        c = e.statistics(f"{d}/s")["collectors"][0]
        e.check(got.returncode == 1 and b"No buffer space available: 4000 of 4000" in got.stderr and c["errors"] > 0 and
                c["not_sent"]["records"] == 4000, f"no room at all: {got} {c}")


def last_names(path):
    """{index: name} as the interface options of the latest messages say."""
    found, template = {}, None
    for h in heard(path):
        message, at = bytes.fromhex(h[2]), 16
        sets, fresh = [], False
        while at + 4 <= len(message):
            set_id, size = struct.unpack_from("!HH", message, at)
            sets.append((set_id, message[at + 4:at + size]))
            at += size
        for set_id, body in sets:
            if set_id == 3 and struct.unpack_from("!H", body, 6)[0] == 10:
                template = struct.unpack_from("!H", body)[0]
            elif set_id == template:
                if not fresh:
                    found, fresh = {}, True
                while len(body) > 5:
                    index, n = struct.unpack_from("!IB", body)
                    found[index] = body[5:5 + n].decode()
                    body = body[5 + n + 1 + body[5 + n]:]
    return found


def index_of(name):
    return socket.if_nametoindex(name)


def names_follow(d):
    """An interface is renamed, and another deleted and made anew: collectors are told, and records have the names."""
    def make(a, b, peer):
        ip("link", "add", a, "type", "veth", "peer", "name", b)
        for name in (a, b):
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
            ip("link", "set", name, "up")
        ip("addr", "add", f"10.8.{peer}.1/24", "dev", a)
        ip("neigh", "add", f"10.8.{peer}.2", "lladdr", "02:00:00:00:00:02", "dev", a)

    def talk(peer):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"x", (f"10.8.{peer}.2", 9))

    make("na", "nb", 1)
    make("nc", "nd", 2)
    with neighbour(f"{d}/heard", ("here", "there", "10.9.0.1/24", "10.9.0.2/24")), \
            pitot(d, "-i", "na", "-i", "nc", "-n", "10.9.0.2:4739", "-n", f"json:{d}/j", "-t", "active=1,inactive=1",
                  "--template-refresh", "3600", "--fields", "standard,interfaceName", captured=None) as p:
        was = index_of("nc")
        e.wait(lambda: last_names(f"{d}/heard") == {index_of("na"): "na", was: "nc"}, "names at the start")
        ip("link", "set", "na", "down")  # a name may be changed at rest only
        ip("link", "set", "na", "name", "lan0")
        ip("link", "set", "lan0", "up")
        e.wait(lambda: last_names(f"{d}/heard") == {index_of("lan0"): "lan0", was: "nc"},
               lambda: f"the new name is not told: {last_names(f'{d}/heard')}")
        ip("link", "del", "nc")
        ip("link", "add", "between", "type", "veth", "peer", "name", "between1")  # takes the next numbers
        make("nc", "nd", 2)
        e.check(index_of("nc") != was, "this test needs another number")
        e.wait(lambda: last_names(f"{d}/heard") == {index_of("lan0"): "lan0", index_of("nc"): "nc"},
               lambda: f"the new number is not told: {last_names(f'{d}/heard')}")
        now = index_of("nc")
        ip("neigh", "replace", "10.8.1.2", "lladdr", "02:00:00:00:00:02", "dev", "lan0")

        def exported():
            talk(1)
            talk(2)
            rows = [line for line in (Path(f"{d}/j").read_text()).splitlines()
                    if line.endswith("}")]
            return {(r["egressInterface"], r["interfaceName"]) for r in map(e.json.loads, rows)} >= {
                (index_of("lan0"), "lan0"), (now, "nc")}
        e.wait(exported, "records of packets that were sent do not have the interface's name")
        p.stop()
    for name in ("lan0", "nc", "between"):
        ip("link", "del", name)


def collector_moves(d):
    """A collector that refuses datagrams is looked up again: its name may mean another host now."""
    libc = ctypes.CDLL(None)
    hosts = Path(f"{d}/hosts")
    hosts.write_text("127.0.0.2 collector.test\n")
    os.chmod(d, 0o755)
    if libc.unshare(0x20000) != 0:  # CLONE_NEWNS
        e.skip_part("no mount namespace")
        return
    if subprocess.run(["mount", "--make-rprivate", "/"], check=False, capture_output=True).returncode:
        e.skip_part("/ is no mount point here (chroot): a file for the names of hosts would be seen outside")
        return
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)
    ip("link", "set", "lo", "up")
    before, after = e.Sink("127.0.0.2"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    after.bind(("127.0.0.3", before.port))
    after.settimeout(15)
    p = subprocess.Popen([e.PITOT, "-i", "lo", "-n", f"collector.test:{before.port}", "--template-refresh", "1"],
                         stderr=subprocess.PIPE)
    e.wait(lambda: before.datagrams, "moves: nothing came to begin with")
    hosts.write_text("127.0.0.3 collector.test\n")
    before.stop()
    try:
        e.check(after.recv(65535)[8:12] == bytes(4), "moves: the session does not begin with 0")
    except socket.timeout:
        e.check(False, "moves: nothing came where the collector is now")
    p.terminate()
    _, err = p.communicate(timeout=60)
    e.check(not e.sanitizer(err), f"moves: {err!r}")
    after.close()


if not e.have("ip", "nsenter", "tc", "ss", "openssl"):
    e.skip("ip, nsenter, tc, ss and openssl are needed")
if ctypes.CDLL(None).unshare(0x40000000) != 0:  # CLONE_NEWNET
    e.skip("needs root")
with e.workdir() as work:
    for part in (address_changes, uplink_goes, uplink_goes_under_dtls, route_comes, device_comes, no_room, names_follow, collector_moves):
        os.mkdir(f"{work}/{part.__name__}")
        part(f"{work}/{part.__name__}")
e.finish()
