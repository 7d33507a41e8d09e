#!/usr/bin/env python3
"""Live capture, end to end: packets sent into veth pairs = packets in the exported records = the ledger.

    live.py PITOT [SRCROOT]        live.py --pitot PITOT [--only NAME]

Makes a network namespace of its own and virtual interfaces in it (rtnetlink, no tools needed), runs pitot on
them, sends frames from the other ends, and counts.  Prints `ok NAME` or `FAIL NAME why` for each scenario.
Exit status: 0 all ok, 1 not, 77 no privilege for a namespace.  XDP is skipped, and why is printed, where the program
or the kernel has none.  With CI=true either is a failure.
"""

import argparse
import collections
import contextlib
import ctypes
import errno
import fcntl
import ipaddress
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from counters import SharedCounters

METHODS = ("afpacket", "pcap")
DEADLINE_S = 60

# ---- the test bed: a namespace, and interfaces in it


def enter_namespace():
    """None, or why there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    clone_newuser, clone_newnet = 0x10000000, 0x40000000
    uid, gid = os.geteuid(), os.getegid()
    if libc.unshare(clone_newnet) == 0:
        return None
    if libc.unshare(clone_newuser | clone_newnet) != 0:
        return os.strerror(ctypes.get_errno())
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as f:
            f.write(text)
    return None


def without_neighbour_discovery():
    """It would be packets too; of the interfaces that are made from now on.  A kernel may have no IPv6."""
    for conf in ("default", "all"):
        with contextlib.suppress(FileNotFoundError):
            with open(f"/proc/sys/net/ipv6/conf/{conf}/disable_ipv6", "w", encoding="ascii") as f:
                f.write("1")


def enter_quiet_namespace():
    """enter_namespace(), and lo is up, and no packets are there but the test's."""
    why = enter_namespace()
    if not why:
        without_neighbour_discovery()
        set_up("lo")
    return why


def attribute(kind, data):
    length = 4 + len(data)
    return struct.pack("=HH", length, kind) + data + bytes(-length % 4)


def rtnetlink(kind, flags, body):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as s:
        s.bind((0, 0))
        s.send(struct.pack("=IHHII", 16 + len(body), kind, flags | 5, 1, 0) + body)  # REQUEST | ACK
        error = struct.unpack_from("=i", s.recv(65536), 16)[0]
    if error:
        raise OSError(-error, os.strerror(-error))


def named(n):
    return attribute(3, n.encode() + b"\0")  # IFLA_IFNAME


def add_link(name, kind, data):
    info = attribute(1, kind) + attribute(2, data)  # IFLA_INFO_KIND, IFLA_INFO_DATA
    rtnetlink(16, 0x600, bytes(16) + named(name) + attribute(18, info))  # NEWLINK, CREATE | EXCL, IFLA_LINKINFO


def add_veth(a, b):
    add_link(a, b"veth", attribute(1, bytes(16) + named(b)))  # VETH_INFO_PEER
    set_up(a)
    set_up(b)
    wait_running(a, b)


def add_bridge(name):
    """One that listens to no multicast: it would tell its ports so, by IGMP, at some time in its first seconds."""
    add_link(name, b"bridge", attribute(23, b"\0"))  # IFLA_BR_MCAST_SNOOPING


def flags_of(name):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        return struct.unpack_from("=H", fcntl.ioctl(s, 0x8913, struct.pack("=16sH22x", name.encode(), 0)), 16)[0]


def wait_running(*names):
    """Until frames pass: the kernel sees to the carrier later, up to a second."""
    end = time.monotonic() + DEADLINE_S
    while not all(flags_of(n) & 0x40 for n in names) and time.monotonic() < end:
        time.sleep(0.01)


def delete_link(name):
    rtnetlink(17, 0, struct.pack("=BxHiII", 0, 0, socket.if_nametoindex(name), 0, 0))


def set_up(name, up=True):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        flags = flags_of(name)
        fcntl.ioctl(s, 0x8914, struct.pack("=16sH22x", name.encode(), flags | 1 if up else flags & ~1))


@contextlib.contextmanager
def links(*pairs):
    for a, b in pairs:
        add_veth(a, b)
    try:
        yield
    finally:
        for a, _ in pairs:
            with contextlib.suppress(OSError):
                delete_link(a)


# ---- frames and what is expected of them

Flow = collections.namedtuple("Flow", "src dst protocol sport dport vlan")


