#!/usr/bin/env python3
"""Interfaces that are renamed, taken down, deleted, made anew and moved to another network namespace and back.

    interfaces.py PITOT SRCROOT [NAME]

Five interfaces and several collectors.  Four of them have traffic all the time, about 2,000 packets a second; the fifth
goes away and comes back under traffic, and in between, when it is known to be captured, has a number of packets that is
known.  All of these are in a record: exactly, by each way to capture, with one metering thread and with two.
"""
import contextlib
import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from e2elib import PITOT, check, check_ledger, finish, sanitizer, skip, skip_part, wait
import live
from live import Flow, Pitot

FEW, HOSTS = 160, 8  # packets of a phase, and hosts that send them
OTHERS = [(f"pi{i}", f"pi{i}p") for i in range(1, 5)]
RATE = 2000
AWAY_S = 0.4  # at least this long, so that it can be measured


# ---- links


def add_link(name, peer, index=0):
    def text(n):
        return live.attribute(3, n.encode() + b"\0")
    info = live.attribute(1, b"veth") + live.attribute(2, live.attribute(1, bytes(16) + text(peer)))
    live.rtnetlink(16, 0x600, struct.pack("=BxHiII", 0, 0, index, 0, 0) + text(name) + live.attribute(18, info))


def change_link(name, *attributes):
    index = socket.if_nametoindex(name)
    live.rtnetlink(16, 0, struct.pack("=BxHiII", 0, 0, index, 0, 0) + b"".join(attributes))


def rename(name, to):
    change_link(name, live.attribute(3, to.encode() + b"\0"))


def move(name, pid):
    change_link(name, live.attribute(19, struct.pack("=I", pid)))


def received(name):
    """Packets that an interface has received, as it counts itself."""
    with open("/proc/self/net/dev") as f:
        for line in f:
            if line.split(":")[0].strip() == name:
                return int(line.split(":")[1].split()[1])
    return 0


class OtherNamespace:
    """A process in another network namespace, which sends interfaces back and counts what they get."""

    def __init__(self):
        self.commands, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.commands.close()
                self.serve(theirs)
            finally:
                os._exit(0)
        theirs.close()
        check(self.ask("ready") == "ok", "another network namespace")

    def serve(self, commands):
        ctypes.CDLL(None).unshare(0x40000000)  # CLONE_NEWNET
        seen = None
        while True:
            command, *rest = commands.recv(1000).decode().split() or ["end"]
            answer = "ok"
            if command == "end":
                return
            if command == "listen":
                live.set_up(rest[0])
                seen = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x800))
                seen.bind((rest[0], 0x800))
                seen.settimeout(0)
                n = 0
            if command == "count":
                with contextlib.suppress(BlockingIOError):
                    while seen.recv(2048):
                        n += 1
                answer = str(n)
            if command == "back":
                move(rest[0], self.parent)
            commands.send(answer.encode())

    def ask(self, *command):
        self.commands.send(" ".join(map(str, command)).encode())
        return self.commands.recv(100).decode()

    def end(self):
        self.commands.close()
        os.waitpid(self.pid, 0)


# ---- traffic


def frame(port, host):
    return live.frame(Flow(f"10.9.{host}.1", f"10.9.{host}.2", 17, 4000, port, 0), 40)[0]


class Background(threading.Thread):
    """About RATE packets a second over all of the links, counted by link, until it is told to end."""

    def __init__(self, peers):
        super().__init__(daemon=True)
        self.sockets = [live.sender(p) for p in peers]
        self.sent = [0] * len(peers)
        self.ending = False
        self.start()

    def run(self):
        frames = [live.frame(Flow(f"10.8.{i}.1", f"10.8.{i}.2", 17, 4000, 53, 0), 40)[0]
                  for i in range(len(self.sockets))]
        while not self.ending:
            for i, s in enumerate(self.sockets):
                for _ in range(5):
                    live.put(s, frames[i])
                    self.sent[i] += 1
            time.sleep(5 * len(self.sockets) / RATE)

    def stop(self):
        self.ending = True
        self.join()
        for s in self.sockets:
            s.close()
        return self.sent


