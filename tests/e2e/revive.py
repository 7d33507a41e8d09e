#!/usr/bin/env python3
"""The processes of a live pitot are killed and stopped under load, one after the other: revive.py PITOT SRCROOT.

Each is started again and works, the other one goes on, and what was lost is what the ledger says: no collector, on
UDP, TCP or TLS, misses more records by the sequence numbers of its sessions.
"""
import contextlib
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import e2elib as e
import injectlib
import ipfixlib as ipfix
import live
from transportlib import make_certificates

# A sanitizer's own handler would make an exit status of the signal.
for options in ("ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"):
    os.environ[options] = f"{os.environ.get(options, '')}:handle_segv=0".strip(":")

A, B = "pva0", "pvb0"
PATIENCE_S = 60


class Traffic(threading.Thread):
    """New flows all the time."""

    def __init__(self):
        super().__init__(daemon=True)
        self.ending = False
        self.start()

    def run(self):
        frames = [live.frame(live.Flow("10.1.0.1", f"10.1.{n % 250}.2", 17, 1000 + n, 53, 0), 40)[0] for n in range(2000)]
        with live.sender(B) as s:
            while not self.ending:
                for n, frame in enumerate(frames):
                    with contextlib.suppress(OSError):
                        s.send(frame)
                    if n % 50 == 0:
                        time.sleep(0.002)
                    if self.ending:
                        return

    def stop(self):
        self.ending = True
        self.join()


class Measuring:
    def __init__(self, d, *args, env=None, interface=A):
        self.stats, self.err = f"{d}/stats", f"{d}/stderr"
        with open(self.err, "wb") as err:
            self.process = subprocess.Popen([e.PITOT, "-i", interface, "-q", "--stats", self.stats, "-t", "maxlife=1", "-t",
                                             "general=1", *args, "udp port 53"], stderr=err, env={**os.environ, **(env or {})})
        e.wait(lambda: e.at_work(self.process.pid) or self.process.poll() is not None, self.said, PATIENCE_S)

    def said(self):
        with open(self.err, encoding="utf-8", errors="replace") as f:
            return f.read()

    def numbers(self):
        """Of now: statistics that were written since it was asked."""
        before = os.stat(self.stats).st_mtime_ns if os.path.exists(self.stats) else 0
        self.process.send_signal(signal.SIGUSR1)
        got = {}

        def fresh():
            with contextlib.suppress(OSError, ValueError):
                if os.stat(self.stats).st_mtime_ns != before:
                    got.update(e.statistics(self.stats))
            return bool(got) or self.process.poll() is not None
        e.wait(fresh, lambda: f"no statistics: {self.said()}", PATIENCE_S)
        return got

    def works(self):
        """Until packets are metered and records sent to every collector, which they were not before."""
        first = self.numbers()

        def more():
            now = self.numbers()
            return now["packets"]["received"] > first["packets"]["received"] and all(
                c["records"] > f["records"] for c, f in zip(now["collectors"], first["collectors"]))
        e.wait(more, lambda: f"it does not go on: {first} {self.said()}", PATIENCE_S)

    def strike(self, name, how):
        """Another process of that name comes, and the other one stays."""
        before = e.roles(self.process.pid)
        other = {"pitot-metering": "pitot-exporting", "pitot-exporting": "pitot-metering"}[name]
        os.kill(before[name], how)
        e.wait(lambda: e.roles(self.process.pid).get(name, before[name]) != before[name],
               lambda: f"{name}, {how.name}: not started again: {self.said()}", PATIENCE_S)
        e.check(e.roles(self.process.pid)[other] == before[other], f"{name}, {how.name}: {other} is another one, too")
        self.works()
        numbers = self.numbers()
        e.check(numbers["ledger"]["balanced"], f"{name}, {how.name}: {numbers}")
        e.check(self.process.poll() is None, f"{name}, {how.name}: {self.said()}")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return self.process.returncode


def gaps(streams):
    """Records that the sequence numbers of sessions say are missing."""
    missing = 0
    for stream in streams:
        for error in stream.errors:
            found = re.match(r"sequence (\d+) instead of (\d+)", error)
            if found:
                missing += int(found[1]) - int(found[2])
    return missing


def strikes(p):
    for name in ("pitot-metering", "pitot-exporting"):
        for how in (signal.SIGSEGV, signal.SIGSTOP):
            p.strike(name, how)