def frame(flow, payload, inner=None):
    """An Ethernet frame, and its IP length.  flow.vlan is the outermost tag."""
    if flow.protocol == 17:
        transport = struct.pack("!HHHH", flow.sport, flow.dport, 8 + payload, 0)
    else:
        transport = struct.pack("!HHIIBBHHH", flow.sport, flow.dport, 1, 0, 0x50, 0x18, 512, 0, 0)
    transport += bytes(payload)
    src, dst = ipaddress.ip_address(flow.src), ipaddress.ip_address(flow.dst)
    if src.version == 4:
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(transport), 1, 0, 64, flow.protocol, 0)
        ether = 0x0800
    else:
        header = struct.pack("!IHBB", 6 << 28, len(transport), flow.protocol, 64)
        ether = 0x86DD
    packet = header + src.packed + dst.packed + transport
    link = b"\x02\0\0\0\0\x02" + b"\x02\0\0\0\0\x01"
    if flow.vlan:
        link += struct.pack("!HH", 0x88A8 if inner else 0x8100, flow.vlan)
    if inner:
        link += struct.pack("!HH", 0x8100, inner)
    return link + struct.pack("!H", ether) + packet, len(packet)


def mixture(number, flows=40):
    """Flows of every kind for one interface: (frame, flow, octets) once per flow."""
    out = []
    for i in range(flows):
        kind = i % 6
        # in turn: IPv4; tagged; IPv6; IPv6 tagged; TCP; double tagged
        v6, vlan = kind in (2, 3), (0, 5, 0, 7, 0, 9)[kind]
        net = "2001:db8:%x::%x" if v6 else "10.%d.0.%d"
        flow = Flow(net % (number, 1 + i), net % (number, 2 + i), 6 if kind == 4 else 17, 1000 + i, 53, vlan)
        data, octets = frame(flow, 20 + 10 * (i % 40), 6 if kind == 5 else None)
        out.append((data, flow, octets))
    return out


def sender(name):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    s.bind((name, 0))
    return s


def put(s, data):
    """Sends a frame; when the kernel has no room, again."""
    while True:
        try:
            s.send(data)
            return
        except OSError as e:
            if e.errno != errno.ENOBUFS:
                raise


def send(name, frames, count):
    """Sends count frames, round and round; {flow: (packets, octets)}."""
    expected = collections.defaultdict(lambda: [0, 0])
    with sender(name) as s:
        for i in range(count):
            data, flow, octets = frames[i % len(frames)]
            put(s, data)
            expected[flow][0] += 1
            expected[flow][1] += octets
    return {k: tuple(v) for k, v in expected.items()}


def send_at_once(work):
    """work: (interface, frames, count); all at the same time; the expectations in the order of work."""
    children = []
    for args in work:
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(r)
            status = 1
            try:
                expected = send(*args)
                with os.fdopen(w, "w") as f:
                    json.dump([[list(k), list(v)] for k, v in expected.items()], f)
                status = 0
            finally:
                os._exit(status)
        os.close(w)
        children.append((pid, r))
    out = []
    for pid, r in children:
        with os.fdopen(r) as f:
            out.append({Flow(*k): tuple(v) for k, v in json.load(f)})
        os.waitpid(pid, 0)
    return out


# ---- pitot


class Failure(Exception):
    pass


def check(condition, why):
    if not condition:
        raise Failure(why)