class Racing(threading.Thread):
    """Packets to port 9 for a link that goes away under them; how many of them are seen nobody knows."""

    def __init__(self, peer):
        super().__init__(daemon=True)
        self.peer, self.sent, self.ending = peer, 0, False
        self.start()

    def run(self):
        s = None
        while not self.ending:
            try:
                s = s or live.sender(self.peer)
                s.send(frame(9, 0))
                self.sent += 1
            except OSError:
                if s:
                    s.close()
                s = None
            time.sleep(1 / RATE)
        if s:
            s.close()

    def stop(self):
        self.ending = True
        self.join()
        return self.sent


class Link:
    """The link that comes and goes, and what is expected of it."""

    def __init__(self, xdp):
        self.name, self.peer, self.xdp = "pi0", "pi0p", xdp
        self.port = 100
        self.phases = {}
        self.racing = 0
        self.reference = None
        self.add()

    def add(self, index=0):
        add_link(self.name, self.peer, index)
        self.listen()
        live.set_up(self.name)
        live.set_up(self.peer)
        live.wait_running(self.name, self.peer)

    def listen(self):
        """A socket of our own, older than pitot's on this interface: it sees a packet after pitot's did."""
        if self.reference:
            self.reference.close()
        self.reference = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.reference.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.reference.bind((self.name, 0x800))
        self.reference.settimeout(30)

    def drain(self):
        self.reference.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # that it was down
        self.reference.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while self.reference.recv(2048):
                pass
        self.reference.settimeout(30)

    def delete(self):
        live.delete_link(self.name)

    def phase(self, name=None):
        """Packets that are captured; when this returns they have been."""
        self.port += 1
        before = received(name or self.name)
        self.drain()
        with live.sender(self.peer) as s:
            for i in range(FEW):
                live.put(s, frame(self.port, i % HOSTS))
        self.phases[self.port] = FEW
        if self.xdp:  # its frames reach nobody else
            wait(lambda: received(name or self.name) - before >= FEW, f"phase {self.port} does not arrive")
            return
        left = FEW
        while left:
            data, where = self.reference.recvfrom(2048)
            left -= where[2] != 4 and data[36:38] == struct.pack("!H", self.port)


class Scene:
    def __init__(self, p, link):
        self.p, self.link = p, link
        self.agains = self.gaps = 0
        self.least = self.most = 0.0

    def again(self, begun, absent_s):
        """Waits until pitot says that it captures again; absent_s of the time since begun it cannot have."""
        self.agains += 1
        self.gaps += 1
        wait(lambda: self.p.said().count("capturing again") >= self.agains or self.p.process.poll() is not None,
             lambda: f"does not capture again: {self.p.said()}")
        self.least += absent_s
        self.most += time.monotonic() - begun

    @contextlib.contextmanager
    def traffic(self):
        racing = Racing(self.link.peer)
        wait(lambda: racing.sent > 20, "no traffic")
        yield
        self.link.racing += racing.stop()

    def down_and_up(self):
        with self.traffic():
            begun = time.monotonic()
            live.set_up(self.link.name, False)
            down = time.monotonic()
            time.sleep(AWAY_S)
            absent = time.monotonic() - down
            live.set_up(self.link.name)
            live.wait_running(self.link.name, self.link.peer)
            self.again(begun, absent)

    def make_anew(self, same):
        index = socket.if_nametoindex(self.link.name) if same else 0
        with self.traffic():
            begun = time.monotonic()
            self.link.delete()
            gone = time.monotonic()
            time.sleep(AWAY_S)
            absent = time.monotonic() - gone
            self.link.add(index)
            self.link.xdp = False  # by afpacket from now on
            self.again(begun, absent)
        if same:
            check(socket.if_nametoindex(self.link.name) == index, "not the same index")

    def at_once(self):
        """Right behind packets that are to be counted, and without any time in between."""
        index = socket.if_nametoindex(self.link.name)
        self.link.phase()
        begun = time.monotonic()
        self.link.delete()
        self.link.add(index)
        self.link.xdp = False
        self.again(begun, 0)

    def lend(self, other):
        """To another namespace, where it gets its packets, and back."""
        index = socket.if_nametoindex(self.link.name)
        self.link.phase()
        begun = time.monotonic()
        move(self.link.name, other.pid)
        gone = time.monotonic()
        other.ask("listen", self.link.name)
        live.wait_running(self.link.peer)
        time.sleep(AWAY_S)
        # a program in its receive path goes when pitot has noticed
        wait(lambda: self.send_elsewhere() and int(other.ask("count")) >= 20, "its packets do not arrive elsewhere")
        absent = time.monotonic() - gone
        other.ask("back", self.link.name)
        self.link.listen()
        self.link.xdp = False
        live.set_up(self.link.name)
        live.wait_running(self.link.name, self.link.peer)
        self.again(begun, absent)
        check(socket.if_nametoindex(self.link.name) == index, "the index changed on the way")

    def send_elsewhere(self):
        with live.sender(self.link.peer) as s:
            live.put(s, frame(7, 0))
        return True

    def renamed(self):
        try:
            rename(self.link.name, "pi0new")
        except OSError:  # older kernels: only while it is down
            print("  not renamed while it is up: this kernel does not", flush=True)
            return
        self.link.phase("pi0new")
        wait(lambda: "called pi0new now" in self.p.said(), "the new name is not said")
        rename("pi0new", self.link.name)
        self.link.phase()


