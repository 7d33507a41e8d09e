#!/usr/bin/env python3
"""pitot --takeover under load: takeover.py PITOT SRCROOT.

One process after the other takes over, of two builds and with other options, while packets come all the time: packets
that were sent are packets in exported records, each flow that lives on is one record, sequence numbers have no gap,
templates are the same, a session is one session, and the ledgers of all balance.  Whoever may not take over gets
nothing, and one that dies in the middle leaves the other one at work.
"""
import array
import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

import e2elib as e
import ipfixlib as ipfix
import live
from transportlib import make_certificates

A, B = "pta0", "ptb0"
PATIENCE_S = 60
FLOWS = 200


# ---- collectors


class Ipfix(ipfix.Stream):
    """Over UDP templates come again, and are the same."""

    def announce(self, body, options):
        at = 0
        while at + 4 <= len(body):
            template, n = struct.unpack("!HH", body[at:at + 4])
            scope = 2 if options else 0
            fields, end = [], at + 4 + scope
            for _ in range(n):
                element, length = struct.unpack("!HH", body[end:end + 4])
                fields.append((element, length))
                end += 8 if element & 0x8000 else 4
            if self.templates.get(template, (fields, options)) != (fields, options):
                self.errors.append(f"template {template} is another one now")
            self.templates[template] = (fields, options)
            at = end


class Netflow9:
    """The messages of one exporter, NetFlow version 9."""

    def __init__(self):
        self.expected = None
        self.templates, self.records, self.errors = {}, [], []
        self.boots = set()
        self.uptime = 0

    def feed(self, data):
        version, _, uptime, seconds, sequence, _ = struct.unpack("!HHIIII", data[:20])
        if version != 9 or (self.expected is not None and sequence != self.expected):
            self.errors.append(f"version {version}, sequence {sequence} instead of {self.expected}")
        if uptime < self.uptime:
            self.errors.append(f"sysUptime goes back from {self.uptime} to {uptime}")
        self.uptime = uptime
        self.boots.add(seconds * 1000 - uptime)
        self.expected = sequence + 1
        at = 20
        while at + 4 <= len(data):
            number, length = struct.unpack("!HH", data[at:at + 4])
            body = data[at + 4:at + length]
            if number == 0:
                self.announce(body)
            elif number in self.templates:
                self.decode(body, self.templates[number])
            elif number > 255 and number < 512:
                self.errors.append(f"data of template {number}, which nobody has announced")
            at += length

    def announce(self, body):
        at = 0
        while at + 4 <= len(body):
            number, n = struct.unpack("!HH", body[at:at + 4])
            fields = [struct.unpack("!HH", body[at + 4 + 4 * i:at + 8 + 4 * i]) for i in range(n)]
            if self.templates.get(number, fields) != fields:
                self.errors.append(f"template {number} is another one now")
            self.templates[number] = fields
            at += 4 + 4 * n

    def decode(self, body, fields):
        size = sum(length for _, length in fields)
        for at in range(0, len(body) - size + 1, size):
            record, place = {}, at
            for element, length in fields:
                record[element] = body[place:place + length]
                place += length
            self.records.append(record)


class Netflow5:
    def __init__(self):
        self.expected = None
        self.records, self.errors = [], []

    def feed(self, data):
        version, n = struct.unpack("!HH", data[:4])
        sequence, = struct.unpack("!I", data[16:20])
        if version != 5 or (self.expected is not None and sequence != self.expected):
            self.errors.append(f"version {version}, sequence {sequence} instead of {self.expected}")
        self.expected = sequence + n
        for i in range(n):
            r = data[24 + 48 * i:72 + 48 * i]
            self.records.append({8: r[0:4], 12: r[4:8], 2: r[16:20], 7: r[32:34], 11: r[34:36]})


