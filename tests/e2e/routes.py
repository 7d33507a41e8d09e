#!/usr/bin/env python3
"""A router made of network namespaces: next hop, egress interface and prefix lengths of what it forwards, as the kernel
says it, also after a route has changed; and that nobody asks for it who did not say so."""
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import e2elib as e

FIELDS = ("sourceIPv4Address,destinationIPv4Address,destinationTransportPort,ingressInterface,egressInterface,"
          "ipNextHopIPv4Address,sourceIPv4PrefixLength,destinationIPv4PrefixLength,packetDeltaCount,interfaceName,"
          "egressInterfaceName")
# what sends, in the namespace of the client
SEND = """
import socket, sys
family, to, port = sys.argv[1:]
s = socket.socket(int(family), socket.SOCK_DGRAM)
s.sendto(b"x", (to, int(port)))
"""
NEWNET = 0x40000000


def ip(*words):
    subprocess.run([e.find("ip"), *words], check=True)


def sysctl(path, value):
    Path("/proc/sys/net", path).write_text(str(value))


@contextlib.contextmanager
def host(ours, number):
    """A namespace with one interface, 10.NUMBER.0.2 and fd0NUMBER::2; ours is 10.NUMBER.0.1 on the interface `ours`."""
    there = subprocess.Popen(["sleep", "1000"], preexec_fn=lambda: ctypes.CDLL(None).unshare(NEWNET))

    def inside(*command, check=True):
        return subprocess.run([e.find("nsenter"), "-n", "-t", str(there.pid), *command], check=check, capture_output=not check)

    try:
        e.wait(lambda: os.readlink(f"/proc/{there.pid}/ns/net") != os.readlink("/proc/self/ns/net"), "no namespace")
        ip("link", "add", ours, "type", "veth", "peer", "name", "eth0", "netns", str(there.pid))
        inside("sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/eth0/disable_ipv6")
        for command in (f"addr add 10.{number}.0.2/24 dev eth0", f"addr add fd0{number}::2/64 dev eth0 nodad",
                        "link set lo up", "link set eth0 up", f"route add default via 10.{number}.0.1",
                        f"-6 route add default via fd0{number}::1"):
            inside(e.find("ip"), *command.split())
        sysctl(f"ipv6/conf/{ours}/disable_ipv6", 0)
        ip("addr", "add", f"10.{number}.0.1/24", "dev", ours)
        ip("addr", "add", f"fd0{number}::1/64", "dev", ours, "nodad")
        ip("link", "set", ours, "up")
        yield inside
    finally:
        there.kill()
        there.wait()


class Pitot:
    def __init__(self, d, *args):
        self.out = f"{d}/flows"
        self.err = f"{d}/err"
        self.p = subprocess.Popen([e.PITOT, "-n", f"json:{self.out}", "-t", "active=1,inactive=1", "--stats", f"{d}/s", *args],
                                  stderr=open(self.err, "wb"))
        self.stats = f"{d}/s"

    def rows(self):
        for path in (self.out + ".part", self.out):
            if os.path.exists(path):
                return [json.loads(line) for line in Path(path).read_text().splitlines() if line.endswith("}")]
        return []

    def stop(self):
        self.p.send_signal(signal.SIGTERM)
        self.p.wait(60)
        err = Path(self.err).read_bytes()
        e.check(self.p.returncode == 0 and not e.sanitizer(err), f"{self.p.returncode} {err}")
        e.check_ledger("routes", e.statistics(self.stats))


def show(row, names):
    return {k: row.get(k) for k in names}


def expect(p, send, key, wanted, what):
    """Sends until a record of key (port, ingress known?) has what is wanted; every record after that has it, too."""
    def found():
        send()
        return [r for r in p.rows() if all(r.get(k) == v for k, v in key.items())
                and all(r.get(k) == v for k, v in wanted.items())]

    def told():
        rows = [show(r, wanted) for r in p.rows() if all(r.get(k) == v for k, v in key.items())]
        return f"{what}: {rows[-2:]}, not {wanted}"
    e.wait(found, told)


def index(name):
    return socket.if_nametoindex(name)


