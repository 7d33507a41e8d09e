#!/usr/bin/env python3
"""Collectors on DTLS that come and go: openssl s_server, and one that answers what it must not be believed."""
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import e2elib as e
import ipfixlib as ipfix
from transportlib import make_certificates

BATCH = 20      # flows that are sent at once
RENEW = 2       # s
SLACK = 20      # s: far from the default, and no matter how busy the machine is


class Server:
    """openssl s_server; what it hears is in a file."""

    def __init__(self, d, port, name):
        self.path = Path(f"{d}/{name}")
        with open(self.path, "wb") as out:
            self.process = subprocess.Popen(
                [e.find("openssl"), "s_server", "-dtls1_2", "-accept", str(port), "-cert", f"{d}/good.pem",
                 "-key", f"{d}/good.key", "-quiet"], stdin=subprocess.PIPE, stdout=out, stderr=subprocess.DEVNULL)
        e.wait(lambda: taken(port), f"{name} does not listen")
        self.begun = time.monotonic()

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def sessions(self):
        """The sessions' streams: each has its own count and templates."""
        data, streams, last = self.path.read_bytes(), [], None
        while len(data) >= 16:
            _, length, _, sequence = struct.unpack("!HHII", data[:12])
            if len(data) < length or length < 16:
                break
            if last is None or sequence < last:
                streams.append(ipfix.Stream())
            streams[-1].feed(data[:length])
            last, data = sequence, data[length:]
        return streams

    def numbers(self):
        return {struct.unpack("!I", r[8])[0] - 0x0a000000 for s in self.sessions() for r in s.records}