def check_end(where, p, scene, sent):
    stats = p.stop()
    rows = p.rows()
    check_ledger(where, stats)
    got = {}
    for r in rows:
        key = live.flow_of(r)
        got.setdefault(key.dport if key.src.startswith("10.9.") else key.src, []).append(r)
    for port, expected in scene.link.phases.items():
        packets = sum(r["packetDeltaCount"] for r in got.get(port, []))
        check(packets == expected, f"{where}: {packets} packets of {expected} in phase {port}")
    for i, expected in enumerate(sent):
        packets = sum(r["packetDeltaCount"] for r in got.get(f"10.8.{i}.1", []))
        check(packets == expected, f"{where}: {packets} packets of {expected} on {OTHERS[i][0]}")
    check(sum(r["packetDeltaCount"] for r in got.get(9, [])) <= scene.link.racing, f"{where}: more than were sent")
    check(7 not in got, f"{where}: packets of another namespace")
    keys = [live.flow_of(r) for r in rows]
    check(len(keys) == len(set(keys)), f"{where}: {len(keys)} records of {len(set(keys))} keys")
    check(stats["packets"]["metered"] == sum(r["packetDeltaCount"] for r in rows), f"{where}: records")
    check(stats["packets"]["dropped_by_kernel"] == 0, f"{where}: dropped: {stats['packets']}")
    check(live.sums(live.read_ipfix(p.ipfix)) == live.sums(rows), f"{where}: IPFIX and JSON differ")
    gaps, seconds = stats["interfaces"]["gaps"], stats["interfaces"]["gap_seconds"]
    check(gaps == scene.gaps, f"{where}: {gaps} gaps of {scene.gaps}: {p.said()}")
    check(scene.least <= seconds + 0.01 and seconds <= scene.most + 0.01,
          f"{where}: gaps of {seconds} s, and it was {scene.least:.3f} to {scene.most:.3f} s")
    last = {r["ingressInterface"] for r in got[max(scene.link.phases)]}
    index = socket.if_nametoindex(scene.link.name)
    check(last == {index}, f"{where}: the last records have index {last}, the interface has {index}")
    check(not sanitizer(p.said().encode()), p.said())


def come_and_go(method, workers):
    where = f"{method} -w {workers}"
    link = Link(method == "xdp")
    for pair in OTHERS:
        live.add_veth(*pair)
    other = OtherNamespace()
    interfaces = [a for name in [link.name, *(a for a, _ in OTHERS)] for a in ("-i", name)]
    with tempfile.TemporaryDirectory(prefix="pitot-e2e-") as folder:
        os.chmod(folder, 0o755)
        p = Pitot(PITOT, folder, "--capture", method, "-w", str(workers), *interfaces, "-n", "text:/dev/null", "-t",
                  "active=10000,inactive=10000,tcp-end=off", "udp")
        try:
            scene, background = Scene(p, link), Background([b for _, b in OTHERS])
            link.phase()
            scene.renamed()
            scene.down_and_up()
            link.phase()
            for i in range(2):
                scene.at_once()
                link.phase()
                scene.make_anew(False)
                link.phase()
                scene.make_anew(True)
                link.phase()
                scene.lend(other)
                link.phase()
            scene.down_and_up()
            link.phase()
            check_end(where, p, scene, background.stop())
        except live.Failure as e:
            check(False, f"{where}: {e}")
        finally:
            p.kill()
            other.end()
            for name in [link.name, *(a for a, _ in OTHERS)]:
                with contextlib.suppress(OSError):
                    live.delete_link(name)


# ---- at the start


