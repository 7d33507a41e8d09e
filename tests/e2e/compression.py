#!/usr/bin/env python3
"""Files that are compressed (?compress=): read by zcat and zstdcat, when they are complete and when pitot was killed.

    compression.py PITOT [SRCROOT] [--only NAME]

Live in a network namespace of its own.  Prints `ok NAME` or `FAIL NAME why`; exit status 77 without privilege.
"""
import contextlib
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import live
import option_data
from files import FIELDS, SHORT, all_once, octets, read_json, until, whole_sessions
from live import Failure, check, links, mixture, running, send

READERS = {"gz": "zcat", "zst": "zstdcat"}
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data")


def unpacked(path, whole=True):
    """What the reader of that kind makes of a file; whole: it has no complaint."""
    kind = "gz" if ".gz" in path else "zst"
    with open(path, "rb") as f:
        got = subprocess.run([READERS[kind]], stdin=f, capture_output=True, check=False, timeout=60)
    check(not whole or (got.returncode == 0 and not got.stderr), f"{path}: {got.stderr}")
    return got.stdout


def unpack(folder, pattern, whole=True):
    """The files of a pattern, as they would be without; their paths."""
    out = []
    for path in sorted(glob.glob(f"{folder}/{pattern}")):
        out.append(f"{folder}/plain-{os.path.basename(path)}")
        with open(out[-1], "wb") as f:
            f.write(unpacked(path, whole))
    return out


def results(program):
    """Of savefiles: the same octets as without, under a name that says so; also where there is no record."""
    with tempfile.TemporaryDirectory() as d:
        for capture, status in (("mixed.pcap", 0), ("no-ip.pcap", 0), ("bad-empty.pcap", 1)):
            for kind in READERS:
                urls = []
                for form in ("json:{}/a.json", "csv:{}/b.csv", "ipfix+file:{}/c.ipfix", "text:{}/d"):
                    urls += ["-n", form.format(d), "-n", f"{form.format(d)}?compress={kind}"]
                got = subprocess.run([program, "-q", "-r", f"{DATA}/{capture}", *urls], capture_output=True, text=True,
                                     check=False, timeout=60)
                check(got.returncode == status, f"{capture}: {got}")
                check(not glob.glob(f"{d}/*.part") or status, f"{os.listdir(d)}")
                for name in ("a.json", "b.csv", "c.ipfix", "d"):
                    if os.path.exists(f"{d}/{name}"):
                        check(unpacked(f"{d}/{name}.{kind}") == octets(f"{d}/{name}"), f"{capture}: {name}.{kind} is another")
                for path in glob.glob(f"{d}/*"):
                    os.unlink(path)
        # a name that ends so already, and times before the whole ending
        for url in ("json:{}/a.json.gz?compress=gz", "json:{}/b.json?compress=gz&rotate=1h", "json:{}/c-%Y.json?rotate=1h&compress=gz"):
            subprocess.run([program, "-q", "-r", f"{DATA}/mixed.pcap", "-n", url.format(d)], check=True, timeout=60)
        names = sorted(os.listdir(d))
        check(names == ["a.json.gz", "b-20231114221320.json.gz", "c-2023.json.gz"], f"{names}")


def refused(program):
    """What is never complete is not compressed: a sentence, and status 2."""
    for args, words in ((("-r", "x", "-n", "json:-?compress=gz"), "pipe it to gzip"),
                        (("-i", "lo", "-n", "json:a?compress=gz"), "add ?rotate=TIME"),
                        (("-r", "x", "-n", "json:a?compress=xz"), "there are gz and zst"),
                        (("-r", "x", "-n", "json:a?compress="), "there are gz and zst")):
        got = subprocess.run([program, *args], capture_output=True, text=True, check=False, timeout=60)
        check(got.returncode == 2 and words in got.stderr, f"{args}: {got}")