class Pitot:
    FIELDS = ("sourceIPv4Address,destinationIPv4Address,protocolIdentifier,sourceTransportPort,"
              "destinationTransportPort,vlanId,packetDeltaCount,octetDeltaCount,ingressInterface,"
              "egressInterface,flowDirection,flowEndReason")

    def __init__(self, program, folder, *args, collectors=None, fields=True):
        self.folder = folder
        self.json, self.ipfix = os.path.join(folder, "flows.json"), os.path.join(folder, "flows.ipfix")
        self.stats = os.path.join(folder, "stats.json")
        pidfile = os.path.join(folder, "pid")
        # the usual place of the control socket is the machine's, and other tests have interfaces of the same name
        argv = [program, "-p", pidfile, "--stats", self.stats, "--control", "none"]
        for c in collectors or (f"json:{self.json}", f"ipfix+file:{self.ipfix}"):
            argv += ["-n", c]
        if fields:
            argv += ["--fields", self.FIELDS, "-T", "vlan"]
        # appended to: the program has this file's place, too, and said() moves it
        self.stderr = open(os.path.join(folder, "stderr"), "a+")
        self.process = subprocess.Popen(argv + list(args), stdout=subprocess.DEVNULL, stderr=self.stderr)
        end = time.monotonic() + DEADLINE_S
        # the pid file is written when everything is open
        while not (os.path.exists(pidfile) and os.path.getsize(pidfile)):
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise Failure(f"does not start: {self.said()}")
            time.sleep(0.01)

    def said(self):
        self.stderr.seek(0)
        return self.stderr.read().strip()

    def wait_for(self, words):
        end = time.monotonic() + DEADLINE_S
        while words not in self.said():
            check(time.monotonic() < end, f"does not say {words!r}: {self.said()}")
            time.sleep(0.02)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; the statistics."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self):
        try:
            status = self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure("does not end after SIGTERM") from None
        check(status == 0, f"exit status {status}: {self.said()}")
        with open(self.stats) as f:
            return json.load(f)

    def rows(self):
        with open(self.json) as f:
            return [json.loads(line) for line in f]


@contextlib.contextmanager
def running(program, *args, **kw):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        p = Pitot(program, folder, *args, **kw)
        try:
            yield p
        finally:
            p.kill()


def flow_of(row):
    return Flow(row.get("sourceIPv4Address") or row["sourceIPv6Address"],
                row.get("destinationIPv4Address") or row["destinationIPv6Address"],
                row["protocolIdentifier"], row["sourceTransportPort"], row["destinationTransportPort"],
                row.get("vlanId", 0))


def sums(rows, key=flow_of):
    out = collections.defaultdict(lambda: (0, 0))
    for row in rows:
        packets, octets = out[key(row)]
        out[key(row)] = (packets + row["packetDeltaCount"], octets + row["octetDeltaCount"])
    return dict(out)


NAMES = {1: "octetDeltaCount", 2: "packetDeltaCount", 4: "protocolIdentifier", 7: "sourceTransportPort",
         11: "destinationTransportPort", 8: "sourceIPv4Address", 12: "destinationIPv4Address",
         27: "sourceIPv6Address", 28: "destinationIPv6Address", 58: "vlanId", 10: "ingressInterface",
         14: "egressInterface", 136: "flowEndReason"}


def read_ipfix(path):
    """The data records of an IPFIX file (RFC 7011), by another decoder than pitot's."""
    with open(path, "rb") as f:
        octets = f.read()
    templates, rows, at = {}, [], 0
    while at < len(octets):
        version, length = struct.unpack_from("!HH", octets, at)
        check(version == 10 and length >= 16 and at + length <= len(octets), f"no IPFIX message at {at}")
        end, at = at + length, at + 16
        while at < end:
            set_id, set_length = struct.unpack_from("!HH", octets, at)
            check(set_length >= 4 and at + set_length <= end, f"no set at {at}")
            body = octets[at + 4:at + set_length]
            at += set_length
            if set_id == 2:
                read_templates(body, templates)
            elif set_id >= 256 and set_id in templates:
                read_records(body, templates[set_id], rows)
    return rows


def read_templates(body, templates):
    at = 0
    while at + 4 <= len(body):
        template, n = struct.unpack_from("!HH", body, at)
        at += 4
        fields = []
        for _ in range(n):
            element, length = struct.unpack_from("!HH", body, at)
            at += 4
            if element & 0x8000:
                at += 4
            fields.append((element, length))
        templates[template] = fields


def read_records(body, fields, rows):
    size = sum(length for _, length in fields)
    for at in range(0, len(body) - size + 1, size):
        row = {}
        for element, length in fields:
            value = body[at:at + length]
            at += length
            if element in (8, 12, 27, 28):
                value = str(ipaddress.ip_address(value))
            else:
                value = int.from_bytes(value, "big")
            if element in NAMES:
                row[NAMES[element]] = value
        rows.append(row)


def check_ledger(stats, least=None):
    packets = stats["packets"]
    check(stats["ledger"]["balanced"] is True, f"ledger not balanced: {stats}")
    check(packets["received"] == packets["metered"] + sum(packets["ignored"].values()) + packets["unselected"],
          f"received is not the sum: {packets}")
    check(stats["flows"]["active"] == 0 and stats["flows"]["not_sent"] == 0, f"flows left: {stats['flows']}")
    if least is not None:
        check(packets["received"] + packets["dropped_by_kernel"] >= least, f"{least} sent: {packets}")


