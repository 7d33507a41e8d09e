#!/usr/bin/env python3
"""Files that can be read while pitot runs, several of them one after the other, and files that others move away.

    files.py PITOT [SRCROOT] [--only NAME]

Live in a network namespace of its own.  Prints `ok NAME` or `FAIL NAME why`; exit status 77 without privilege.
"""

import collections
import contextlib
import csv
import ctypes
import fcntl
import glob
import gzip
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

import live
import option_data
from live import Failure, check, links, mixture, running, send

FIELDS = "standard,flowId"
SHORT = ("-t", "active=0.4,inactive=0.2", "--flush-interval", "0.05")


def until(condition, why):
    end = time.monotonic() + live.DEADLINE_S
    while not condition():
        check(time.monotonic() < end, why() if callable(why) else why)
        time.sleep(0.01)


def octets(path):
    with open(path, "rb") as f:
        return f.read()


def messages(path):
    """(sequence, number of flow records) of each message of an IPFIX file; templates must be in the file itself."""
    data, at, templates, out = octets(path), 0, {}, []
    while at < len(data):
        version, length, _, sequence, _ = struct.unpack_from("!HHIII", data, at)
        check(version == 10 and at + length <= len(data), f"{path}: no message at {at}")
        end, at, records = at + length, at + 16, 0
        while at < end:
            number, size = struct.unpack_from("!HH", data, at)
            body = data[at + 4:at + size]
            if number in (2, 3):
                place = 0
                while place + 4 <= len(body):
                    template, n = struct.unpack_from("!HH", body, place)
                    place += 4 if number == 2 else 6
                    total = 0
                    for _ in range(n):
                        element, width = struct.unpack_from("!HH", body, place)
                        place += 8 if element & 0x8000 else 4
                        total += width if width != 65535 else 1 << 20
                    templates[template] = total
            else:
                check(number in templates, f"{path}: data of template {number}, which it has not")
                records += max(1, len(body) // templates[number])
            at += size
        out.append((sequence, records))
    return out


def read_json(paths):
    rows = []
    for path in paths:
        text = octets(path).decode()
        check(not text or text.endswith("\n"), f"{path} ends in the middle of a line")
        rows += [json.loads(line) for line in text.splitlines()]
    return rows


def all_once(rows, stats, what):
    """Each record is in one file."""
    twice = [n for n, k in collections.Counter(r["flowId"] for r in rows).items() if k > 1]
    check(not twice, f"{what}: {len(twice)} records are there twice")
    check(len(rows) == stats["flows"]["exported"], f"{what}: {len(rows)} of {stats['flows']['exported']} records")
    check(sum(r["packetDeltaCount"] for r in rows) == stats["packets"]["metered"], f"{what}: packets")


def whole_sessions(paths, stats, what):
    """Each file is a stream of its own: templates in it, sequence from 0 without a gap."""
    total = 0
    for path in paths:
        expected = 0
        for sequence, records in messages(path):
            check(sequence == expected, f"{path}: sequence {sequence} for {expected}")
            expected += records
        total += len(live.read_ipfix(path))
    check(total >= stats["flows"]["exported"], f"{what}: {total} of {stats['flows']['exported']} records")


def at_once(program):
    """Under their names from the beginning, growing by whole lines and messages; a heading once."""
    with links(("pt0", "pt0p")), tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        urls = [f"json:{d}/a.json", f"csv:{d}/a.csv", f"text:{d}/a.txt", f"ipfix+file:{d}/a.ipfix"]
        with running(program, "-i", "pt0", "--fields", FIELDS, *SHORT, collectors=urls, fields=False) as p:
            check(sorted(os.listdir(d)) == ["a.csv", "a.ipfix", "a.json", "a.txt"], f"{os.listdir(d)}")
            for i in range(3):
                before = [os.path.getsize(f"{d}/a.{x}") for x in ("json", "csv", "txt", "ipfix")]
                send("pt0p", mixture(1), 400)
                for x, size in zip(("json", "csv", "txt", "ipfix"), before):
                    until(lambda x=x, size=size: os.path.getsize(f"{d}/a.{x}") > size, f"a.{x} does not grow")
                    if x != "ipfix":
                        check(octets(f"{d}/a.{x}").endswith(b"\n"), f"a.{x} ends in the middle of a line")
                messages(f"{d}/a.ipfix")
            stats = p.stop()
        check(sorted(os.listdir(d)) == ["a.csv", "a.ipfix", "a.json", "a.txt"], f"{os.listdir(d)}")
        rows = read_json([f"{d}/a.json"])
        all_once(rows, stats, "json")
        with open(f"{d}/a.csv", newline="") as f:
            table = list(csv.DictReader(f))
        check([int(r["flowId"]) for r in table] == [r["flowId"] for r in rows], "csv and json differ")
        check(all((r["sourceIPv4Address"] == "") != (r["sourceIPv6Address"] == "") for r in table), "addresses in csv")
        check(len(octets(f"{d}/a.txt").splitlines()) == len(rows) + 1, "text: a line each and a heading")
        whole_sessions([f"{d}/a.ipfix"], stats, "ipfix")


def again(program):
    """A second run goes on behind what the first one wrote, or leaves that under another name."""
    with links(("pt0", "pt0p")), tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        urls = [f"json:{d}/a.json", f"csv:{d}/a.csv", f"ipfix+file:{d}/a.ipfix"]
        total = 0
        for fields in (FIELDS, FIELDS, "flowId,octetDeltaCount"):
            with running(program, "-i", "pt0", "--fields", fields, *SHORT, collectors=urls, fields=False) as p:
                send("pt0p", mixture(1), 400)
                stats = p.stop()
            total += stats["flows"]["exported"]
        check(len(read_json([f"{d}/a.json"])) == total, "json: records of all runs")
        names = sorted(os.listdir(d))
        check(len(names) == 6 and sum(bool(re.fullmatch(r"a-\d{14}(-1)?\.ipfix", n)) for n in names) == 2 and
              sum(bool(re.fullmatch(r"a-\d{14}\.csv", n)) for n in names) == 1, f"{names}")
        for path in glob.glob(f"{d}/*.csv"):
            with open(path, newline="") as f:
                check(sum(row[0] == "flowId" or "flowId" in row for row in csv.reader(f)) == 1, f"headings of {path}")
        for path in glob.glob(f"{d}/*.ipfix"):
            check(messages(path)[0][0] == 0, f"{path} does not begin with 0")
        check("a.csv: what was there begins otherwise" in p.said() or "a.ipfix: what was there" in p.said(), p.said())


def torn(program):
    """What a killed run left in the middle of a line is a line of its own."""
    with links(("pt0", "pt0p")), tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        with open(f"{d}/a.json", "w") as f:
            f.write('{"half":')
        with running(program, "-i", "pt0", *SHORT, collectors=[f"json:{d}/a.json"], fields=False) as p:
            send("pt0p", mixture(1), 40)
            p.stop()
        lines = octets(f"{d}/a.json").splitlines()
        check(lines[0] == b'{"half":' and len(lines) > 1 and all(json.loads(line) for line in lines[1:]), f"{lines[:2]}")


def rotation(program):
    """By time and by size, under load: complete files have their names, and each record is in one of them."""
    with links(("pt0", "pt0p")), tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        urls = [f"json:{d}/time-%Y%m%d%H%M%S.json?rotate=1s", f"json:{d}/size.json?rotate=64K",
                f"ipfix+file:{d}/both-%H%M%S.ipfix?rotate=2s|64K", f"csv:{d}/csv-%S.csv?rotate=1s,1M"]
        with running(program, "-i", "pt0", "--fields", FIELDS, *SHORT, collectors=urls, fields=False) as p:
            frames, sent = mixture(1, flows=200), 0
            end = time.monotonic() + live.DEADLINE_S
            while len(glob.glob(f"{d}/time-*.json")) < 4 or len(glob.glob(f"{d}/size-*.json")) < 4:
                check(time.monotonic() < end, f"no other files: {os.listdir(d)}; {p.said()}")
                send("pt0p", frames, 800)
                sent += 800
                parts = glob.glob(f"{d}/*.part")
                check(len(parts) <= 8, f"more than one in work and the next one: {parts}")
                for path in glob.glob(f"{d}/size-*.json")[:1]:
                    check(octets(path).endswith(b"\n"), f"{path} is not complete")
            stats = p.stop()
            check("warning" not in p.said() and "error" not in p.said(), p.said())
        check(stats["packets"]["dropped_by_kernel"] == 0 and stats["packets"]["metered"] == sent, f"{stats['packets']}")
        check(not glob.glob(f"{d}/*.part"), f"{os.listdir(d)}")
        for kind in ("time", "size"):
            all_once(read_json(glob.glob(f"{d}/{kind}-*.json")), stats, kind)
        for path in glob.glob(f"{d}/size-*.json"):
            check(os.path.getsize(path) < 16 * 65536, f"{path}: {os.path.getsize(path)} octets")
        whole_sessions(glob.glob(f"{d}/both-*.ipfix"), stats, "ipfix")
        rows = []
        for path in glob.glob(f"{d}/csv-*.csv"):
            with open(path, newline="") as f:
                rows += [{k: int(r[k]) for k in ("flowId", "packetDeltaCount")} for r in csv.DictReader(f)]
        all_once(rows, stats, "csv")


def logrotate(program):
    """Moved away and SIGHUP, under load: each record is in one file, and a SIGHUP alone changes nothing."""
    with links(("pt0", "pt0p")), tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        urls = [f"json:{d}/a.json", f"ipfix+file:{d}/a.ipfix"]
        with running(program, "-i", "pt0", "--fields", FIELDS, *SHORT, collectors=urls, fields=False) as p:
            frames, sent = mixture(1, flows=200), 0

            def load():
                nonlocal sent
                send("pt0p", frames, 800)
                sent += 800

            for i in range(6):
                size = os.path.getsize(f"{d}/a.json")
                until(lambda size=size: load() or os.path.getsize(f"{d}/a.json") > size, "a.json does not grow")
                p.process.send_signal(signal.SIGHUP)
                load()
                for name in ("a.json", "a.ipfix"):
                    os.rename(f"{d}/{name}", f"{d}/{name}.{i}")
                if i % 2: # as logrotate's "create" does
                    os.close(os.open(f"{d}/a.json", os.O_CREAT | os.O_WRONLY, 0o640))
                p.process.send_signal(signal.SIGHUP)
                until(lambda: load() or os.path.exists(f"{d}/a.json") and os.path.exists(f"{d}/a.ipfix"),
                      lambda: f"it is not made anew: {os.listdir(d)} {p.said()}")
                until(lambda: load() or os.path.getsize(f"{d}/a.json") > 0, "nothing in the new one")
            stats = p.stop()
        check(stats["packets"]["dropped_by_kernel"] == 0 and stats["packets"]["metered"] == sent, f"{stats['packets']}")
        check(len(os.listdir(d)) == 14, f"{os.listdir(d)}")
        all_once(read_json(glob.glob(f"{d}/a.json*")), stats, "json")
        whole_sessions(glob.glob(f"{d}/a.ipfix*"), stats, "ipfix")


def no_room(program):
    """Where no other file can be made the old one goes on, and it is told; later there is one."""
    with links(("pt0", "pt0p")), tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        with running(program, "-i", "pt0", "--fields", FIELDS, *SHORT, collectors=[f"json:{d}/a.json"], fields=False) as p:
            send("pt0p", mixture(1), 400)
            os.rename(f"{d}/a.json", f"{d}/b.json")
            os.mkdir(f"{d}/a.json")
            p.process.send_signal(signal.SIGHUP)
            until(lambda: "Is a directory" in p.said(), lambda: f"it is not told: {p.said()}")
            send("pt0p", mixture(1), 400)
            os.rmdir(f"{d}/a.json")
            until(lambda: os.path.exists(f"{d}/a.json"), "it is not tried again")
            send("pt0p", mixture(1), 400)
            stats = p.stop()
        all_once(read_json([f"{d}/a.json", f"{d}/b.json"]), stats, "json")


def removed(program):
    """A file that somebody removes is made anew; what was written into nothing counts as not sent, and is told."""
    with links(("pt0", "pt0p")), tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        names = "a.json", "a.ipfix"
        urls = [f"json:{d}/a.json", f"ipfix+file:{d}/a.ipfix"]
        with running(program, "-i", "pt0", "--fields", FIELDS, *SHORT, collectors=urls, fields=False) as p:

            def grown(why):
                def done():
                    send("pt0p", mixture(1), 50)
                    return all(os.path.exists(f"{d}/{n}") and os.path.getsize(f"{d}/{n}") for n in names)

                until(done, why)

            grown("nothing is written")
            for name in names:
                os.unlink(f"{d}/{name}")
            grown(lambda: f"it is not made anew: {os.listdir(d)} {p.said()}")
            p.process.send_signal(signal.SIGTERM)
            check(p.process.wait(live.DEADLINE_S) == 1, "records are lost, and it says that all is well")
            with open(p.stats, encoding="ascii") as f:
                stats = json.load(f)
        by = {c["url"].split(":")[0]: c for c in stats["collectors"]}
        check(all(c["not_sent"]["records"] > 0 for c in by.values()), f"{by}")
        check("somebody removed the file" in p.said(), f"it is not told: {p.said()}")
        check(0 < len(read_json([f"{d}/a.json"])) <= by["json"]["records"], f"{by}")
        check(messages(f"{d}/a.ipfix")[0][0] == 0, "what was made anew can not be read by itself")


@contextlib.contextmanager
def small_disk(size):
    """A file system of its own, of so many octets."""
    ctypes.CDLL(None).unshare(0x20000)  # CLONE_NEWNS; where that is not private it is unmounted all the same
    subprocess.run(["mount", "--make-rprivate", "/"], check=False, capture_output=True)
    with tempfile.TemporaryDirectory() as d:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "none", d], check=True)
        try:
            yield d
        finally:
            subprocess.run(["umount", d], check=True)