def children(pid):
    """{name: pid} of what it has started and has not ended."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        found = f.read().split()
    names = {}
    for child in found:
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{child}/comm", encoding="ascii") as f:
            names[f.read().strip()] = int(child)
    return names


def rotation(program):
    """By time and by size, under load: each record is in one complete file, and no program is started for that."""
    with links(("pt0", "pt0p")), tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        urls = [f"json:{d}/time.json?rotate=1s&compress=gz", f"json:{d}/size.json?compress=zst&rotate=64K",
                f"ipfix+file:{d}/both.ipfix?rotate=2s|64K&compress=gz"]
        with running(program, "-i", "pt0", "--fields", FIELDS, *SHORT, collectors=urls, fields=False) as p:
            frames, sent = mixture(1, flows=200), 0
            end = time.monotonic() + live.DEADLINE_S
            while len(glob.glob(f"{d}/time-*.gz")) < 4 or len(glob.glob(f"{d}/size-*.zst")) < 4:
                check(time.monotonic() < end, f"no other files: {os.listdir(d)}; {p.said()}")
                send("pt0p", frames, 800)
                sent += 800
                names = children(p.process.pid)
                check(all(name.startswith("pitot-") for name in names), f"{names}")
            stats = p.stop()
        check(stats["packets"]["metered"] == sent, f"{stats['packets']}")
        check(not glob.glob(f"{d}/*.part"), f"{os.listdir(d)}")
        for kind in ("time", "size"):
            all_once(read_json(unpack(d, f"{kind}-*")), stats, kind)
        whole_sessions(unpack(d, "both-*"), stats, "ipfix")


def killed(program):
    """What was written can be read, and the next run leaves it alone."""
    with links(("pt0", "pt0p")), tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        urls = [f"json:{d}/a.json?rotate=1h&compress=gz", f"json:{d}/b.json?rotate=1h&compress=zst"]

        def lines():
            return [unpacked(path, False).count(b"\n") for path in glob.glob(f"{d}/*.part")]
        with running(program, "-i", "pt0", "--fields", FIELDS, *SHORT, collectors=urls, fields=False) as p:
            send("pt0p", mixture(1, flows=200), 800)
            until(lambda: len(lines()) == 2 and min(lines()) >= 200, lambda: f"what grows cannot be read: {lines()}")
            p.process.send_signal(signal.SIGKILL)
            p.process.wait()
        left = glob.glob(f"{d}/*.part")
        check(len(left) == 2, f"{os.listdir(d)}")
        read_json(unpack(d, "*.part"))
        before = {path: octets(path) for path in left}
        with running(program, "-i", "pt0", "--fields", FIELDS, *SHORT, collectors=urls, fields=False) as p:
            stats = p.stop()
        check(stats["flows"]["exported"] == 0, f"{stats['flows']}")
        check({path: octets(path) for path in left} == before, "what was left was changed")
        empty = glob.glob(f"{d}/[ab]*.gz") + glob.glob(f"{d}/[ab]*.zst")
        check(len(empty) == 2 and not any(unpacked(path) for path in empty), f"{os.listdir(d)}")


def exporting(pid):
    return children(pid).get("pitot-exporting", 0)


def revived(program):
    """The exporting process dies and comes again: files go on, are whole, and no record is there twice."""
    with links(("pt0", "pt0p")), tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        urls = [f"json:{d}/a.json?rotate=1h&compress=gz", f"json:{d}/b.json?rotate=1h&compress=zst"]
        with running(program, "-i", "pt0", "--fields", FIELDS, *SHORT, collectors=urls, fields=False) as p:
            for rounds in (1, 2):
                send("pt0p", mixture(1, flows=200), 800)
                until(lambda n=rounds: all(unpacked(path, False).count(b"\n") >= 200 * n for path in glob.glob(f"{d}/*.part")),
                      lambda: f"it does not grow: {os.listdir(d)}")
                # what it has not told control yet counts as not sent
                until(lambda n=rounds: option_data.statistics(p)["flows"]["exported"] >= 200 * n, "it is not told")
                first = exporting(p.process.pid)
                os.kill(first, signal.SIGKILL)
                until(lambda: exporting(p.process.pid) not in (0, first), p.said)
            send("pt0p", mixture(2, flows=200), 800)
            stats = p.stop()
        check(not glob.glob(f"{d}/*.part") and len(os.listdir(d)) == 2, f"{os.listdir(d)}")
        for kind in "ab":
            rows = read_json(unpack(d, f"{kind}-*"))
            check(len({r["flowId"] for r in rows}) == len(rows), f"{kind}: records are there twice")
            # on a host that is busy a flow may fall idle between two of its packets: more records, and all are there
            check(len(rows) == stats["flows"]["exported"] >= 600 and stats["ledger"]["balanced"],
                  f"{kind}: {len(rows)} records: {stats['flows']}")


if __name__ == "__main__":
    missing = [reader for reader in READERS.values() if not shutil.which(reader)]
    if missing:
        sys.exit(live.lacking(f"{', '.join(missing)} not installed"))
    probe = subprocess.run([sys.argv[1], "-q", "-r", f"{DATA}/mixed.pcap", "-n", "json:/nowhere/x?compress=zst", "-n",
                            "json:/nowhere/x?compress=gz"], capture_output=True, check=False)
    if b"this build has no" in probe.stderr:
        sys.exit(live.lacking("this build compresses nothing"))
    try:
        sys.exit(option_data.main((results, refused, rotation, killed, revived)))
    except Failure as failure:
        sys.exit(str(failure))