def difference(got, expected):
    lines = [f"{k}: {got.get(k)} for {expected.get(k)}" for k in sorted(set(got) | set(expected), key=str)
             if got.get(k) != expected.get(k)]
    return f"{len(lines)} flows differ: " + "; ".join(lines[:3])


def check_flows(got, expected):
    check(got == expected, difference(got, expected))


# ---- scenarios


def two_interfaces(program, method):
    """Every kind of packet, both interfaces at once: exact by flow, in both outputs and in the ledger."""
    count = 20000
    with links(("pt0", "pt0p"), ("pt1", "pt1p")):
        with running(program, "--capture", method, "-i", "pt0", "-i", "77:pt1") as p:
            expected = send_at_once([("pt0p", mixture(1), count), ("pt1p", mixture(2), count)])
            stats = p.stop()
            rows = p.rows()
            check("instead" not in p.said(), f"another method: {p.said()}")
            check_ledger(stats)
            check(stats["packets"]["dropped_by_kernel"] == 0, "the kernel dropped packets")
            check(stats["packets"]["metered"] == 2 * count, f"metered {stats['packets']['metered']} of {2 * count}")
            check_flows(sums(rows), {**expected[0], **expected[1]})
            check(sums(read_ipfix(p.ipfix)) == sums(rows), "IPFIX and JSON differ")
            check(sum(r["packetDeltaCount"] for r in rows) == 2 * count, "packets in records")
            check(stats["flows"]["exported"] == len(rows), "records exported")
            if method in ("afpacket", "xdp"):
                index = {1: socket.if_nametoindex("pt0"), 2: 77}
                for r in rows:
                    number = int(flow_of(r).src.replace("2001:db8:", "10.").replace(":", ".").split(".")[1])
                    check((r["ingressInterface"], r["egressInterface"]) == (index[number], 0), f"interface of {r}")


def both_ways(program, method):
    """What an interface sends has it as egress."""
    with links(("pt0", "pt0p")):
        with running(program, "--capture", method, "-i", "pt0") as p:
            expected = send("pt0p", mixture(1), 2000)
            expected.update(send("pt0", mixture(2), 3000))
            stats = p.stop()
            check_ledger(stats)
            check_flows(sums(p.rows()), expected)
            index = socket.if_nametoindex("pt0")
            known = {r.get("flowDirection") for r in p.rows()}
            check(known == ({0, 1} if method == "afpacket" else {None}), f"flowDirection: {known}")
            for r in p.rows() if method == "afpacket" else ():
                sent = flow_of(r).src.startswith(("10.2.", "2001:db8:2:"))
                check((r["ingressInterface"], r["egressInterface"]) == ((0, index) if sent else (index, 0)),
                      f"interface of {r}")


def sigterm_under_load(program, method):
    """What was sent before SIGTERM is in a record, whatever was on its way."""
    for round_ in range(3):
        counter = SharedCounters(2)  # sent; 1: enough
        with links(("pt0", "pt0p")):
            with running(program, "--capture", method, "-i", "pt0") as p:
                frames = mixture(1, 200 + round_)
                pid = os.fork()
                if pid == 0:
                    status = 1
                    try:
                        send_until_told(counter, "pt0p", frames)
                        status = 0
                    except OSError as e:
                        print(f"sending failed: {e}", flush=True)
                    finally:
                        os._exit(status)
                sent_before = loaded(counter, 20000)
                p.process.send_signal(signal.SIGTERM)
                stats = p.wait()
                counter[1] = 1
                ended = os.waitpid(pid, 0)[1]
                sent = counter[0]
                rows = p.rows()
                records = sum(r["packetDeltaCount"] for r in rows)
                dropped = stats["packets"]["dropped_by_kernel"]
                check(ended == 0 and sent_before >= 20000, f"no load: {sent_before} packets, status {ended}")
                check_ledger(stats, sent_before)
                check(records == stats["packets"]["metered"], f"{records} in records: {stats['packets']}")
                check(sent_before <= records + dropped <= sent,
                      f"{records} in records + {dropped} dropped, {sent_before} sent before SIGTERM, {sent} in all")
                check(sums(read_ipfix(p.ipfix)) == sums(rows), "IPFIX and JSON differ")