def forwards(d):
    """What comes in by in0 leaves by out1, then by out2; seen on its way in, and on its way out by out1."""
    with host("in0", 1) as client, host("out1", 2), host("out2", 3):
        def sender(family, to, port):
            return lambda: client("python3", "-c", SEND, str(int(family)), to, str(port))
        ip("route", "add", "10.9.0.0/16", "via", "10.2.0.2")
        ip("route", "add", "10.9.7.0/24", "via", "10.3.0.2")
        ip("route", "add", "fd09::/48", "via", "fd02::2")
        ip("route", "add", "unreachable", "10.66.0.0/16")
        p = Pitot(d, "-i", "in0", "-i", "out1", "--fields", FIELDS)
        v4, v6 = socket.AF_INET, socket.AF_INET6
        try:
            came = {"ingressInterface": index("in0"), "interfaceName": "in0"}
            expect(p, sender(v4, "10.9.1.1", 1001), {"destinationTransportPort": 1001, **came},
                   {"egressInterface": index("out1"), "egressInterfaceName": "out1", "ipNextHopIPv4Address": "10.2.0.2",
                    "sourceIPv4PrefixLength": 24, "destinationIPv4PrefixLength": 16}, "coming in")
            expect(p, sender(v4, "10.9.1.1", 1001), {"destinationTransportPort": 1001, "ingressInterface": 0},
                   {"egressInterface": index("out1"), "egressInterfaceName": "out1", "ipNextHopIPv4Address": "10.2.0.2",
                    "sourceIPv4PrefixLength": 24, "destinationIPv4PrefixLength": 16}, "going out")
            expect(p, sender(v4, "10.9.7.1", 1002), {"destinationTransportPort": 1002, **came},
                   {"egressInterface": index("out2"), "egressInterfaceName": "out2", "ipNextHopIPv4Address": "10.3.0.2",
                    "destinationIPv4PrefixLength": 24}, "a longer prefix, by an interface that is not captured")
            expect(p, sender(v4, "10.2.0.2", 1003), {"destinationTransportPort": 1003, **came},
                   {"egressInterface": index("out1"), "ipNextHopIPv4Address": "0.0.0.0",
                    "destinationIPv4PrefixLength": 24}, "on the link")
            expect(p, sender(v4, "10.1.0.1", 1004), {"destinationTransportPort": 1004, **came},
                   {"egressInterface": 0, "egressInterfaceName": "", "ipNextHopIPv4Address": "0.0.0.0",
                    "destinationIPv4PrefixLength": 32}, "to the router itself")
            expect(p, sender(v4, "10.66.0.1", 1005), {"destinationTransportPort": 1005, **came},
                   {"egressInterface": 0, "ipNextHopIPv4Address": "0.0.0.0"}, "to nowhere")
            expect(p, sender(v6, "fd09::1", 1006), {"destinationTransportPort": 1006, **came},
                   {"egressInterface": index("out1"), "ipNextHopIPv6Address": "fd02::2", "sourceIPv6PrefixLength": 64,
                    "destinationIPv6PrefixLength": 48}, "IPv6")
            # the same flows by other ways
            ip("route", "replace", "10.9.0.0/16", "via", "10.3.0.2")
            ip("route", "replace", "fd09::/48", "via", "fd03::2")
            expect(p, sender(v4, "10.9.1.1", 1001), {"destinationTransportPort": 1001, **came},
                   {"egressInterface": index("out2"), "egressInterfaceName": "out2", "ipNextHopIPv4Address": "10.3.0.2",
                    "destinationIPv4PrefixLength": 16}, "after the route was changed")
            expect(p, sender(v6, "fd09::1", 1006), {"destinationTransportPort": 1006, **came},
                   {"egressInterface": index("out2"), "ipNextHopIPv6Address": "fd03::2"}, "IPv6 after the route was changed")
            # and when it is gone
            ip("route", "del", "10.9.7.0/24")
            ip("route", "replace", "10.9.0.0/16", "via", "10.2.0.2")
            expect(p, sender(v4, "10.9.7.1", 1002), {"destinationTransportPort": 1002, **came},
                   {"egressInterface": index("out1"), "ipNextHopIPv4Address": "10.2.0.2",
                    "destinationIPv4PrefixLength": 16}, "after the longer prefix went")
            # a rule
            ip("route", "add", "default", "via", "10.3.0.2", "table", "100")
            ip("rule", "add", "from", "10.1.0.2", "to", "10.9.3.0/24", "table", "100")
            expect(p, sender(v4, "10.9.3.1", 1007), {"destinationTransportPort": 1007, **came},
                   {"egressInterface": index("out2"), "ipNextHopIPv4Address": "10.3.0.2",
                    "destinationIPv4PrefixLength": 0}, "by a rule")
        finally:
            p.stop()
        for r in p.rows():
            known = "ipNextHopIPv4Address" in r or "ipNextHopIPv6Address" in r
            e.check(known and "egressInterface" in r, f"a record without the fields: {r}")