def taken(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.bind(("127.0.0.1", port))
            return False
        except OSError:
            return True


class Feed:
    """A pitot that reads from a pipe: each batch has flows of its own, and ends the ones before it."""

    def __init__(self, d, port, *arguments):
        self.process = subprocess.Popen(
            [e.PITOT, "-r", "-", "-t", "tcp-end=off,active=1,inactive=1", "--tls-ca", f"{d}/ca.pem", "--reconnect", "1",
             "--flush-interval", "0", "--stats", f"{d}/s", "-n", f"ipfix+dtls://127.0.0.1:{port}", *arguments],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self.write(struct.pack("=IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101))
        self.batches = 0

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def batch(self, flows=BATCH):
        when, first = 1700000000 + 100 * self.batches, self.batches * 100000
        data = b""
        for i in list(range(first, first + flows)) + [first + 99999] * 200:
            late = 50 if i == first + 99999 else 0  # time goes on, and ends the batch
            ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, struct.pack("!I", 0x0a000000 + i),
                             bytes([192, 0, 2, 1]))
            packet = ip + struct.pack("!HHHH", 1024 + i % 60000, 53, 8, 0)
            data += struct.pack("=IIII", when + late, 0, len(packet), len(packet)) + packet
        self.write(data)
        self.batches += 1
        return set(range(first, first + flows))

    def finish(self, what):
        try:
            _, err = self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            _, err = self.process.communicate()
            e.check(False, f"{what}: did not end")
        e.check(not e.sanitizer(err), f"{what}: {err.decode(errors='replace')}")
        return err


def missing(numbers, server):
    return f"{len(numbers - server.numbers())} of {len(numbers)} records"


def check_sessions(what, server):
    for i, s in enumerate(server.sessions()):
        errors = [x for x in s.errors if "again" not in x]  # templates are repeated
        e.check(not errors, f"{what}: session {i}: {errors[:3]}")


def started_again(d):
    """A collector that was killed and started again gets records after --dtls-renew, from a session's beginning."""
    port = e.free_port()
    first = Server(d, port, "first")
    p = Feed(d, port, "--dtls-renew", str(RENEW))
    known = p.batch()
    e.wait(lambda: known <= first.numbers(), "the first collector did not get the first batch")
    first.kill()
    second = Server(d, port, "second")
    void = p.batch()  # into a session that nobody knows
    time.sleep(0.5)
    e.check(not second.numbers(), "a collector understood a session that it does not have")
    e.wait(lambda: len(second.sessions()) > 0, "no session with the second collector")
    took = time.monotonic() - second.begun
    e.check(took < RENEW + SLACK, f"the second collector waited {took:.1f} s for its session, --dtls-renew {RENEW}")
    after = p.batch()
    e.wait(lambda: after <= second.numbers(), "the second collector did not get what came after its session began")
    many = set()
    for i in range(120):  # over some renewals: nothing is lost to a collector that is there
        many |= p.batch()
        time.sleep(0.5)
        if i > 5 and len(second.sessions()) > 3:
            break
    p.finish("started again")
    e.wait(lambda: many <= second.numbers(), lambda: f"renewals lost {missing(many, second)}")
    second.kill()
    e.check(len(second.sessions()) > 3, f"{len(second.sessions())} sessions in a minute, --dtls-renew {RENEW}")
    check_sessions("started again", first)
    check_sessions("started again", second)
    e.check(void <= second.numbers(), f"the end of the session was not answered, and its last records are lost: {missing(void, second)}")
    c = e.statistics(f"{d}/s")["collectors"][0]
    e.check(c["sessions"] == 1 + len(second.sessions()), f"{c['sessions']} sessions, {len(second.sessions())} heard")
    e.check_ledger("started again", e.statistics(f"{d}/s"))


def never(d):
    """--dtls-renew 0: one session, for good."""
    port = e.free_port()
    server = Server(d, port, "never")
    p = Feed(d, port, "--dtls-renew", "0")
    for _ in range(7):
        numbers = p.batch()
        time.sleep(0.5)
    p.finish("never")
    e.wait(lambda: numbers <= server.numbers(), "never: the last batch is missing")
    server.kill()
    e.check(len(server.sessions()) == 1, f"never: {len(server.sessions())} sessions")


def away(d):
    """Nobody listens for a while: that is noticed, records wait, and what was sent last comes once more."""
    port = e.free_port()
    first = Server(d, port, "before")
    p = Feed(d, port, "--dtls-renew", "0")
    known = p.batch()
    e.wait(lambda: known <= first.numbers(), "away: the first batch is missing")
    first.kill()
    waiting = set()
    for _ in range(6):
        waiting |= p.batch()
        time.sleep(0.3)
    second = Server(d, port, "after")
    e.wait(lambda: waiting <= second.numbers(), lambda: f"away: lost {missing(waiting, second)}")
    records = sum(len(s.records) for s in second.sessions())
    p.finish("away")
    second.kill()
    check_sessions("away", second)
    e.check(records <= len(waiting | known) + 7, f"away: {records} records of {len(waiting | known)} flows")
    e.check(known <= second.numbers(), f"away: not sent again: {missing(known, second)}")
    e.check_ledger("away", e.statistics(f"{d}/s"))


HELLO, DATA = 22, 23  # types of records
ALERT = bytes([21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 10])  # fatal, unexpected_message, not encrypted


def alert(d):
    """Who is not the collector says that there is no session: an established one does not heed him, a new one fails."""
    port = e.free_port()
    first = Server(d, port, "real")
    p = Feed(d, port, "--dtls-renew", str(2 * RENEW))
    known = p.batch()
    e.wait(lambda: known <= first.numbers(), "alert: the first batch is missing")
    first.kill()
    heard, ending = [], threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", port))
        s.settimeout(0.1)

        def answer():
            while not ending.is_set():
                try:
                    data, who = s.recvfrom(65535)
                except socket.timeout:
                    continue
                heard.append((time.monotonic(), data[0], who[1]))
                s.sendto(ALERT, who)

        thread = threading.Thread(target=answer)
        thread.start()
        until = time.monotonic() + 2 * RENEW + SLACK
        while not any(h[1] == HELLO for h in heard) and time.monotonic() < until:
            p.batch()
            time.sleep(0.5)
        ending.set()
        thread.join()
    data = [h for h in heard if h[1] == DATA]
    hellos = [h for h in heard if h[1] == HELLO]
    e.check(len({h[2] for h in data}) == 1 and len(data) > 2, f"alert: an established session heeded it: {data}")
    e.check(hellos, "alert: no new session was tried")
    second = Server(d, port, "again")
    waiting = p.batch()
    e.wait(lambda: waiting <= second.numbers(), "alert: no records after it")
    err = p.finish("alert")
    second.kill()
    check_sessions("alert", second)
    e.check(b"unexpected message" in err or e.statistics(f"{d}/s")["collectors"][0]["errors"], f"alert: unsaid: {err}")


def large(d):
    """--mtu beyond a record of DTLS."""
    port = e.free_port()
    server = Server(d, port, "large")
    p = Feed(d, port, "--mtu", "65000", "--flush-interval", "1")
    known = p.batch(1500)
    e.wait(lambda: known <= server.numbers(), lambda: f"large: lost {missing(known, server)}")
    p.finish("large")
    server.kill()
    check_sessions("large", server)


def set_mtu(mtu):
    subprocess.run([e.find("ip"), "link", "set", "lo", "up", "mtu", str(mtu)], check=True)


def narrower(d):
    """The path takes less in the middle of a session: messages become shorter, and the session stays."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000) != 0:  # CLONE_NEWNET
        e.skip_part("a path that becomes narrower needs root")
        return
    set_mtu(1500)
    port = e.free_port()
    server = Server(d, port, "narrow")
    p = Feed(d, port, "--flush-interval", "1", "--dtls-renew", "0")
    known = p.batch(200)
    e.wait(lambda: known <= server.numbers(), lambda: f"wide: lost {missing(known, server)}")
    set_mtu(700)
    p.batch(200)  # messages that were made for the wider path are lost, and counted

    def settled():
        c = e.statistics_now(p.process, f"{d}/s")["collectors"][0]
        return c["taken"] >= 400 and c["pending"] == 0 and c["records"] + c["not_sent"]["records"] == c["taken"]
    e.wait(settled, "narrower: records wait")
    known = p.batch(200)
    e.wait(lambda: known <= server.numbers(), lambda: f"narrow: lost {missing(known, server)}")
    p.finish("narrower")
    server.kill()
    check_ledger_of_narrow(d, server)


def check_ledger_of_narrow(d, server):
    s = e.statistics(f"{d}/s")
    c, heard = s["collectors"][0], sum(len(x.records) for x in server.sessions())
    e.check(c["sessions"] == 1 and heard == c["records"], f"narrower: {heard} of {c['records']} records, {c}")
    e.check_ledger("narrower", s)


def apart(part):
    """In a folder of its own that has the certificates."""
    part(shutil.copytree(f"{work}/certificates", f"{work}/{part.__name__}"))


if not e.have("openssl"):
    e.skip("openssl is needed")
TRY = e.run("-r", e.DATA / "web.pcap", "-n", "ipfix+dtls://127.0.0.1:9", "--stop-timeout", 0)
if b"built without TLS" in TRY.stderr:
    e.skip("pitot was built without TLS")
with e.workdir() as work:
    os.mkdir(f"{work}/certificates")
    make_certificates(f"{work}/certificates")
    e.together(apart, (started_again, never, away, alert, large))
    apart(narrower)
e.finish()