def loaded(counter, packets):
    """How many have been sent when it is at least as many; less when they do not come."""
    end = time.monotonic() + DEADLINE_S
    while counter[0] < packets and time.monotonic() < end:
        time.sleep(0.01)
    return counter[0]


def send_until_told(counter, name, frames):
    n = 0
    with sender(name) as s:
        while not counter[1]:
            put(s, frames[n % len(frames)][0])
            n += 1
            counter[0] = n


def filters(program, method):
    cases = (
        ("vlan 5", lambda f: f.vlan == 5),
        ("not port 53", lambda f: False),
        ("ip6", lambda f: ":" in f.src),
        ("udp and host 10.1.0.1", lambda f: "10.1.0.1" in (f.src, f.dst)),
    )
    counts = method == "xdp" or not without_counting(program)
    frames = mixture(1)
    with links(("pt0", "pt0p")):
        for text, passes in cases:
            with running(program, "--capture", method, "-i", "pt0", *text.split()) as p:
                expected = send("pt0p", frames, 4000)
                stats = p.stop()
                check_ledger(stats)
                want = {k: v for k, v in expected.items() if passes(k)}
                got = sums(p.rows())
                check(got == want, f"filter {text!r}: {difference(got, want)}")
                rejected = [f for i in range(4000) for f in (frames[i % len(frames)],) if not passes(f[1])]
                filtered = (len(rejected), sum(len(data) for data, _, _ in rejected)) if counts else (None, None)
                check((stats["packets"]["filtered"], stats["octets"]["filtered"]) == filtered,
                      f"filter {text!r}: not {filtered} filtered: {stats}")


def expires_while_running(program, method):
    """A record leaves when its flow has been silent, on a link that is silent too, and reaches the file."""
    with links(("pt0", "pt0p")):
        with running(program, "--capture", method, "-i", "pt0", "-t", "inactive=0.5") as p:
            expected = send("pt0p", mixture(1), 400)
            end = time.monotonic() + DEADLINE_S
            while sums(p.rows()) != expected:
                check(time.monotonic() < end, "records do not appear")
                time.sleep(0.1)
            check({r["flowEndReason"] for r in p.rows()} == {1}, "end reason")
            more = send("pt0p", mixture(3), 100)
            check_ledger(p.stop())
            check_flows(sums(p.rows()), {**expected, **more})


def down_and_up(program, method):
    with links(("pt0", "pt0p")):
        with running(program, "--capture", method, "-i", "pt0") as p:
            expected = send("pt0p", mixture(1), 1000)
            time.sleep(0.2)
            set_up("pt0", False)
            p.wait_for("is down or gone")
            check(p.process.poll() is None, f"ended when the link went down: {p.said()}")
            set_up("pt0", True)
            wait_running("pt0", "pt0p")
            p.wait_for("capturing again")
            for flow, (packets, octets) in send("pt0p", mixture(1), 1000).items():
                expected[flow] = (expected[flow][0] + packets, expected[flow][1] + octets)
            stats = p.stop()
            check_ledger(stats)
            check_flows(sums(p.rows()), expected)
            check(len(p.rows()) == len(expected), "a flow did not survive")


def own_export(program, method):
    """What pitot sends itself is no traffic, unless it is asked for."""
    for include in (False, True):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as collector, \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as app:
            collector.bind(("127.0.0.1", 0))
            port = collector.getsockname()[1]
            with running(program, "--capture", method, "-i", "lo", "-t", "inactive=0.3,active=1",
                         *(["--include-own"] if include else []),
                         collectors=(f"ipfix://127.0.0.1:{port}", "json:" + "/dev/stdout"), fields=False) as p:
                for i in range(40):
                    app.sendto(bytes(50), ("127.0.0.1", port))  # the same address and port, another sender
                    time.sleep(0.05)
                stats = p.stop()
            check_ledger(stats)
            packets = stats["packets"]
            own = packets["ignored"].get("own_export", 0)
            check(stats["collectors"][0]["messages"] > 1, "nothing was exported")
            if include:
                check(own == 0 and packets["metered"] > 40, f"not included: {packets}")
            else:
                check(packets["metered"] == 40, f"metered {packets['metered']} of 40")
                check(own > 0, "own export was not seen at all")


