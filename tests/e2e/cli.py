#!/usr/bin/env python3
"""The command line from outside: every mistake is one clear sentence and the right exit status, and what can go on
goes on.  0 success, 1 something could not be done, 2 the command line or configuration file is wrong."""
import os
import resource
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

import e2elib as e
import flows

WEB = e.DATA / "web.pcap"


def sentence(got, status, *words):
    """One line on stderr that has all the words, nothing else, and the exit status."""
    what = " ".join(str(a) for a in got.args[1:])
    text = got.stderr.decode(errors="replace")
    e.check(got.returncode == status, f"{what}: exit status {got.returncode} instead of {status}: {text}")
    e.check(len(text.splitlines()) == 1, f"{what}: not one sentence: {text!r}")
    for word in words:
        e.check(word in text, f"{what}: '{word}' is not in {text!r}")


def usage():
    sentence(e.run("-t", "30", "-r", WEB), 2, "--timeout", "30", "active")
    sentence(e.run("-m", "0", "-r", WEB), 2, "--max-flows", "0")
    sentence(e.run("-r", "-", "-r", "-"), 2, "--read", "-")
    sentence(e.run("-r", WEB, "--no-such-option"), 2, "no-such-option")
    sentence(e.run("-r", WEB, "-v", "7"), 2, "--format", "7")
    sentence(e.run("-r", WEB, "-n", "netflow5+tcp://127.0.0.1"), 2, "--collector", "netflow5")
    sentence(e.run("-r", WEB, "-n", "ipfix://127.0.0.1:99999"), 2, "--collector", "99999")
    sentence(e.run("-r", WEB, "-n", "gopher://127.0.0.1"), 2, "--collector", "gopher")
    sentence(e.run("-r", WEB, "-T", "tos,colour"), 2, "--flow-key", "colour")
    sentence(e.run("-r", WEB, "--fields", "octetDeltaCount,noSuchElement"), 2, "--fields", "noSuchElement")
    sentence(e.run("-r", WEB, "-B", "many"), 2, "--buffer", "many")
    sentence(e.run("-r", WEB, "--capture", "magic"), 2, "--capture", "magic")
    sentence(e.run("-r", WEB, "--config", "/does/not/exist"), 1, "--config", "/does/not/exist")
    sentence(e.run("-r", WEB, "-t", "active=0"), 2, "--timeout", "active", "31536000")
    sentence(e.run("-r", WEB, "-n", "ipfix://[fe80::1]:4739"), 2, "--collector", "fe80::1", "interface")
    for got in (e.run(), e.run("-n", "127.0.0.1")):
        e.check(got.returncode == 2 and b"--interface" in got.stderr, f"nothing to read from: {got.stderr!r}")


def informing():
    for option, words in (("--help", [b"--interface", b"--read"]), ("-V", [b"pitot"]),
                          ("--list-fields", [b"octetDeltaCount"])):
        got = e.run(option)
        e.check(got.returncode == 0 and all(w in got.stdout for w in words) and not got.stderr, f"{option}: {got}")
    got = e.run("--print-template", "-v", "ipfix")
    e.check(got.returncode == 0 and b"octetDeltaCount" in got.stdout, f"--print-template: {got}")
    got = e.run("--print-template", "-n", "netflow5://a", "-n", "ipfix+tcp://a", "--fields", "82,1")
    e.check(got.returncode == 0 and all(w in got.stdout for w in (b"a fixed layout", b"varies", b"flowId")),
            f"--print-template of two: {got}")
    got = e.run("--dry-run", "-r", WEB, "-n", "127.0.0.1")
    e.check(got.returncode == 0, f"--dry-run: {got}")
    sentence(e.run("--dry-run", "-r", WEB, "not port twentytwo or"), 2, "filter")


def filters():
    sentence(e.run("-r", WEB, "-f", "tpc port 80"), 2, "filter", "tpc")
    sentence(e.run("-r", WEB, "tcp port"), 2, "filter")
    expected = {k: v for k, v in flows.flows(WEB)[0].items() if k[2] == 6}
    for arguments in (["-f", "tcp"], ["tcp"], ["ip or ip6", "and", "tcp"]):
        with e.workdir() as d:
            got = e.run("-q", "-r", WEB, *e.NO_AGEING, "-n", "json:-", "--stats", f"{d}/s", *arguments)
            s = e.statistics(f"{d}/s")
        e.check(not e.differences(expected, e.json_flows(got.stdout)), f"{arguments}: {got.stderr!r}")
        e.check_ledger(str(arguments), s)