def part_collectors():
    with e.workdir() as d, live.links((A, B)):
        live.set_up("lo")
        make_certificates(d)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{d}/good.pem", f"{d}/good.key")
        context.load_verify_locations(f"{d}/ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
        for name in os.listdir(d):  # nothing of it can be read by the user that pitot becomes
            os.chmod(f"{d}/{name}", 0o600)
        os.chmod(d, 0o700)
        udp, tcp = ipfix.UdpCollector(), ipfix.Collector("read")
        tls = ipfix.Collector("read", wrap=lambda c: context.wrap_socket(c, server_side=True))
        p = Measuring(d, "-n", f"ipfix://127.0.0.1:{udp.port}", "-n", f"ipfix+tcp://127.0.0.1:{tcp.port}",
                      "-n", f"ipfix+tls://127.0.0.1:{tls.port}", "--tls-ca", f"{d}/ca.pem", "--tls-cert", f"{d}/good.pem",
                      "--tls-key", f"{d}/good.key", "--reconnect", "1")
        traffic = Traffic()
        p.works()
        strikes(p)
        traffic.stop()
        e.check(p.end() == 0, f"status {p.process.returncode}: {p.said()}")
        s = e.statistics(p.stats)
        e.check(s["final"], f"not the last statistics: {s}")
        e.check_ledger("after all", s)
        e.check(s["processes"] == {"metering_exits": 2, "metering_restarts": 2, "exporting_exits": 2,
                                   "exporting_restarts": 2, "helper_exits": 0, "helper_restarts": 0},
                f"{s['processes']}")
        e.check(s["flows"]["lost_on_the_way"] > 0, f"flows of a table that was lost: {s['flows']}")
        for name, streams, c in zip(("UDP", "TCP", "TLS"), (udp.stop(), tcp.stop(), tls.stop()), s["collectors"]):
            e.check(len(streams) >= 3, f"{name}: {len(streams)} sessions")
            known = s["flows"]["lost_on_the_way"] + c["not_sent"]["records"]
            e.check(0 <= gaps(streams) <= known, f"{name}: {gaps(streams)} records are missing, {known} are known to be")
            got = sum(len(stream.records) for stream in streams)
            e.check(c["records"] <= got + known and got <= c["taken"] + c["resent"], f"{name}: {got} records: {c}")
        said = p.said()
        e.check("is down or gone" not in said, f"no interface was: {said}")
        e.check(said.count("interfaces are opened again") == 2, said)
        e.check(said.count(f"interface {A}: capturing again") == 2, said)
        for words in ("killed by signal 11", "was stopped"):
            e.check(said.count(words) == 2, f"{words}: {said}")


def messages(data, size_of):
    """Whole messages, one behind the other, and what is left at the end."""
    found, at = [], 0
    while at < len(data):
        size = size_of(data[at:at + 24])
        if not size or at + size > len(data):
            break
        found.append(data[at:at + size])
        at += size
    return found, data[at:]


def read_ipfix(data):
    found, rest = messages(data, lambda h: struct.unpack(">H", h[2:4])[0] if h[:2] == b"\0\x0a" else 0)
    stream = ipfix.Stream()
    for message in found:
        stream.feed(message)
    # the process that follows announces its templates, which are the same
    errors = [x for x in stream.errors if not x.startswith("sequence") and "is announced again" not in x]
    return len(stream.records), rest, gaps([stream]), errors


def read_netflow5(data):
    found, rest = messages(data, lambda h: 24 + 48 * struct.unpack(">H", h[2:4])[0] if h[:2] == b"\0\x05" else 0)
    sequences = [struct.unpack(">H12xI", m[2:20]) for m in found]
    missing = sum((b[1] - a[1] - a[0]) for a, b in zip(sequences, sequences[1:]))
    return sum(n for n, _ in sequences), rest, missing, [x for x in sequences if x[0] > 30]


def read_lines(data, headings, bad):
    lines = data.decode().splitlines()
    seen = [line for line in lines[headings:] if bad(line)]
    return len(lines) - headings, b"" if data.endswith(b"\n") else lines[-1], 0, seen


def read_json(data):
    return read_lines(data, 0, lambda line: "packetDeltaCount" not in json.loads(line))


def read_csv(data):
    columns = data.split(b"\n", 1)[0].count(b",")
    return read_lines(data, 1, lambda line: line.count(",") != columns or line.startswith("flow"))


def read_text(data):
    columns = len(data.split(b"\n", 2)[1].split())
    return read_lines(data, 1, lambda line: len(line.split()) != columns)


FILES = {"json:{}/o.json": read_json, "csv:{}/o.csv": read_csv, "text:{}/o.text": read_text,
         "ipfix+file:{}/o.ipfix": read_ipfix, "netflow5+file:{}/o.nf5": read_netflow5,
         "json:{}/s-%S.json?rotate=1000": read_json}


def part_file():
    """Files go on behind the last record that is whole: none is there twice or cut off, and the numbers agree."""
    with e.workdir() as d, live.links((A, B)):
        os.chmod(d, 0o700)  # pitot's user may not even look
        args = [x for url in FILES for x in ("-n", url.format(d))]
        p = Measuring(d, *args, "-n", "json:/dev/null")
        traffic = Traffic()
        p.works()
        for how in (signal.SIGSEGV, signal.SIGSTOP, signal.SIGKILL):
            p.strike("pitot-exporting", how)
        traffic.stop()
        e.check(p.end() == 0, f"status {p.process.returncode}: {p.said()}")
        s = e.statistics(p.stats)
        e.check_ledger("files", s)
        names = sorted(name for name in os.listdir(d) if name.startswith(("o.", "s-")))
        e.check(len(names) == len(FILES), f"{names}: {p.said()}")
        for (url, read), c in zip(FILES.items(), s["collectors"]):
            start = url.format("").split(":")[1].split("?")[0].split("%")[0].strip("/")
            name = [name for name in names if name.startswith(start)][0]
            with open(f"{d}/{name}", "rb") as f:
                n, rest, missing, bad = read(f.read())
            lost = c["not_sent"]["records"]
            e.check(not rest, f"{url}: the end is cut off: {rest[:100]}")
            e.check(not bad, f"{url}: {bad[:3]}")
            e.check(c["records"] <= n <= c["records"] + lost, f"{url}: {n} records: {c}")
            e.check(0 <= missing <= lost + s["flows"]["lost_on_the_way"], f"{url}: {missing} are missing, {lost} are said to be")


def part_file_moved():
    """A file that was moved away meanwhile is left alone, and another one begun."""
    with e.workdir() as d, live.links((A, B)):
        p = Measuring(d, "-n", f"json:{d}/out.json", "-n", f"ipfix+file:{d}/out.ipfix")
        traffic = Traffic()
        p.works()
        first = e.roles(p.process.pid)["pitot-exporting"]
        os.kill(first, signal.SIGSTOP)
        for name in ("out.json", "out.ipfix"):
            os.rename(f"{d}/{name}", f"{d}/old.{name}")
        e.wait(lambda: e.roles(p.process.pid).get("pitot-exporting", first) != first, p.said, PATIENCE_S)
        p.works()
        traffic.stop()
        e.check(p.end() == 0, f"status {p.process.returncode}: {p.said()}")
        for name, read in (("out.json", read_json), ("out.ipfix", read_ipfix)):
            with open(f"{d}/{name}", "rb") as f:
                n, rest, _, bad = read(f.read())
            e.check(n and not rest and not bad, f"{name}: {n} {rest} {bad}")


def part_pipe():
    """What is read as it is written has no place to go back to: then the end of the process is the end."""
    with e.workdir() as d, live.links((A, B)):
        err = f"{d}/err"
        with open(err, "wb") as f:
            p = subprocess.Popen([e.PITOT, "-q", "-i", A, "-n", "json:-"], stdout=subprocess.PIPE, stderr=f)
        e.wait(lambda: e.at_work(p.pid) or p.poll() is not None, "not started", PATIENCE_S)
        os.kill(e.roles(p.pid)["pitot-exporting"], signal.SIGKILL)
        e.wait(lambda: p.poll() is not None, "goes on", PATIENCE_S)
        with open(err, encoding="utf-8") as f:
            said = f.read()
        e.check(p.returncode == 1 and "it is not started again, as what json:- has of it may end in the middle" in said, said)
        p.stdout.close()


def tagged(frame, vlan):
    return frame[:12] + struct.pack(">HH", 0x8100, vlan) + frame[12:]


def part_any():
    """All interfaces, which libpcap captures at the start: the ring then sees of the same packets the same."""
    plain, _ = live.frame(live.Flow("10.1.0.1", "10.1.0.2", 17, 1000, 53, 0), 40)
    other, _ = live.frame(live.Flow("10.1.0.3", "10.1.0.4", 17, 1000, 53, 0), 40)
    times = ("flowStartMilliseconds", "flowEndMilliseconds", "flowId", "flowEndReason", "flowDurationMilliseconds")
    with e.workdir() as d, live.links((A, B)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as lo:
        live.set_up("lo")
        p = Measuring(d, "-n", f"json:{d}/out.json", interface="any")
        seen = []

        def send():
            before = p.numbers()["packets"]["metered"]
            with live.sender(B) as s:
                for _ in range(5):
                    s.send(plain)
                    s.send(tagged(other, 7))
            for _ in range(5):
                lo.sendto(b"12345", ("127.0.0.1", 53))
            e.wait(lambda: p.numbers()["packets"]["metered"] >= before + 25, lambda: f"{before} {p.numbers()}", PATIENCE_S)
            e.wait(lambda: p.numbers()["flows"]["active"] == 0, lambda: f"{p.numbers()}", PATIENCE_S)
            seen.append(p.numbers()["packets"]["metered"] - before)
        lo.bind(("127.0.0.1", 0))
        send()
        first = e.roles(p.process.pid)["pitot-metering"]
        for how in (signal.SIGSEGV, signal.SIGSTOP):
            os.kill(first, how)
            e.wait(lambda: e.roles(p.process.pid).get("pitot-metering", first) != first, p.said, PATIENCE_S)
            e.wait(lambda: p.said().count("interface any: capturing again") == len(seen), p.said, PATIENCE_S)
            first = e.roles(p.process.pid)["pitot-metering"]
            send()
        e.check(p.end() == 0, f"{p.process.returncode} {p.said()}")
        e.check(seen == [25] * 3, f"packets of each turn: {seen}")
        with open(f"{d}/out.json", encoding="utf-8") as f:
            records = [json.loads(line) for line in f]
        told = [sorted(json.dumps({k: v for k, v in r.items() if k not in times}, sort_keys=True) for r in records[n:n + 5])
                for n in range(0, len(records), 5)]
        e.check(len(told) == 3 and told[0] == told[1] == told[2], "\n".join(str(turn) for turn in told))
        e.check_ledger("any", e.statistics(p.stats))


def part_waiting():
    """Records that wait for a collector die with the process: all of them, with their packets and octets, are not sent."""
    with e.workdir() as d, live.links((A, B)), socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        p = Measuring(d, "-n", f"ipfix+tcp://127.0.0.1:{nobody.getsockname()[1]}", "--reconnect", "1000")
        with live.sender(B) as s:
            for n in range(20):
                frame, _ = live.frame(live.Flow("10.1.0.1", "10.1.0.2", 17, 1000 + n, 53, 0), 40)
                for _ in range(1 + n % 3):
                    s.send(frame)
        sent = sum(1 + n % 3 for n in range(20))
        e.wait(lambda: p.numbers()["collectors"][0]["pending"] == 20, lambda: f"{p.numbers()}", PATIENCE_S)
        before = p.numbers()
        e.check(before["packets"]["metered"] == sent and before["flows"]["not_sent"] == 0, f"{before}")
        first = e.roles(p.process.pid)["pitot-exporting"]
        os.kill(first, signal.SIGKILL)
        e.wait(lambda: e.roles(p.process.pid).get("pitot-exporting", first) != first, p.said, PATIENCE_S)
        after = p.numbers()
        lost = (after["flows"]["not_sent"], after["packets"]["not_sent"], after["octets"]["not_sent"])
        e.check(lost == (20, sent, before["octets"]["metered"]), f"{lost}, not {20, sent, before['octets']['metered']}")
        e.check(after["ledger"]["balanced"], f"{after}")
        p.end()
        final = e.statistics(p.stats)
        e.check(final["ledger"]["balanced"] and final["flows"]["not_sent"] == 20, f"{final}")


HELPERS = ("pitot-opener", "pitot-files", "pitot-outputs")


def strike_helper(p, name, how, younger):
    """Another process of that name comes in the place of this one, and the struck one is gone."""
    def pair():
        elder = e.roles(p.process.pid).get(name)
        return [elder, e.roles(elder).get(name)] if elder else [None, None]
    e.wait(lambda: all(pair()), lambda: f"{name}: not two: {pair()}", PATIENCE_S)
    before = pair()
    os.kill(before[younger], how)
    e.wait(lambda: before[younger] not in pair() and all(pair()), lambda: f"{name}, {how.name}: {before}, {pair()} {p.said()}",
           PATIENCE_S)
    e.wait(lambda: is_gone(before[younger]), f"{name}, {how.name}: stays behind", PATIENCE_S)


def is_gone(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def part_helpers():
    """Each process of those that open things: killed or stopped it is started again, and does what it is there for."""
    with e.workdir() as d, live.links((A, B)):
        os.chmod(d, 0o755)
        p = Measuring(d, "-n", f"json:{d}/out.json", "--pidfile", f"{d}/pid")
        signals = (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV)
        for name in HELPERS:
            for how in signals:
                for younger in (0, 1):
                    strike_helper(p, name, how, younger)
        n = len(HELPERS) * len(signals) * 2
        counted = p.numbers()["processes"]  # by pitot-files
        e.check(counted["helper_exits"] == n and counted["helper_restarts"] == n, f"{counted} {p.said()}")
        for words, many in (("killed by signal 9", n // 3), ("it was stopped", n // 3), ("killed by signal 11", n // 3)):
            e.check(p.said().count(words) == many, f"{words}: {p.said()}")
        os.rename(f"{d}/out.json", f"{d}/old.json")
        p.process.send_signal(signal.SIGHUP)
        e.wait(lambda: os.path.exists(f"{d}/out.json"), lambda: f"pitot-outputs makes no file: {p.said()}", PATIENCE_S)
        live.delete_link(A)
        e.wait(lambda: "is down or gone" in p.said(), p.said, PATIENCE_S)
        with live.links((A, B)):
            e.wait(lambda: "capturing again" in p.said(), lambda: f"pitot-opener opens nothing: {p.said()}", PATIENCE_S)
            left = [e.roles(p.process.pid)[name] for name in HELPERS]
            os.kill(left[0], signal.SIGSTOP)
            e.check(p.end() == 0, f"status {p.process.returncode}: {p.said()}")
        e.check(not os.path.exists(f"{d}/pid"), "the pid file stays behind")
        for pid in left:
            e.wait(lambda pid=pid: is_gone(pid), "a process stays behind", PATIENCE_S)


def part_stopped_helpers():
    """All of them are stopped, and pitot is killed: none stays behind."""
    with e.workdir() as d, live.links((A, B)):
        p = Measuring(d, "-n", f"json:{d}/out.json")
        pids = []
        for name in HELPERS:
            elder = e.roles(p.process.pid)[name]
            pids += [elder, e.roles(elder)[name]]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        p.process.kill()
        p.process.wait()
        for pid in pids:
            e.wait(lambda pid=pid: is_gone(pid), "a stopped process outlives pitot", PATIENCE_S)


def part_busy():
    """A parser that goes round and round is dead, too."""
    why = injectlib.lacking()
    if why:
        e.skip_part(f"no thread can be made to hang by ptrace: {why}")
        return
    with e.workdir() as d, live.links((A, B)):
        udp = ipfix.UdpCollector()
        p = Measuring(d, "-n", f"ipfix://127.0.0.1:{udp.port}")
        first = e.roles(p.process.pid)["pitot-metering"]
        traffic = Traffic()
        p.works()  # so its thread has begun, and is known
        injectlib.Taken(injectlib.worker(first)).spin()
        # it has to get nearly a second of processor time for that
        e.wait(lambda: e.roles(p.process.pid).get("pitot-metering", first) != first, p.said, 3 * PATIENCE_S)
        e.check("the process pitot-metering hangs: it is ended" in p.said(), p.said())
        p.works()
        traffic.stop()
        p.process.kill()
        p.process.wait()
        udp.stop()


def part_savefile():
    """Of files a process that dies is a failure: one sentence, status 1."""
    for name in ("pitot-metering", "pitot-exporting"):
        with e.workdir() as d, open(f"{d}/err", "w+b") as err:
            p = subprocess.Popen([e.PITOT, "-q", "-r", "-", "-n", f"json:{d}/out"], stdin=subprocess.PIPE, stderr=err)
            p.stdin.write((e.DATA / "web.pcap").read_bytes())
            p.stdin.flush()
            e.wait(lambda: e.at_work(p.pid) or p.poll() is not None, "not started", PATIENCE_S)
            os.kill(e.roles(p.pid)[name], signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                p.wait(PATIENCE_S)
            err.seek(0)
            said = err.read().decode()
            e.check(p.poll() == 1 and said.count(f"{name} has ended: killed by signal 9") == 1, f"{name}: {p.poll()} {said}")
            p.kill()
            p.wait()
            p.stdin.close()


def main():
    why = live.enter_namespace()
    if why:
        e.skip(f"no network namespace: {why}")
    live.set_up("lo")
    e.run_parts(part_savefile, part_file, part_file_moved, part_pipe, part_any, part_waiting, part_helpers, part_stopped_helpers, part_busy, part_collectors)
    e.finish()


main()