def any_interface(program, _method):
    """All interfaces at once.  Tags that the kernel took out are lost there, and of a double tagged frame new
    kernels give the protocol of the IP header and the octets of the tag before it: those are left out."""
    with links(("pt0", "pt0p"), ("pt1", "pt1p")):
        with running(program, "-i", "any", "inbound") as p:
            frames = [[f for f in mixture(n) if f[1].vlan != 9] for n in (1, 2)]
            expected = send_at_once([("pt0p", frames[0], 3000), ("pt1p", frames[1], 3000)])
            stats = p.stop()
            check_ledger(stats)
            check_flows(sums(p.rows()), {k._replace(vlan=0): v for e in expected for k, v in e.items()})


def any_keeps_interfaces_apart(program, _method):
    """The same packets on two interfaces, as a forwarded packet is: a record on each of them."""
    with links(("pt0", "pt0p"), ("pt1", "pt1p")):
        with running(program, "-i", "any", "inbound", "and", "udp", "port", "53") as p:
            data, _flow, _octets = mixture(1, 1)[0]
            for name in ("pt0p", "pt1p"):
                with sender(name) as s:
                    for _ in range(5):
                        put(s, data)
            stats = p.stop()
            check_ledger(stats)
            got = sorted((r["ingressInterface"], r["packetDeltaCount"]) for r in p.rows())
            check(got == sorted((socket.if_nametoindex(n), 5) for n in ("pt0", "pt1")), f"records: {got}")


def refuse(program, args, status, *words, **kw):
    r = subprocess.run([program, *args], capture_output=True, text=True, timeout=DEADLINE_S, **kw)
    check(r.returncode == status, f"{args}: exit status {r.returncode} for {status}: {r.stderr!r}")
    check(r.stderr.count("\n") == 1, f"{args}: not one sentence: {r.stderr!r}")
    for word in words:
        check(word in r.stderr, f"{args}: {word!r} is not in {r.stderr!r}")


def refusals(program, method):
    with links(("pt0", "pt0p")):
        c = ("--capture", method)
        refuse(program, [*c, "-i", "eth9"], 1, "eth9", "does not exist", "pt0", "lo")
        refuse(program, [*c, "-i", "pt0", "tcp porrt 5"], 2, "tcp porrt 5")
        set_up("pt0", False)
        refuse(program, [*c, "-i", "pt0"], 1, "pt0", "is down")
        set_up("pt0")
        if method == "afpacket":
            refuse(program, [*c, "-i", "any"], 1, "--capture pcap")
        # the program may lie where nobody else may go
        with tempfile.TemporaryDirectory() as folder:
            copy = os.path.join(folder, "pitot")
            with open(program, "rb") as f, open(copy, "wb") as g:
                g.write(f.read())
            os.chmod(copy, 0o755)
            os.chmod(folder, 0o755)
            if os.getuid() == 0 and can_become(65534):
                refuse(copy, [*c, "-i", "pt0"], 1, "pt0", "CAP_NET_RAW", user=65534, group=65534, extra_groups=[])


def can_become(uid):
    return subprocess.run(["true"], user=uid, stderr=subprocess.DEVNULL).returncode == 0 if in_uid_map(uid) else False


def in_uid_map(uid):
    with open("/proc/self/uid_map") as f:
        return any(int(a) <= uid < int(a) + int(n) for a, _, n in (line.split() for line in f))


def xdp_leaves_the_host(program, method):
    """What comes in is pitot's while it runs, and the host's before and after, however it ended."""
    with links(("pt0", "pt0p")), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800)) as host:
        host.bind(("pt0", 0x0800))
        host.settimeout(0.3)

        def at_host():
            send("pt0p", [f for f in mixture(1, 1)], 5)
            n = 0
            with contextlib.suppress(TimeoutError):
                while host.recv(2048):
                    n += 1
            return n

        for end in (signal.SIGTERM, signal.SIGKILL):
            check(at_host() == 5, "the host does not get its packets before")
            with running(program, "--capture", method, "-i", "pt0") as p:
                check(at_host() == 0, "the host gets packets")
                p.process.send_signal(end)
                p.process.wait(DEADLINE_S)
            deadline = time.monotonic() + DEADLINE_S
            while at_host() != 5:
                check(time.monotonic() < deadline, f"the host does not get its packets after {end.name}")