def filters_of_link_types():
    """What selects every IP packet changes nothing, whatever the link type.  (libpcap looks for IPv6 in BSD loopback
    frames under the number that it has on this system only.)"""
    for path in sorted(e.DATA.glob("link-*.pcap")):
        if path.name == "link-unknown.pcap":
            continue
        word = "greater 1" if path.name in ("link-null.pcap", "link-loop.pcap") else "ip or ip6"
        all_of_it, selected = (e.run("-q", "-r", path, "-n", "json:-", *words) for words in ([], [word]))
        e.check(all_of_it.stdout and all_of_it.stdout == selected.stdout, f"{path.name}: a filter: {selected.stderr!r}")
    raw = (e.DATA / "link-raw.pcap").read_bytes()
    for number in (12, 14):  # other names of raw IP
        data = raw[:20] + struct.pack("<I", number) + raw[24:]
        all_of_it, selected = (e.run("-q", "-r", "-", "-n", "json:-", *w, stdin=data) for w in ([], ["ip or ip6"]))
        e.check(all_of_it.stdout and all_of_it.stdout == selected.stdout, f"raw IP as {number}: {selected.stderr!r}")


def unwritable():
    """A file that cannot be written is told before anything is measured, in one sentence."""
    with e.workdir() as d:
        for path in (d, f"{d}/no/such"):
            sentence(e.run("-q", "-r", WEB, "-n", "json:-", "--stats", path), 1, "--stats", path)
        if os.path.exists("/dev/full"):
            sentence(e.run("-q", "-r", WEB, "-n", f"json:{d}/j", "--stats", "/dev/full"), 1, "--stats", "No space")
        file = Path(d) / "file"
        file.write_bytes(b"")
        for path in (file, f"{d}/no/such"):
            sentence(e.run("-q", "-r", WEB, "-n", "ipfix+tcp://127.0.0.1:9", "--spool", path), 1, "--spool", str(path))


def overwriting():
    """What is read is not written, by no name that it has."""
    with e.workdir() as d:
        capture, other = Path(d) / "x.pcap", Path(d) / "link"
        capture.write_bytes(WEB.read_bytes())
        os.link(capture, other)
        for option, value in (("-n", f"json:{capture}"), ("-n", f"ipfix+file:{other}"), ("--stats", capture),
                              ("-p", other)):
            got = e.run("-q", "-r", capture, option, value)
            sentence(got, 2, "--read", "name another")
            e.check(capture.read_bytes() == WEB.read_bytes(), f"{option} {value} changed the capture")
        sentence(e.run("-q", "-r", WEB, "-n", f"json:{d}/new", "--stats", f"{d}/new"), 2, "--stats", "--collector")
        # two ways to one name, before there is such a file, and the name under which it grows
        os.mkdir(f"{d}/sub")
        os.symlink("sub", f"{d}/way")
        for one, two in ((f"json:{d}/new", f"text:{d}/./new"), (f"json:{d}/sub/new", f"text:{d}/way/new"),
                         (f"json:{d}/new", f"text:{d}/new.part"), (f"json:{d}/new.part", f"text:{d}/new")):
            sentence(e.run("-q", "-r", WEB, "-n", one, "-n", two), 2, "--collector", "name another")
        for path in (f"{d}/sub/../new", f"{d}/new.part"):
            sentence(e.run("-q", "-r", WEB, "-n", f"json:{d}/new", "--stats", path), 2, "--stats", "--collector")
            sentence(e.run("-q", "-r", WEB, "-n", f"json:{d}/new", "-p", path), 2, "--pidfile", "--collector")
        # what the shell opened
        for option, value in (("-n", f"json:{capture}"), ("--stats", other), ("-p", capture)):
            with open(capture, "rb") as stdin:
                got = subprocess.run([e.PITOT, "-q", "-r", "-", option, value], stdin=stdin, capture_output=True,
                                     check=False, timeout=60)
            sentence(got, 2, "--read -", "name another")
            e.check(capture.read_bytes() == WEB.read_bytes(), f"{option} {value} changed what standard input reads")
        with open(f"{d}/out", "wb") as stdout:
            got = subprocess.run([e.PITOT, "-q", "-r", WEB, "-n", "json:-", "--stats", f"{d}/out"], stdout=stdout,
                                 stderr=subprocess.PIPE, check=False, timeout=60)
        sentence(got, 2, "--stats", "--collector -", "name another")
        with open(capture, "ab") as stdout:
            got = subprocess.run([e.PITOT, "-q", "-r", capture], stdout=stdout, stderr=subprocess.PIPE, check=False,
                                 timeout=60)
        sentence(got, 2, "--collector -", "--read", "name another")
        e.check(capture.read_bytes() == WEB.read_bytes(), "the table was added to the capture")
    got = e.run("-q", "-r", WEB, "-n", "json:/dev/null", "--stats", "/dev/null")
    e.check(got.returncode == 0 and not got.stderr, f"two things to /dev/null: {got.stderr!r}")