class Collectors:
    def __init__(self):
        self.ipfix, self.v9, self.v5 = ipfix.UdpCollector(Ipfix), ipfix.UdpCollector(Netflow9), ipfix.UdpCollector(Netflow5)
        self.tcp = ipfix.Collector("read")

    def args(self):
        out = []
        for url in (f"ipfix://127.0.0.1:{self.ipfix.port}", f"netflow9://127.0.0.1:{self.v9.port}",
                    f"netflow5://127.0.0.1:{self.v5.port}", f"ipfix+tcp://127.0.0.1:{self.tcp.port}"):
            out += ["-n", url]
        return out

    def stop(self):
        return {"ipfix": self.ipfix.stop(), "netflow9": self.v9.stop(), "netflow5": self.v5.stop(), "tcp": self.tcp.stop()}


# ---- traffic


class Traffic(threading.Thread):
    """The same flows round and round, and others that come once; how many packets of each there were."""

    def __init__(self, others=False, pause_s=0.001):
        super().__init__(daemon=True)
        self.sent = {}
        self.others = others
        self.pause_s = pause_s
        self.ending = False
        self.start()

    def frame_of(self, n):
        return live.frame(live.Flow(f"10.1.{n % 250}.1", f"10.2.{n % 250}.2", 17, 1000 + n % 60000, 53, 0), 40)[0]

    def run(self):
        frames = [self.frame_of(n) for n in range(FLOWS)]
        fresh = FLOWS
        with live.sender(B) as s:
            while not self.ending:
                for n, frame in enumerate(frames):
                    live.put(s, frame)
                    self.sent[n] = self.sent.get(n, 0) + 1
                    if self.others:
                        live.put(s, self.frame_of(fresh))
                        self.sent[fresh] = 1
                        fresh += 1
                    if n % 20 == 0:
                        time.sleep(self.pause_s)

    def stop(self):
        self.ending = True
        self.join()
        return self.sent

    def goes_on(self, packets=1000):
        """Until so many more were sent."""
        before = sum(self.sent.copy().values())
        e.wait(lambda: sum(self.sent.copy().values()) >= before + packets, "no traffic", PATIENCE_S)


def packets_of(records):
    """{flow: the packets of each of its records}"""
    found = {}
    for r in records:
        port = int.from_bytes(r[7], "big")
        found.setdefault(port - 1000, []).append(int.from_bytes(r[2], "big"))
    return found


# ---- pitots