def xdp_falls_back(program, method):
    """What XDP cannot have is captured all the same, and one line says why."""
    cases = (("loopback", ("-i", "lo")), ("--workers", ("-i", "pt0", "-w", "2")),
             ("--direction out", ("-i", "pt0", "--direction", "out")))
    with links(("pt0", "pt0p")):
        for words, args in cases:
            with running(program, "--capture", method, *args) as p:
                said = [line for line in p.said().splitlines() if "instead" in line]
                check(len(said) == 1 and words in said[0] and "--capture afpacket" in said[0], f"{args}: {p.said()!r}")
                name = "pt0" if "out" in args else "pt0p"
                sent = 0 if "lo" in args else sum(n for n, _ in send(name, mixture(1), 100).values())
                stats = p.stop()
                check_ledger(stats)
                check(stats["packets"]["metered"] == sent, f"{args}: not {sent} metered: {stats['packets']}")


def xdp_only(scenario):
    """No falling back: it would hide everything."""
    def run(program, method):
        why = without_xdp(program)
        if why:
            return f"no XDP: {why}"
        return scenario(program, method)
    run.__name__ = scenario.__name__
    return run


def without_xdp(program):
    """None, or why there is no XDP here."""
    with open(program, "rb") as f:
        built = b"xsk_socket__create" in f.read()
    return kernel_without_xdp() if built else "built without libxdp"


def kernel_without_xdp():
    """None, or why it has none for us: a socket and a map are made, by the system calls themselves."""
    with contextlib.suppress(OSError), socket.socket(44, socket.SOCK_RAW, 0):
        return kernel_without_map(17, 4)  # XSKMAP
    return "no AF_XDP socket"


def without_counting(program):
    """None, or why what a filter rejects in the kernel is not counted here."""
    with open(program, "rb") as f:
        built = b"bpf_prog_load" in f.read()
    return kernel_without_map(2, 64, 1 << 10) if built else "built without libbpf"  # ARRAY, MMAPABLE


def kernel_without_map(kind, value_octets, flags=0):
    number = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}.get(os.uname().machine)
    if number is None:
        return "unknown machine"
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = ctypes.create_string_buffer(struct.pack("=IIIII", kind, 4, value_octets, 1, flags), 128)
    fd = libc.syscall(number, 0, attributes, len(attributes))
    if fd < 0:
        return os.strerror(ctypes.get_errno())
    os.close(fd)
    return None


SCENARIOS = (
    [(f, m) for f in (two_interfaces, both_ways, sigterm_under_load, filters, expires_while_running, down_and_up,
                      own_export, refusals) for m in METHODS] + [(any_interface, "auto"), (any_keeps_interfaces_apart, "auto")] +
    [(xdp_only(f), "xdp") for f in (two_interfaces, sigterm_under_load, filters, expires_while_running, down_and_up,
                                    refusals, xdp_leaves_the_host, xdp_falls_back)]
)


def lacking(what):
    """What a test needs is not there; it is printed.  The exit status when all of the test needs it."""
    must = os.environ.get("CI") == "true"
    print(f"{'FAILED: with CI=true nothing is skipped' if must else 'skipped'}: {what}", flush=True)
    return 1 if must else 77


def scenarios_of(program, method, only):
    """The scenarios of one method, in a namespace of their own; an exit status."""
    why = enter_quiet_namespace()
    if why:
        return lacking(f"no network namespace: {why} (run as root)")
    status = 0
    for scenario, of in SCENARIOS:
        name = f"{scenario.__name__} {of}"
        if of != method or only not in name:
            continue
        try:
            why = scenario(program, method)
            if not why:
                print(f"ok {name}", flush=True)
            elif lacking(f"{name}: {why}") != 77:
                status = 1
        except (Failure, OSError, ValueError, KeyError, subprocess.SubprocessError) as e:
            print(f"FAIL {name} {type(e).__name__ if not isinstance(e, Failure) else ''}{e}", flush=True)
            status = 1
    return status


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", nargs="?")
    parser.add_argument("source_root", nargs="?")
    parser.add_argument("--pitot")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    program = os.path.abspath(options.pitot or options.program or "pitot")
    children = []  # the methods side by side: their scenarios mostly wait
    for method in sorted({method for _, method in SCENARIOS}):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = scenarios_of(program, method, options.only)
            finally:
                os._exit(status)
        children.append(pid)
    ended = {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children}
    if ended == {77}:
        return 77
    return 0 if ended <= {0, 77} else 1


if __name__ == "__main__":
    sys.exit(main())