def full_disk(program):
    """In the middle of files: what has no room is counted and told, what is there is whole, and it goes on when there is room."""
    if os.geteuid() != 0:
        raise Failure(f"a file system of its own takes root: {live.lacking('root')}")
    for query in ("", "?rotate=1s", "?rotate=1h", "?rotate=1h&compress=gz"):
        with links(("pt0", "pt0p")), small_disk(512 << 10) as d:
            with open(f"{d}/filler", "wb") as f:
                f.write(os.urandom(300 << 10))
            urls = [f"json:{d}/a.json{query}"] + ([f"ipfix+file:{d}/b.ipfix{query}"] if "compress" not in query else [])
            with running(program, "-i", "pt0", "--fields", FIELDS, *SHORT, collectors=urls, fields=False) as p:
                sent, end = 0, time.monotonic() + live.DEADLINE_S
                while "No space left" not in p.said():
                    check(time.monotonic() < end, f"{query}: it is never full: {os.listdir(d)}; {p.said()}")
                    send("pt0p", mixture(1, flows=250), 2000)
                    sent += 2000
                os.unlink(f"{d}/filler")
                before = room(d)
                while room(d) > before - (20 << 10):
                    check(time.monotonic() < end, f"{query}: it does not go on: {os.listdir(d)}; {p.said()}")
                    send("pt0p", mixture(1), 400)
                    sent += 400
                p.process.send_signal(signal.SIGTERM)
                p.process.wait(live.DEADLINE_S)
                with open(p.stats, encoding="ascii") as f:
                    stats = json.load(f)
            check(stats["ledger"]["balanced"] and stats["packets"]["metered"] == sent, f"{query}: {stats['packets']}, {sent}")
            check(all("records not sent" in p.said() or c["not_sent"]["records"] == 0 for c in stats["collectors"]), p.said())
            check(any(c["not_sent"]["records"] for c in stats["collectors"]), f"{query}: nothing was lost")
            paths = glob.glob(f"{d}/a*")
            rows = read_json(paths) if "compress" not in query else \
                [json.loads(line) for path in paths for line in gzip.open(path).read().splitlines()]
            of_json = stats["collectors"][0]
            check(len(rows) == of_json["records"] and len({r["flowId"] for r in rows}) == len(rows),
                  f"{query}: {len(rows)} lines, {of_json}")
            check(of_json["records"] + of_json["not_sent"]["records"] == stats["flows"]["created"], f"{query}: {of_json}, {stats['flows']}")
            if len(urls) > 1:
                records = sum(n for path in glob.glob(f"{d}/b*") for _, n in messages(path))
                of_ipfix = stats["collectors"][1]
                check(records == of_ipfix["records"] + of_ipfix["option_records"], f"{query}: {records} in the files, {of_ipfix}")