def limits():
    """What a limit of the process forbids is an error with a sentence, and no death by a signal."""
    with e.workdir() as d:
        flows_of = many_flows(5000)
        Path(f"{d}/many.pcap").write_bytes(flows_of)

        def limited(kind, most, *args):
            # soft: a build for coverage lifts it at the end, for its counters; pitot itself lifts that of descriptors
            hard = most if kind == resource.RLIMIT_NOFILE else resource.getrlimit(kind)[1]
            return subprocess.run([e.PITOT, "-q", *args], capture_output=True, check=False, timeout=60,
                                  preexec_fn=lambda: resource.setrlimit(kind, (most, hard)))

        got = limited(resource.RLIMIT_FSIZE, 4096, "-r", f"{d}/many.pcap", "-n", "json:/dev/null")
        e.check(got.returncode == 0 and not got.stderr, f"no file is written, and: {got.returncode} {got.stderr!r}")
        got = limited(resource.RLIMIT_FSIZE, 4096, "-r", f"{d}/many.pcap", "-n", f"json:{d}/out", "--stats", f"{d}/s")
        sentence(got, 1, f"json:{d}/out", "File too large", "of 5000 flow records")
        e.check_ledger("file size", e.statistics(f"{d}/s"))
        e.check(os.path.exists(f"{d}/out.part") and not os.path.exists(f"{d}/out"), "a part has the final name")
    if os.getuid() == 0:
        sentence(limited(resource.RLIMIT_NOFILE, 10, "-i", "lo", "-n", "json:/dev/null"), 1, "Too many open files")


def files():
    sentence(e.run("-r", "/does/not/exist"), 1, "/does/not/exist", "No such file")
    sentence(e.run("-q", "-r", e.DATA), 1, "irectory")
    for name in ("bad-empty.pcap", "bad-short-header.pcap", "bad-magic.pcap"):
        sentence(e.run("-q", "-r", e.DATA / name), 1, name)
    sentence(e.run("-q", "-r", e.DATA / "link-unknown.pcap"), 1, "147")
    sentence(e.run("-q", "-r", e.DATA / "link-unknown.pcapng"), 1, "link-unknown.pcapng", "147")
    # what is good before the end is exported
    for name in ("bad-truncated.pcap", "bad-truncated-record.pcap", "bad-truncated.pcapng", "bad-record-length.pcap"):
        with e.workdir() as d:
            got = e.run("-q", "-r", e.DATA / name, *e.NO_AGEING, "-n", "json:-", "--stats", f"{d}/s")
            s = e.statistics(f"{d}/s")
        sentence(got, 1, name)
        expected, _ = flows.flows(e.DATA / name) if name != "bad-record-length.pcap" else ({}, 0)
        difference = e.differences(expected, e.json_flows(got.stdout))
        e.check(not difference, f"{name}: flows so far\n{difference}")
        e.check_ledger(name, s)
    with e.workdir() as d:
        os.chmod(d, 0o755)
        secret = Path(d) / "secret.pcap"
        secret.write_bytes(WEB.read_bytes())
        secret.chmod(0)
        if os.getuid() == 0 and e.have("setpriv"):
            sentence(e.run("-i", "lo", user="65534"), 1, "--interface lo: ", "CAP_NET_RAW")
        if os.getuid() != 0:
            sentence(e.run("-r", secret), 1, "secret.pcap", "ermission")
        elif e.have("setpriv"):
            sentence(e.run("-r", secret, user="65534"), 1, "secret.pcap", "ermission")
    sentence(e.run("-q", "-r", WEB, "-n", "json:/does/not/exist/x"), 1, "/does/not/exist/x")
    for pidfile, why in (("/does/not/exist/x", 'there is no directory "does"'), ("/dev/full", "No space left")):
        sentence(e.run("-q", "-r", WEB, "-n", "json:/dev/null", "-p", pidfile), 1, "--pidfile", pidfile, why)
    sentence(e.run("--daemon", "-r", "/does/not/exist", "-n", "json:/dev/null"), 1, "/does/not/exist", "No such file")