def renumbered(d):
    """Interfaces that are exported by numbers of the user's choice: the system is asked by its own."""
    with host("in0", 1) as client, host("out1", 2):
        ip("route", "add", "10.9.0.0/16", "via", "10.2.0.2")
        p = Pitot(d, "-i", "501:in0", "-i", "502:out1", "--fields", FIELDS)
        try:
            expect(p, lambda: client("python3", "-c", SEND, "2", "10.9.1.1", "1001"),
                   {"destinationTransportPort": 1001, "ingressInterface": 501},
                   {"egressInterface": 502, "egressInterfaceName": "out1", "ipNextHopIPv4Address": "10.2.0.2",
                    "sourceIPv4PrefixLength": 24, "destinationIPv4PrefixLength": 16}, "with numbers of one's own")
        finally:
            p.stop()


def several_next_hops(d):
    """Of a route with two next hops each flow has the one that its packets take."""
    with host("in0", 1) as client, host("out1", 2), host("out2", 3):
        sysctl("ipv4/fib_multipath_hash_policy", 1)
        ip("route", "add", "10.9.0.0/16", "nexthop", "via", "10.2.0.2", "nexthop", "via", "10.3.0.2")
        p = Pitot(d, "-i", "in0", "-i", "out1", "-i", "out2", "--fields",
                  FIELDS.replace("destinationTransportPort", "destinationTransportPort,sourceTransportPort"))
        try:
            def both():
                for port in range(2000, 2016):
                    client("python3", "-c", SEND, "2", "10.9.1.1", str(port))
                said, took = {}, {}
                for r in p.rows():
                    flow = r["destinationTransportPort"], r["sourceTransportPort"]
                    if r.get("destinationIPv4Address") == "10.9.1.1":
                        (said if r["ingressInterface"] else took)[flow] = (r["egressInterface"], r["ipNextHopIPv4Address"])
                known = said.keys() & took.keys()
                both.wrong = [(f, said[f], took[f]) for f in known if said[f][0] != took[f][0]]
                return len(known) >= 16 and len({said[f] for f in known}) == 2
            e.wait(both, "flows do not go by both next hops")
            e.check(both.wrong == [], f"(flow, as was said, as it went): {both.wrong[:3]}")
        finally:
            p.stop()


def nobody_asked(d):
    """By default the exporting process has no rtnetlink socket, and a packet that comes in has no egress interface."""
    with host("in0", 1) as client, host("out1", 2):
        ip("route", "add", "10.9.0.0/16", "via", "10.2.0.2")
        p = Pitot(d, "-i", "in0")
        try:
            expect(p, lambda: client("python3", "-c", SEND, "2", "10.9.1.1", "1001"),
                   {"destinationTransportPort": 1001, "ingressInterface": index("in0")}, {"egressInterface": 0}, "by default")
            exporting = e.roles(p.p.pid)["pitot-exporting"]
            inodes = {line.split()[9] for line in Path(f"/proc/{exporting}/net/netlink").read_text().splitlines()[1:]}
            fds = [os.readlink(f"/proc/{exporting}/fd/{fd}") for fd in os.listdir(f"/proc/{exporting}/fd")]
            e.check(not any(f"socket:[{i}]" in fds for i in inodes), "the exporting process has an rtnetlink socket")
        finally:
            p.stop()
    r = e.run("-r", Path(e.ROOT, "tests/data/web.pcap"), "-n", f"json:{d}/file", "--fields",
              "sourceIPv4Address,ipNextHopIPv4Address,egressInterface")
    e.check(r.returncode == 0, f"{r.stderr}")
    e.check("ipNextHop" not in Path(f"{d}/file").read_text(), "a savefile has next hops of this host")


if not e.have("ip", "nsenter", "python3"):
    e.skip("ip and nsenter are needed")
with e.workdir() as work:
    for part in (forwards, renumbered, several_next_hops, nobody_asked):
        if ctypes.CDLL(None).unshare(NEWNET) != 0:
            e.skip("needs root")
        ip("link", "set", "lo", "up")
        sysctl("ipv4/ip_forward", 1)
        sysctl("ipv6/conf/all/forwarding", 1)
        os.mkdir(f"{work}/{part.__name__}")
        part(f"{work}/{part.__name__}")
e.finish()