def room(folder):
    at = os.statvfs(folder)
    return at.f_bfree * at.f_bsize


def left(program):
    """What a killed run left as .part stays, and so does what has its name."""
    with links(("pt0", "pt0p")), tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        urls = [f"json:{d}/a-%Y.json"]
        for _ in range(2):
            with running(program, "-i", "pt0", *SHORT, "--fields", FIELDS, collectors=urls, fields=False) as p:
                send("pt0p", mixture(1), 400)
                part = glob.glob(f"{d}/*.part")[-1]
                until(lambda: any(os.path.getsize(x) for x in glob.glob(f"{d}/*.part")), f"{part} stays empty")
                p.kill()
        with running(program, "-i", "pt0", *SHORT, "--fields", FIELDS, collectors=urls, fields=False) as p:
            send("pt0p", mixture(1), 400)
            stats = p.stop()
        names = sorted(os.listdir(d))
        year = time.strftime("%Y", time.gmtime())
        check(names == [f"a-{year}-1.json.part", f"a-{year}-2.json", f"a-{year}.json.part"], f"{names}")
        all_once(read_json([f"{d}/a-{year}-2.json"]), stats, "the third run")


def savefile(program):
    """Of a savefile files depend on the records' times alone; what is there is not replaced."""
    web = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data/web.pcap")
    with tempfile.TemporaryDirectory() as d:
        for k in ("1", "2"):
            os.mkdir(f"{d}/{k}")
            for extra in ((), ("--local-time",)):
                got = subprocess.run([program, "-q", "-r", web, *extra, "-n", f"json:{d}/{k}/a-%Y%m%d%H%M%S.json?rotate=1s",
                                      "-n", f"ipfix+file:{d}/{k}/b.ipfix?rotate=1s"], capture_output=True,
                                     env={**os.environ, "TZ": "EAT-03:00"}, check=False)
                check(got.returncode == 0, f"{got}")
        names = sorted(os.listdir(f"{d}/1"))
        check(names == sorted(f"{x}-20261123{t}.{x2}" for x, x2 in (("a", "json"), ("b", "ipfix"))
                              for t in ("131713", "131714", "161713", "161714")), f"{names}")
        check(names == sorted(os.listdir(f"{d}/2")), "another run has other files")
        for name in names:
            if name.endswith("json"):
                check(octets(f"{d}/1/{name}") == octets(f"{d}/2/{name}"), f"{name} differs")
            else:
                check(messages(f"{d}/1/{name}")[0][0] == 0, f"{name} does not begin with 0")
        check(len(read_json(glob.glob(f"{d}/1/a-2026112313*.json"))) == 27, "records")