def link_types():
    """Files of several link types: each packet as its interface says; the unknown ones have a counter."""
    for name, unknown in (("kinds.pcapng", 3), ("two-links.pcapng", 0)):
        path = e.DATA / name
        expected, ignored = flows.flows(path)
        for more, stdin in ((["-r", path], None), (["-r", "-"], path.read_bytes()), (["-r", path, "-w", "3"], None)):
            with e.workdir() as d:
                got = e.run("-q", *more, *e.NO_AGEING, "-n", "json:-", "--stats", f"{d}/s", stdin=stdin)
                s = e.statistics(f"{d}/s")
            e.check(got.returncode == 0, f"{name}: {got.stderr!r}")
            difference = e.differences(expected, e.json_flows(got.stdout))
            e.check(not difference, f"{name}: {difference}")
            e.check_ledger(name, s)
            found = s["packets"]["ignored"]
            e.check(found["unknown_link"] == unknown and sum(found.values()) == ignored, f"{name}: ignored: {found}")
            # Ethernet is among the interfaces in front of the first packet
            e.check(b"sourceMacAddress" in got.stdout, f"{name}: no MAC addresses")
    # a name in a filter cannot be looked up any more when the interface comes
    got = e.run("-q", "-r", e.DATA / "kinds.pcapng", *e.NO_AGEING, "-n", "json:-", "udp dst port domain and not src port 100")
    expected = {k: v for k, v in flows.flows(e.DATA / "kinds.pcapng")[0].items() if k[3] != 100}
    e.check(not e.differences(expected, e.json_flows(got.stdout)), f"filter: {got.returncode} {got.stderr!r}")


def several():
    """Several files, several collectors, a pipe."""
    arguments = ["-q", *["-r", str(WEB)] * 300, *e.NO_AGEING, "-n", "json:-"]
    many = subprocess.run(["sh", "-c", 'ulimit -S -n 64; exec "$@"', "sh", e.PITOT, *arguments], capture_output=True,
                          check=False)
    e.check(many.returncode == 0 and sum(v[0] for v in e.json_flows(many.stdout).values()) == 300 * 74,
            f"more files than descriptors: {many.stderr!r}")
    one, two = flows.flows(WEB)[0], flows.flows(e.DATA / "icmp.pcap")[0]
    got = e.run("-q", "-r", WEB, "-r", e.DATA / "icmp.pcap", *e.NO_AGEING, "-n", "json:-")
    e.check(not e.differences({**one, **two}, e.json_flows(got.stdout)), f"two files: {got.stderr!r}")
    for name in ("web.pcap", "mixed.pcapng", "mixed-be.pcap"):
        data = (e.DATA / name).read_bytes()
        got = e.run("-q", "-r", "-", *e.NO_AGEING, "-n", "json:-", stdin=data)
        difference = e.differences(flows.flows(e.DATA / name)[0], e.json_flows(got.stdout))
        e.check(got.returncode == 0 and not difference, f"{name} by a pipe: {got.stderr!r} {difference}")
    sentence(e.run("-q", "-r", "-", stdin=b""), 1, "empty")
    sentence(e.run("-q", "-r", "-", "-n", "json:/dev/null", stdin=WEB.read_bytes()[:-5]), 1, "cut")
    kinds = (e.DATA / "mixed.pcapng").read_bytes()
    sentence(e.run("-q", "-r", "-", "-n", "json:/dev/null", stdin=kinds[:-5]), 1, "cut", "packet 76")