class Pitot:
    count = 0

    def __init__(self, d, *args, program=None, takeover=False, wait=True):
        Pitot.count += 1
        self.stats, self.err = f"{d}/stats{Pitot.count}", f"{d}/stderr{Pitot.count}"
        command = [program or e.PITOT, "-i", A, "-q", "-c", f"{d}/ctl", "--stats", self.stats, *args,
                   *(["--takeover"] if takeover else []), "udp port 53"]
        with open(self.err, "wb") as err:
            self.process = subprocess.Popen(command, stderr=err)
        if wait:
            e.wait(lambda: self.is_at_work() or self.process.poll() is not None, self.said, PATIENCE_S)

    def is_at_work(self):
        return e.at_work(self.process.pid)

    def said(self):
        with open(self.err, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait(self):
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def numbers(self):
        return e.statistics(self.stats)


def other_build(d):
    """The same program with another version in it."""
    path = f"{d}/pitot-other"
    with open(e.PITOT, "rb") as f:
        data = f.read()
    version = subprocess.run([e.PITOT, "--version"], capture_output=True, check=True, text=True).stdout.split()[1]
    changed = version[:-1] + ("8" if version[-1] != "8" else "7")
    with open(path, "wb") as f:
        for end in (b"\0", b'"'):
            data = data.replace(version.encode() + end, changed.encode() + end)
        f.write(data)
    os.chmod(path, 0o755)
    said = subprocess.run([path, "--version"], capture_output=True, check=True, text=True).stdout.split()[1]
    e.check(said == changed, f"the other build says {said}")
    return path, changed


def check_chain(what, chain):
    """Each but the last was taken over by the next; their ledgers."""
    numbers = []
    for p in chain:
        s = p.numbers()
        numbers.append(s)
        e.check_ledger(f"{what}: {p.err}", s)
        e.check(s["packets"]["dropped_by_kernel"] == 0, f"{what}: {s['packets']}")
        e.check(s["flows"]["not_sent"] == 0, f"{what}: {s['flows']}")
    for old, new in zip(numbers, numbers[1:]):
        for group in ("flows", "packets", "octets"):
            e.check(old[group]["handed_over"] == new[group]["taken_over"],
                    f"{what}: {group} handed over {old[group]['handed_over']}, taken over {new[group]['taken_over']}")
        e.check(old["flows"]["handed_over"] > 0, f"{what}: nothing was handed over")
    e.check(numbers[0]["flows"]["taken_over"] == 0 and numbers[-1]["flows"]["handed_over"] == 0, what)
    return numbers


def check_records(what, sessions, sent, one_record):
    for name, streams in sessions.items():
        e.check(len(streams) == 1, f"{what}, {name}: {len(streams)} sessions")
        for stream in streams:
            e.check(not stream.errors, f"{what}, {name}: {stream.errors[:4]}")
        got = packets_of(r for stream in streams for r in stream.records)
        total = sum(sum(v) for v in got.values())
        e.check(total == sum(sent.values()), f"{what}, {name}: {sum(sent.values())} packets were sent, {total} are in records")
        wrong = {k: (sent.get(k), v) for k, v in got.items() if sum(v) != sent.get(k)}
        e.check(not wrong, f"{what}, {name}: packets sent, and in records: {dict(list(wrong.items())[:4])}")
        split = {k: v for k, v in got.items() if len(v) > 1}
        e.check(not one_record or not split, f"{what}, {name}: flows in several records: {dict(list(split.items())[:4])}")


def one_after_the_other(workers, others):
    """Four take-overs under load."""
    what = f"-w {workers}{', flows come and go' if others else ''}"
    timeouts = "active=1,inactive=1" if others else "active=3600,inactive=3600"
    with e.workdir() as d, live.links((A, B)):
        os.chmod(d, 0o755)
        other, version = other_build(d)
        collectors = Collectors()
        common = ["-w", str(workers), "-t", timeouts, *collectors.args()]
        chain = [Pitot(d, *common)]
        traffic = Traffic(others)
        for i, (program, more) in enumerate([(None, []), (other, []), (None, ["-B", "8M", "--flush-interval", "2"]),
                                             (other, ["-m", "500000", "--max-fragments", "1000"])]):
            traffic.goes_on(3000)
            chain.append(Pitot(d, *common, *more, program=program, takeover=True))
            e.check(chain[-1].is_at_work(), f"{what}: {i}: {chain[-1].said()}")
            e.check(chain[-2].wait() == 0, f"{what}: {i}: status {chain[-2].process.returncode}: {chain[-2].said()}")
            e.check(f"process {chain[-1].process.pid}, pitot " in chain[-2].said() and
                    "has taken over; packets waited " in chain[-2].said(), f"{what}: {chain[-2].said()}")
            e.check("not taken over" not in chain[-1].said(), f"{what}: {chain[-1].said()}")
        e.check(f"pitot {version}, has taken over" in chain[1].said(), f"{what}: {chain[1].said()}")
        traffic.goes_on(3000)
        sent = traffic.stop()
        e.check(chain[-1].end() == 0, f"{what}: {chain[-1].said()}")
        numbers = check_chain(what, chain)
        metered = sum(s["packets"]["metered"] for s in numbers)
        e.check(metered == sum(sent.values()), f"{what}: {sum(sent.values())} packets were sent, {metered} metered")
        check_records(what, collectors.stop(), sent, not others)


def part_one_thread():
    one_after_the_other(1, False)


def part_two_threads():
    one_after_the_other(2, False)


def part_flows_come_and_go():
    one_after_the_other(2, True)


# ---- one that does not come to its end


def ask(path):
    """A connection that was offered everything, or None and the sentence."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(PATIENCE_S)
    s.connect(path)
    s.sendall(b'{"command":"takeover","version":"test"}\n')
    line = b""
    while not line.endswith(b"\n"):
        got = s.recv(1)
        if not got:
            return None, "closed"
        line += got
    answer = json.loads(line)
    return (s, answer["result"]) if answer["ok"] else (None, answer["error"])


MAGIC, FREEZE, READY, REFUSED = 0x70746b31, 1, 9, 10
MESSAGE = struct.Struct("=IIIIQ232s")


def receive_all(s):
    """All that is handed over, up to the word that this is all: kinds of messages, and descriptors."""
    kinds, fds = [], []
    s.sendall(MESSAGE.pack(MAGIC, FREEZE, 0, 0, 0, b""))
    while not kinds or kinds[-1] not in (READY, REFUSED):
        data = b""
        while len(data) < MESSAGE.size:
            some, ancillary, _, _ = s.recvmsg(MESSAGE.size - len(data), socket.CMSG_SPACE(64 * 4))
            if not some:
                return kinds, fds
            data += some
            for _, _, octets in ancillary:
                fds += array.array("i", octets[:len(octets) // 4 * 4])
        kinds.append(MESSAGE.unpack(data)[1])
    return kinds, fds


def part_dies_in_the_middle():
    """Whatever it has by then: the older process reads on where it stopped, and nothing is lost or comes twice."""
    with e.workdir() as d, live.links((A, B)):
        os.chmod(d, 0o755)
        collectors = Collectors()
        common = ["-w", "2", "-t", "active=3600,inactive=3600", *collectors.args()]
        p = Pitot(d, *common)
        traffic = Traffic()
        for how in ("asks", "is handed all", "asks for all, and goes"):
            traffic.goes_on(2000)
            s, said = ask(f"{d}/ctl")
            e.check(s, f"{how}: {said}")
            other, why = ask(f"{d}/ctl")
            e.check(other is None and "is taking over already" in why, f"a second one: {why}")
            if how == "is handed all":
                kinds, fds = receive_all(s)
                e.check(kinds and kinds[-1] == READY and len(fds) > 6, f"{how}: {kinds} {fds}")
                for fd in fds:
                    os.close(fd)
            elif how != "asks":
                s.sendall(MESSAGE.pack(MAGIC, FREEZE, 0, 0, 0, b""))
            s.close()
            traffic.goes_on(2000)
            e.check(p.process.poll() is None, f"{how}: {p.said()}")
        e.check("nobody took over" in p.said(), p.said())
        heir = Pitot(d, *common, takeover=True)
        e.check(p.wait() == 0, p.said())
        traffic.goes_on(2000)
        sent = traffic.stop()
        e.check(heir.end() == 0, heir.said())
        numbers = check_chain("after all", [p, heir])
        metered = sum(s["packets"]["metered"] for s in numbers)
        e.check(metered == sum(sent.values()), f"{sum(sent.values())} packets were sent, {metered} metered")
        check_records("after all", collectors.stop(), sent, True)


def part_is_killed():
    """At any moment: until it is the owner the older process goes on, and its numbers are right."""
    for delay_s in (0, 0.02, 0.05, 0.1):
        with e.workdir() as d, live.links((A, B)):
            os.chmod(d, 0o755)
            collector = ipfix.UdpCollector(Ipfix)
            common = ["-t", "active=3600,inactive=3600", "-n", f"ipfix://127.0.0.1:{collector.port}"]
            p = Pitot(d, *common)
            traffic = Traffic()
            traffic.goes_on(1000)
            heir = Pitot(d, *common, takeover=True, wait=False)
            time.sleep(delay_s)
            heir.process.kill()
            heir.wait()
            traffic.goes_on(1000)
            sent = traffic.stop()
            for _ in range(2):  # in between it hears what the other one has said
                e.statistics_now(p.process, p.stats)
            if "has taken over" in p.said():
                e.check(p.wait() == 0, f"{delay_s}: {p.said()}")
            else:
                e.check(p.end() == 0, f"{delay_s}: {p.said()}")
                check_records(f"killed after {delay_s} s", {"ipfix": collector.stop()}, sent, True)
            e.check_ledger(f"killed after {delay_s} s", p.numbers())


def part_strangers():
    """Another user gets nothing, neither does a member of the control group; there may be no pitot at all."""
    with e.workdir() as d, live.links((A, B)):
        os.chmod(d, 0o755)
        collectors = Collectors()
        p = Pitot(d, "--control-group", "nogroup", *collectors.args())
        for group, words in ((["--clear-groups", "--regid", "12345"], "Permission denied"),
                             (["--clear-groups", "--regid", "nogroup"], "only root, and the user")):
            got = subprocess.run([e.find("setpriv"), "--reuid", "12345", *group, "--inh-caps=-all", e.PITOT, "-i", A, "-q",
                                  "-c", f"{d}/ctl", "--takeover", "-n", "127.0.0.1:9"],
                                 capture_output=True, timeout=PATIENCE_S, check=False)
            e.check(got.returncode == 1 and words in got.stderr.decode(), f"{group}: {got.returncode} {got.stderr}")
        e.check(p.process.poll() is None and p.is_at_work(), p.said())
        e.check(p.end() == 0, p.said())
        got = e.run("-i", A, "-q", "-c", f"{d}/ctl", "--takeover", "-n", "127.0.0.1:9")
        e.check(got.returncode == 1 and b"no pitot listens there" in got.stderr, f"{got.returncode} {got.stderr}")
        for args, words in ((["-r", "x.pcap"], b"--takeover is for interfaces"), (["-i", A, "-c", "none"], b"--control none")):
            got = e.run(*args, "--takeover")
            e.check(got.returncode == 2 and words in got.stderr, f"{args}: {got.returncode} {got.stderr}")
        collectors.stop()


def text_of(path):
    """Empty as long as there is no such file."""
    with contextlib.suppress(FileNotFoundError):
        return Path(path).read_text(encoding="ascii")
    return ""


def part_what_is_not_taken():
    """Other collectors, fields, threads, interfaces: a sentence each, and no packet is lost."""
    with e.workdir() as d, live.links((A, B)):
        os.chmod(d, 0o755)
        first, second = ipfix.UdpCollector(Ipfix), ipfix.UdpCollector(Ipfix)
        p = Pitot(d, "-w", "1", "-t", "active=3600,inactive=3600", "-n", f"ipfix://127.0.0.1:{first.port}",
                  "--pidfile", f"{d}/pid", "-n", f"json:{d}/flows.json")
        traffic = Traffic()
        traffic.goes_on(2000)
        for args in (("-s", "10"), ("--polite",)):
            got = Pitot(d, "-n", f"ipfix://127.0.0.1:{first.port}", *args, takeover=True)
            e.check(got.wait() == 1 and "one rate only" in got.said() and "error" in got.said(), f"{args}: {got.said()}")
        traffic.goes_on(2000)
        heir = Pitot(d, "-w", "2", "-t", "active=3600,inactive=3600", "-n", f"ipfix://127.0.0.1:{first.port}", "--fields",
                     "sourceTransportPort,destinationTransportPort,packetDeltaCount,sourceIPv4Address,"
                     "destinationIPv4Address,protocolIdentifier", "-n", f"ipfix://127.0.0.1:{second.port}",
                     "--pidfile", f"{d}/pid", "-n", f"json:{d}/flows.json", takeover=True)
        e.check(p.wait() == 0, p.said())
        for words in ("--workers 2 is not in force", "its templates are others now; it gets a new one"):
            e.check(words in heir.said(), f"{words}: {heir.said()}")
        e.wait(lambda: text_of(f"{d}/pid") == f"{heir.process.pid}\n", "the pid file is not the new process's")
        traffic.goes_on(2000)
        sent = traffic.stop()
        e.check(heir.end() == 0, heir.said())
        e.check(not os.path.exists(f"{d}/pid") and not os.path.exists(f"{d}/ctl"), f"{os.listdir(d)}")
        check_chain("other options", [p, heir])
        sessions = first.stop()
        e.check(len(sessions) == 2, f"{len(sessions)} sessions")
        for name, streams in (("same URL", sessions[1:]), ("new collector", second.stop())):
            check_records(f"other options, {name}", {"ipfix": streams}, sent, True)
        with open(f"{d}/flows.json", encoding="utf-8") as f:
            rows = [json.loads(line) for line in f]
        e.check(sum(r["packetDeltaCount"] for r in rows) == sum(sent.values()), f"{len(rows)} rows")


def part_sessions_that_end():
    """TLS: the older process ends its session, the new one begins another.  With a spool the files go from one to the
    other.  Records come once, and none is missing."""
    with e.workdir() as d, live.links((A, B)):
        os.chmod(d, 0o755)
        make_certificates(d)
        os.chmod(f"{d}/ca.pem", 0o644)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{d}/good.pem", f"{d}/good.key")
        for spool in (False, True):
            what = f"TLS{', spool' if spool else ''}"
            tls, tcp = (ipfix.Collector("read", wrap=wrap) for wrap in (
                lambda c: context.wrap_socket(c, server_side=True), None))
            common = ["-t", "active=1,inactive=1", "-n", f"ipfix+tls://127.0.0.1:{tls.port}", "--tls-ca", f"{d}/ca.pem",
                      "-n", f"ipfix+tcp://127.0.0.1:{tcp.port}", "--reconnect", "1",
                      *(["--spool", f"{d}/spool"] if spool else [])]
            chain = [Pitot(d, *common)]
            traffic = Traffic(True)
            for _ in range(2):
                traffic.goes_on(3000)
                e.wait(lambda: tls.records() and tcp.records(), lambda: f"no records: {chain[-1].said()}", PATIENCE_S)
                chain.append(Pitot(d, *common, takeover=True))
                e.check(chain[-2].wait() == 0, f"{what}: {chain[-2].said()}")
            traffic.goes_on(3000)
            sent = traffic.stop()
            e.check(chain[-1].end() == 0, f"{what}: {chain[-1].said()}")
            check_chain(what, chain)
            sessions = tls.stop()
            e.check(len(sessions) == 3, f"{what}: {len(sessions)} sessions on TLS")
            total = sum(int.from_bytes(r[2], "big") for stream in sessions for r in stream.records)
            e.check(total == sum(sent.values()), f"{what}: {sum(sent.values())} packets were sent, {total} are in records")
            e.check(not any(stream.errors for stream in sessions), f"{what}: {[stream.errors[:3] for stream in sessions]}")
            check_records(what, {"tcp": tcp.stop()}, sent, False)


def part_metrics():
    """The page for Prometheus goes to the new process, on the same port."""
    with e.workdir() as d, live.links((A, B)):
        os.chmod(d, 0o755)
        if b"microhttpd" not in open(e.PITOT, "rb").read():
            e.skip_part("a build without metrics")
            return
        collector, port = ipfix.UdpCollector(Ipfix), e.free_port()
        common = ["-n", f"ipfix://127.0.0.1:{collector.port}", "--metrics", str(port)]
        p = Pitot(d, *common)
        traffic = Traffic()
        traffic.goes_on(1000)
        heir = Pitot(d, *common, takeover=True)
        e.check(p.wait() == 0, p.said())
        traffic.stop()
        said = {}

        def page():
            with contextlib.suppress(OSError):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                    said["page"] = answer.read().decode()
            return "pitot_taken_over_flows_total" in said.get("page", "")
        e.wait(page, lambda: f"no page: {said} {heir.said()}", PATIENCE_S)
        e.check(f"pitot_taken_over_flows_total {FLOWS}" in said.get("page", ""), "the page is not the new process's")
        e.check(heir.end() == 0, heir.said())
        collector.stop()


def main():
    why = live.enter_quiet_namespace()
    if why:
        e.skip(f"no network namespace: {why}")
    e.run_parts(part_strangers, part_one_thread, part_two_threads, part_flows_come_and_go, part_dies_in_the_middle,
                part_is_killed, part_what_is_not_taken, part_sessions_that_end, part_metrics)
    e.finish()


main()