def on_terminal(argv, columns, event=None, env=None):
    """What a program prints on a terminal of that width; event(text so far) is called until the end."""
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=other, stderr=other, env={**environment, **(env or {})})
    os.close(other)
    text, end = b"", time.monotonic() + live.DEADLINE_S
    while True:
        try:
            more = os.read(main, 65536)
        except OSError: # the other side is closed
            more = b""
        if not more:
            break
        text += more
        check(time.monotonic() < end, f"no end: {text}")
        if event:
            event(text.decode())
    os.close(main)
    check(p.wait() == 0, f"status {p.returncode}: {text}")
    return text.decode()


def terminal(program):
    """A table is as wide as the terminal; COLUMNS wins; a pipe gets all of it."""
    web = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data/web.pcap")
    whole = subprocess.run([program, "-q", "-r", web], capture_output=True, check=True, env={**os.environ, "COLUMNS": "80"})
    check(b"2026-11-23 13:17:14.227        0.000 ICMP                192.0.2.2 -> 192.0.2.1:3.3" in whole.stdout, f"{whole}")
    for columns in (40, 80, 81, 90, 100, 120, 132, 200):
        for env in ({}, {"COLUMNS": "100"}):
            lines = on_terminal([program, "-q", "-r", web], columns, env=env).splitlines()
            width = max(80, int(env.get("COLUMNS", columns)))
            check(len(lines) == 28 and max(map(len, lines)) <= width, f"{columns}, {env}: {max(lines, key=len)}")
            check(any("192.0.2.1:3.3" in line for line in lines), f"{columns}: no ICMP")


def progress(program):
    """A read that takes long says how far it is, and takes that off the screen."""
    web = octets(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data/web.pcap"))
    with tempfile.TemporaryDirectory() as d:
        os.mkfifo(f"{d}/slow")
        keep = [os.open(f"{d}/slow", os.O_RDWR)]
        os.write(keep[0], web)

        def event(text):
            if keep and "76 packets, " in text and " a second" in text:
                os.close(keep.pop())

        text = on_terminal([program, "-r", f"{d}/slow", "-n", f"json:{d}/out"], 80, event)
        check(not keep and "\x1b[K" in text, f"{text!r}")
        check("packets: 76 received" in text.split("\x1b[K")[-1], f"{text!r}")


if __name__ == "__main__":
    try:
        sys.exit(option_data.main((at_once, again, torn, rotation, logrotate, removed, no_room, full_disk, left, savefile, terminal, progress)))
    except Failure as failure:
        sys.exit(str(failure))