def slow_pipe():
    """Packets that come one by one are measured when they come."""
    data = WEB.read_bytes()
    p = subprocess.Popen([e.PITOT, "-q", "-r", "-", *e.NO_AGEING, "-n", "json:-"], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for at in range(0, len(data), 1500):
        p.stdin.write(data[at:at + 1500])
        p.stdin.flush()
        time.sleep(0.02)
    out, err = p.communicate(timeout=60)
    e.check(not e.differences(flows.flows(WEB)[0], e.json_flows(out)), f"a slow pipe: {err!r}")


def pidfile_in_use():
    """The file of a running pitot is its own; what one that was killed left behind is not."""
    with e.workdir() as d:
        pidfile = Path(d) / "pid"
        pidfile.write_text("123456789\n")
        p = subprocess.Popen([e.PITOT, "-q", "-r", "-", "-n", "json:/dev/null", "-p", str(pidfile)],
                             stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        p.stdin.write(WEB.read_bytes())
        p.stdin.flush()
        e.wait(lambda: pidfile.read_text() == f"{p.pid}\n", lambda: f"{pidfile.read_text()!r} in the pid file")
        sentence(e.run("-q", "-r", WEB, "-n", "json:/dev/null", "-p", pidfile), 1, "--pidfile", f"process {p.pid},")
        e.check(pidfile.exists() and pidfile.read_text() == f"{p.pid}\n", "the pid file of another was touched")
        err = p.communicate(timeout=60)[1]
        e.check(p.returncode == 0 and not pidfile.exists(), f"{p.returncode}, {err!r}, {os.listdir(d)}")


def collectors():
    """One that refuses, one that does not resolve, one that is well: the well one gets everything."""
    expected = flows.flows(WEB)[0]
    dead = e.free_port()
    sink = e.Sink()
    with e.workdir() as d:
        got = e.run("-r", WEB, *e.NO_AGEING, "-n", f"ipfix://127.0.0.1:{dead}", "-n", "no-such-host.invalid",
                    "-n", f"netflow9://127.0.0.1:{sink.port}", "-n", f"json:{d}/j", "--stats", f"{d}/s", timeout=90)
        s = e.statistics(f"{d}/s")
        found = e.json_flows(Path(f"{d}/j").read_bytes())
    datagrams = sink.stop()
    e.check(got.returncode in (0, 1), f"dead collectors: status {got.returncode}")
    e.check(not e.differences(expected, found), "dead collectors harmed the JSON file")
    e.check(len(datagrams) > 0, "dead collectors harmed the UDP one")
    e.check(b"no-such-host.invalid" in got.stderr, f"who does not resolve is not said: {got.stderr!r}")
    by_url = {c["url"]: c for c in s["collectors"]}
    unresolved = next(c for u, c in by_url.items() if "no-such-host" in u)
    e.check(unresolved["records"] == 0 and unresolved["not_sent"]["records"] == len(expected),
            f"records to a host that does not resolve: {unresolved}")
    e.check_ledger("dead collectors", s)


def one_dead_collector():
    """One sentence, not one for each datagram; and grammar."""
    nowhere = e.free_port()
    sentence(e.run("-q", "-r", WEB, "-n", f"127.0.0.1:{nowhere}"), 1, "--collector", "Connection refused: 27 of 27 flow records not sent")
    sentence(e.run("-q", "-r", WEB, "-n", f"netflow5://127.0.0.1:{nowhere}"), 1, "--collector", "Connection refused: 16 of 16 flow records not sent")
    sentence(e.run("-q", "-r", WEB, "-n", "no-such-host.invalid", timeout=90), 1, "--collector", "no-such-host.invalid",
             "27 of 27 flow records not sent", "(1 error)")
    with e.workdir() as d:
        sentence(e.run("-q", "-r", WEB, "-n", f"sflow://127.0.0.1:{nowhere}", "--sflow-rate", "1", "--stats", f"{d}/s"), 1,
                 "--collector", "Connection refused: 76 of 76 samples not sent")
        e.run("-q", "-r", WEB, "-n", f"127.0.0.1:{nowhere}", "--stats", f"{d}/ipfix")
        sampled, = e.statistics(f"{d}/s")["collectors"]
        ipfix, = e.statistics(f"{d}/ipfix")["collectors"]
    e.check(sampled["samples"] == 0 and sampled["not_sent"]["samples"] == 76, f"refused samples: {sampled}")
    e.check(ipfix["templates"] == ipfix["option_records"] == ipfix["messages"] == 0, f"refused, and sent: {ipfix}")
    got = e.run("-r", WEB)
    e.check(b"flows in 1 message, " in got.stderr, f"the summary's grammar: {got.stderr!r}")


def full_disk():
    if not os.path.exists("/dev/full"):
        return e.skip_part("no /dev/full")
    with open("/dev/full", "wb") as full:
        p = subprocess.run([e.PITOT, "--list-fields"], stdout=full, stderr=subprocess.PIPE, check=False)
    e.check(p.returncode == 1 and b"No space" in p.stderr, f"--list-fields into /dev/full: {p.stderr!r}")
    got = e.run("-q", "-r", WEB, "-n", "json:/dev/full")
    e.check(got.returncode == 1, f"/dev/full: status {got.returncode}")
    e.check(b"No space" in got.stderr, f"/dev/full: {got.stderr!r}")
    r, w = os.pipe()
    os.close(r)  # the reader of stdout has gone
    p = subprocess.run([e.PITOT, "-q", "-r", str(WEB), "-n", "json:-"], stdout=w, stderr=subprocess.PIPE, check=False)
    os.close(w)
    e.check(p.returncode == 1, f"closed pipe: status {p.returncode}, {p.stderr!r}")


def config_file():
    with e.workdir() as d:
        conf = Path(d) / "pitot.conf"
        conf.write_text(f"# a comment\nread = {WEB}\ntimeout = tcp-end=off,active=1000000,inactive=1000000\nquiet = yes\n"
                        f"collector = json:{d}/a\n", encoding="utf-8")
        got = e.run("--config", conf)
        found = e.json_flows(Path(f"{d}/a").read_bytes()) if Path(f"{d}/a").exists() else {}
        e.check(got.returncode == 0 and not e.differences(flows.flows(WEB)[0], found), f"configuration file: {got.stderr!r}")
        conf.write_text("read = x\nmax-flow = 5\n", encoding="utf-8")
        sentence(e.run("--config", conf), 2, "pitot.conf", "2", "max-flow")


def live(arguments, do):
    """Runs pitot on lo of a network namespace of its own, calls do(process) when it is up; status, stdout, stderr.

    unshare and nsenter, since `ip netns` mounts, and in a chroot there is nothing to mount on."""
    up = f"{e.find('ip')} link set lo up && exec \"$@\""
    with e.workdir() as d:
        pidfile = Path(d) / "pid"  # written when everything is open
        p = subprocess.Popen([e.find("unshare"), "--net", "sh", "-c", up, "sh", e.PITOT, "-i", "lo", "-c", "none",
                              "-p", str(pidfile), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        e.wait(lambda: p.poll() is not None or (pidfile.exists() and pidfile.read_text()), "a live pitot does not start")
        do(p)
        out, err = p.communicate(timeout=60)
    return p.returncode, out, err


SEND = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 20000))
r = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); r.bind(("127.0.0.1", 20001))
for i in range(500): s.sendto(bytes(100), ("127.0.0.1", 20001))
"""


def send(p):
    subprocess.run([e.find("nsenter"), "--net", "-t", str(p.pid), "python3", "-c", SEND], check=True)


def may_capture():
    if os.getuid() != 0:
        e.skip_part("live capture needs root")
        return False
    if not e.have("ip", "unshare", "nsenter"):
        return False
    got = subprocess.run([e.find("unshare"), "--net", "true"], capture_output=True, check=False)
    if got.returncode:
        e.skip_part(f"no network namespaces: {got.stderr.decode().strip()}")
    return got.returncode == 0


def signals():
    sentence(e.run("-i", "no-such-if"), 1, "--interface", "no-such-if")
    if not may_capture():
        return
    with e.workdir() as d:
        def stop(p):
            whole = {}

            def all_received():
                p.send_signal(signal.SIGUSR1)
                whole.update(stats_now() or {})
                return whole and whole["packets"]["received"] >= 500

            def stats_now():
                try:
                    return e.statistics(f"{d}/s")
                except (OSError, ValueError):  # not yet, or not wholly
                    return None

            send(p)
            e.wait(all_received, lambda: f"SIGUSR1: {stats_now()}")
            e.check_ledger("SIGUSR1", whole)
            p.send_signal(signal.SIGHUP)
            send(p)
            p.send_signal(signal.SIGTERM)

        status, out, err = live(["-q", "-n", "json:-", "--stats", f"{d}/s"], stop)
        e.check(status == 0, f"SIGTERM: status {status}, {err!r}")
        found = e.json_flows(out)
        key = ("127.0.0.1", "127.0.0.1", 17, 20000, 20001)
        s = e.statistics(f"{d}/s")
        e.check_ledger("SIGTERM", s)
        # on lo each packet is seen as sent and as received
        e.check(found.get(key, [0])[0] in (1000, 2000), f"1000 packets were sent: {found.get(key)}")
        e.check(found.get(key, [0, 0])[1] == found.get(key, [0])[0] * 128, f"octets: {found.get(key)}")

    def interrupt(p):
        p.send_signal(signal.SIGINT)

    status, out, err = live(["-q", "-n", "json:-"], interrupt)
    e.check(status == 0 and not err, f"SIGINT: status {status}, {err!r}")


def signal_while_opening():
    """Neither a file's first octets nor a pipe's other end are there yet: one signal is enough."""
    with e.workdir() as d:
        os.mkfifo(f"{d}/fifo")
        for arguments in (["-r", "-"], ["-r", f"{d}/fifo"], ["-r", str(WEB), "-n", f"json:{d}/fifo"]):
            with subprocess.Popen([e.PITOT, "-q", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE) as p:
                time.sleep(0.5)
                e.check(p.poll() is None, f"{arguments}: does not wait: {p.returncode}")
                p.send_signal(signal.SIGTERM)
                try:
                    p.wait(timeout=60)
                except subprocess.TimeoutExpired:
                    p.kill()
                    e.check(False, f"{arguments}: SIGTERM is not heard")


def many_flows(count):
    """A capture file of so many flows, a packet each."""
    head = WEB.read_bytes()[:24]
    frame = bytearray(bytes(12) + b"\x08\0\x45\0" + struct.pack("!HHHBBH", 28, 0, 0, 64, 17, 0) + bytes(16))
    out = [head]
    for i in range(count):
        frame[26:30] = struct.pack("!I", 0x0a000000 + i)
        out.append(struct.pack("<IIII", 1700000000, 0, len(frame), len(frame)) + frame)
    return b"".join(out)


def second_signal():
    """A collector that takes nothing holds the end up for --stop-timeout; a second signal ends the program now."""
    with socket.socket() as deaf, e.workdir() as d:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(1)
        with subprocess.Popen([e.PITOT, "-q", "-r", "-", "-m", "200000", "-p", f"{d}/pid", "--stop-timeout", "600", "-n",
                               f"ipfix+tcp://127.0.0.1:{deaf.getsockname()[1]}"], stdin=subprocess.PIPE,
                              stderr=subprocess.PIPE) as p:
            p.stdin.write(many_flows(100000))
            p.stdin.close()
            e.wait(lambda: p.poll() is not None or e.at_work(p.pid), "does not begin")
            p.send_signal(signal.SIGTERM)
            e.wait(lambda: p.poll() is not None or e.heard(p.pid, signal.SIGTERM), "the first SIGTERM is not heard")
            e.check(p.poll() is None, f"ended before the second signal: {p.returncode}")
            p.send_signal(signal.SIGTERM)
            try:
                p.wait(timeout=60)
            except subprocess.TimeoutExpired:
                p.kill()
            e.check(p.returncode == 1, f"a second SIGTERM: status {p.returncode}")
            e.check(not os.path.exists(f"{d}/pid"), "a second SIGTERM: the pid file is still there")


def main():
    for part in (usage, informing, filters, filters_of_link_types, unwritable, overwriting, limits, files, link_types,
                 several, slow_pipe, pidfile_in_use, collectors, one_dead_collector, full_disk, config_file, signals,
                 signal_while_opening, second_signal):
        part()
    e.finish()


main()