@contextlib.contextmanager
def started(*args):
    with tempfile.TemporaryDirectory(prefix="pitot-e2e-") as folder:
        os.chmod(folder, 0o755)
        p = Pitot(PITOT, folder, *args, "udp")
        try:
            yield p
        finally:
            p.kill()


def drop(*names):
    for name in names:
        with contextlib.suppress(OSError):
            live.delete_link(name)


def expect_after_start(where, p, name, peer):
    """The interface that was waited for is captured, by all of its workers."""
    wait(lambda: f"interface {name}: capturing again" in p.said(), lambda: f"{where}: is not captured: {p.said()}")
    with live.sender(peer) as s:
        for i in range(FEW):
            live.put(s, frame(200, i % HOSTS))
    stats = p.stop()
    check_ledger(where, stats)
    check(sum(r["packetDeltaCount"] for r in p.rows()) == FEW, f"{where}: not {FEW} packets in {len(p.rows())} records")
    check(len(p.rows()) == HOSTS, f"{where}: {len(p.rows())} records of {HOSTS} keys")
    check({r["ingressInterface"] for r in p.rows()} == {socket.if_nametoindex(name)}, f"{where}: index")
    check(stats["interfaces"]["gaps"] == 1 and stats["interfaces"]["gap_seconds"] > 0, f"{where}: {stats['interfaces']}")
    check(p.said().count("it is waited for") == 1, f"{where}: not one sentence: {p.said()}")


def waits_at_start(workers):
    """An interface that is missing, or down, is captured once it is there and up; one of several stops nobody."""
    for method in ("afpacket", "pcap") if workers == 1 else ("afpacket",):
        where = f"--wait, {method} -w {workers}"
        with started("-i", "pi0", "--wait", "-w", str(workers), "--capture", method) as p:
            add_link("pi0", "pi0p")
            live.set_up("pi0p")
            time.sleep(AWAY_S)
            check("capturing again" not in p.said(), f"{where}: it is down, and captured: {p.said()}")
            live.set_up("pi0")
            live.wait_running("pi0", "pi0p")
            expect_after_start(f"missing, {where}", p, "pi0", "pi0p")
        live.set_up("pi0", False)
        with started("-i", "pi0", "--wait", "-w", str(workers), "--capture", method) as p:
            live.set_up("pi0")
            live.wait_running("pi0", "pi0p")
            expect_after_start(f"down, {where}", p, "pi0", "pi0p")
        drop("pi0")
        live.add_veth(*OTHERS[0])
        with started("-i", "pi0", "-i", OTHERS[0][0], "-w", str(workers), "--capture", method) as p:
            live.add_veth("pi0", "pi0p")
            expect_after_start(f"one of two, {where}", p, "pi0", "pi0p")
        drop("pi0", OTHERS[0][0])


def nobody_is_there(_workers):
    """Without --wait an interface that is missing is an error, as long as there is no other."""
    live.refuse(PITOT, ["-i", "pi0"], 1, "pi0", "does not exist", "lo")
    live.refuse(PITOT, ["-i", "pi0", "-w", "2"], 1, "pi0", "does not exist")


def renamed_while_down(workers):
    """libpcap says that it disappeared; it is measured on, also when it is up again at once."""
    for method in ("afpacket", "pcap") if workers == 1 else ("afpacket",):
        live.add_veth("pi0", "pi0p")
        with started("-i", "pi0", "-w", str(workers), "--capture", method) as p:
            pid = p.process.pid
            with open(f"/proc/{pid}/task/{pid}/children") as f:
                everybody = [pid, *map(int, f.read().split())]
            for name, to in (("pi0", "pi9"), ("pi9", "pi0")) * 2:
                for each in everybody:  # so that all of it has happened when it looks
                    os.kill(each, signal.SIGSTOP)
                live.set_up(name, False)
                rename(name, to)
                live.set_up(to)
                for each in reversed(everybody):
                    os.kill(each, signal.SIGCONT)
            wait(lambda p=p: p.process.poll() is not None or p.said().count("is called pi0 now") == 2, p.said)
            check(p.process.poll() is None, f"{method} -w {workers} ended: {p.said()}")
            live.wait_running("pi0", "pi0p")
            with live.sender("pi0p") as s:
                for i in range(FEW):
                    live.put(s, frame(200, i % HOSTS))
            check_ledger(f"renamed while down, {method}", p.stop())
            got = sum(r["packetDeltaCount"] for r in p.rows())
            check(got == FEW, f"renamed while down, {method}: {got} packets of {FEW}: {p.said()}")
        drop("pi0", "pi9")


def one_by_two_names(workers):
    """Names that are swapped, and two names of one interface: no packet counts twice."""
    (a, a_peer), (b, b_peer) = OTHERS[:2]
    for pair in OTHERS[:2]:
        live.add_veth(*pair)
    with started("-i", a, "-i", b, "-w", str(workers)) as p:
        for name, to in ((a, "pi9"), (b, a), ("pi9", b)):
            live.set_up(name, False)
            rename(name, to)
            live.set_up(to)
            wait(lambda n=name, t=to: f"interface {n} is called {t} now" in p.said(), lambda: f"no word: {p.said()}")
        live.delete_link(b)
        wait(lambda: f"interface {b} is down or gone" in p.said(), lambda: f"not by the name it has: {p.said()}")
        wait(lambda: f"{a} is measured already" in p.said() or "again" in p.said().split(f"interface {b} is down")[-1],
             lambda: f"twins: {p.said()}")
        live.wait_running(a, b_peer)
        with live.sender(b_peer) as s:
            for i in range(FEW):
                live.put(s, frame(200, i % HOSTS))
        stats = p.stop()
        check_ledger("swapped names", stats)
        got = sum(r["packetDeltaCount"] for r in p.rows())
        check(got == FEW, f"swapped names: {got} packets of {FEW}: {p.said()}")
    # RTM_NEWLINKPROP, IFLA_PROP_LIST, IFLA_ALT_IFNAME
    names = live.attribute(52 | 0x8000, live.attribute(53, b"pi-other\0"))
    live.rtnetlink(108, 0x600, struct.pack("=BxHiII", 0, 0, socket.if_nametoindex(a), 0, 0) + names)
    live.refuse(PITOT, ["-i", a, "-i", "pi-other", "-w", str(workers)], 1, "pi-other", "same interface", a)
    drop(a)


# ---- names that have to be unique


def two_of_the_same_pid(workers):
    """Two pitots that are process 1 of their pid namespaces, as in containers, see everything each."""
    live.add_veth("pi0", "pi0p")
    found = []
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pitot-e2e-"))
            os.chmod(folder, 0o755)
            p = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", PITOT, "-i", "pi0", "-w", str(workers),
                                  "-n", f"json:{folder}/out", "--stats", f"{folder}/stats", "-p", f"{folder}/pid", "udp"],
                                 stderr=open(f"{folder}/stderr", "wb"))
            stack.callback(p.kill)
            found.append((folder, p))
            wait(lambda: os.path.exists(f"{folder}/pid") and os.path.getsize(f"{folder}/pid"), "the second does not start")
            check(open(f"{folder}/pid").read().strip() == "1", "it is not process 1")
        with live.sender("pi0p") as s:
            for i in range(FEW):
                live.put(s, frame(200, i % HOSTS))
        for folder, p in found:
            child = int(open(f"/proc/{p.pid}/task/{p.pid}/children").read().split()[0])
            os.kill(child, signal.SIGTERM)
            p.wait(60)
            rows = [json.loads(line) for line in open(f"{folder}/out")]
            check(sum(r["packetDeltaCount"] for r in rows) == FEW, f"not {FEW} packets: {rows}")
    drop("pi0")


def main():
    why = live.enter_quiet_namespace()
    if why:
        skip(f"no network namespace: {why} (run as root)")
    cases = [("afpacket", 1), ("afpacket", 2), ("pcap", 1), ("xdp", 1)]
    for method, workers in cases:
        if len(sys.argv) > 3 and sys.argv[3] not in f"come_and_go {method} {workers}":
            continue
        print(f"come_and_go {method} {workers}", flush=True)
        lacking = live.without_xdp(PITOT) if method == "xdp" else None
        if lacking:
            skip_part(f"no XDP: {lacking}")
            continue
        come_and_go(method, workers)
    for scenario in (waits_at_start, nobody_is_there, renamed_while_down, one_by_two_names, two_of_the_same_pid):
        for workers in (1, 2):
            if len(sys.argv) > 3 and sys.argv[3] not in f"{scenario.__name__} {workers}":
                continue
            print(f"{scenario.__name__} {workers}", flush=True)
            try:
                scenario(workers)
            except live.Failure as e:
                check(False, f"{scenario.__name__} {workers}: {e}")
            drop("pi0", OTHERS[0][0])
    finish()


main()
