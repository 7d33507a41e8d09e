#!/usr/bin/env python3
"""Transports with a connection: nothing is lost while collectors come and go, and nobody gets records who cannot
prove his name."""
import collections
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import time
from pathlib import Path

import e2elib as e
import ipfixlib as ipfix
from transportlib import finish, make_certificates, make_crl, openssl, start, write_pcap

FLOWS = 30000
WEB = e.DATA / "web.pcap"


def check_complete(what, streams, flows, doubles_allowed):
    """Every flow came; those that came twice are the same record."""
    found = collections.defaultdict(list)
    for stream in streams:
        for record in stream.records:
            found[ipfix.key(record)].append(record)
    e.check(len(found) == flows, f"{what}: {len(found)} of {flows} flows came")
    doubles = sum(len(r) - 1 for r in found.values())
    e.check(doubles_allowed or doubles == 0, f"{what}: {doubles} records came twice")
    e.check(all(r == records[0] for records in found.values() for r in records),
            f"{what}: records that came twice differ")
    ids = collections.Counter(records[0].get(148) for records in found.values())
    e.check(len(ids) == flows and None not in ids, f"{what}: {len(ids)} flowIds of {flows} flows")
    for i, stream in enumerate(streams):
        e.check(not stream.errors, f"{what}: session {i}: {stream.errors[:3]}")
        if stream.records:
            e.check(stream.template_messages == 1, f"{what}: session {i}: templates {stream.template_messages} times")
    return doubles


def restarts():
    """Collectors that close well or badly, and one that is away."""
    plans = {
        "read": (["read"], False),
        "fin": (["fin:300000", "fin:100000", "read"], True),
        "rst": (["rst:300000", "rst:70000", "read"], True),
        "unread": (["unread:200000", "unread:100000", "read"], True),
        "away": (["away:200000:3", "read"], True),
        "all": (["fin:100000", "rst:200000", "unread:200000", "away:100000:2", "read"], True),
    }
    with e.workdir() as d:
        write_pcap(f"{d}/p", FLOWS)
        for what, (plan, doubles_allowed) in plans.items():
            collector = ipfix.Collector(*plan)
            p = start("-r", f"{d}/p", *e.NO_AGEING, "--reconnect", 1, "--stop-timeout", 40, "--stats", f"{d}/s", "-n",
                      f"ipfix+tcp://127.0.0.1:{collector.port}")
            finish(what, p)
            streams = collector.stop()
            e.check(len(streams) == len(plan), f"{what}: {len(streams)} sessions instead of {len(plan)}")
            check_complete(what, streams, FLOWS, doubles_allowed)
            s = e.statistics(f"{d}/s")
            e.check_ledger(what, s)
            c = s["collectors"][0]
            e.check(c["records"] == FLOWS and c["not_sent"]["records"] == 0 and c["pending"] == 0, f"{what}: {c}")


def ids():
    """Runs that begin at the same time, with a spool or without, have other flowIds: who gets both can tell."""
    with e.workdir() as d:
        os.chmod(d, 0o755)
        write_pcap(f"{d}/p", 1000)
        collector = ipfix.Collector("read")
        for i in range(3):
            spool = ["--spool", f"{d}/spool"] if i < 2 else []
            finish("ids", start("-q", "-r", f"{d}/p", *e.NO_AGEING, *spool, "-n", f"ipfix+tcp://127.0.0.1:{collector.port}"))
        streams = collector.stop()
        found = {r[148] for s in streams for r in s.records}
        e.check(len(found) == 3000, f"{len(found)} flowIds in three runs of 1000 flows")


def killed():
    """pitot itself is killed: what was in the spool is sent by the next one, before its own."""
    with e.workdir() as d:
        os.chmod(d, 0o755)
        write_pcap(f"{d}/p", FLOWS)
        write_pcap(f"{d}/q", 100, FLOWS)
        spool = ["--spool", f"{d}/spool", "--reconnect", 1, "--stop-timeout", 40]
        collector = ipfix.Collector("still:300000")
        url = f"ipfix+tcp://127.0.0.1:{collector.port}"
        p = start("-q", "-r", f"{d}/p", *e.NO_AGEING, *spool, "--stats", f"{d}/s", "-n", url)
        # a part has gone, the collector sleeps, and all the rest is in the spool
        # (the metering process of so small a file may have ended before anybody looks)
        e.wait(lambda: "pitot-exporting" in e.roles(p.pid) or p.poll() is not None, "kill -9: does not begin")
        e.wait(lambda: e.statistics_now(p, f"{d}/s")["flows"]["exported"] == FLOWS, "kill -9: not all is in the spool")
        p.send_signal(signal.SIGKILL)
        p.communicate()
        collector.stop()
        collector2 = ipfix.Collector("read", port=collector.port)
        finish("after kill -9", start("-q", "-r", f"{d}/q", *e.NO_AGEING, *spool, "-n", url))
        streams = collector.streams + collector2.stop()
        check_complete("kill -9", streams, FLOWS + 100, True)
        first = [ipfix.key(r) for r in collector2.streams[0].records]
        e.check(first and first[-1][0] >= struct.pack("!I", 0x0a000000 + FLOWS), "what is older did not go first")
        left = sum(f.stat().st_size for f in Path(f"{d}/spool").rglob("*.ipfix"))
        e.check(left == 0, f"{left} octets are left in the spool")


def spooled():
    """A collector that is not there: the records wait in files, and nothing is said to be lost."""
    with e.workdir() as d:
        os.chmod(d, 0o755)
        write_pcap(f"{d}/p", 5000)
        port = e.free_port()
        arguments = ["-r", f"{d}/p", *e.NO_AGEING, "--spool", f"{d}/spool", "--stats", f"{d}/s", "-n",
                     f"ipfix+tcp://127.0.0.1:{port}"]
        err = finish("away", start(*arguments))
        e.check(b"left in the spool" in err, f"what waits is not said: {err!r}")
        s = e.statistics(f"{d}/s")
        e.check(s["collectors"][0]["pending"] == 5000 and s["flows"]["not_sent"] == 0, f"away: {s['collectors']}")
        e.check_ledger("away", s)
        # other templates: those of the old records come first, and are withdrawn
        collector = ipfix.Collector("read", port=port)
        finish("back", start(*arguments, "--fields", "sourceIPv4Address,sourceIPv6Address,destinationIPv4Address,"
                             "sourceTransportPort,destinationTransportPort,protocolIdentifier,flowId"))
        stream = collector.stop()[0]
        e.check(len(stream.records) == 10000 and not stream.errors, f"back: {len(stream.records)}, {stream.errors[:3]}")
        e.check(all(2 in r for r in stream.records[:5000]) and all(2 not in r for r in stream.records[5000:]),
                "old records have not the old fields, or new ones not the new")
        # without a directory what nobody takes is lost, and said so
        got = e.run("-r", f"{d}/p", *e.NO_AGEING, "--stats", f"{d}/s", "-n", f"ipfix+tcp://127.0.0.1:{e.free_port()}")
        s = e.statistics(f"{d}/s")
        e.check(got.returncode == 1 and s["collectors"][0]["not_sent"]["records"] == 5000 and
                s["flows"]["not_sent"] == 5000, f"nobody: {got} {s['flows']}")
        e.check_ledger("nobody", s)


def spool_octets(folder):
    return sum(f.stat().st_size for f in Path(folder).rglob("*.ipfix")) if os.path.exists(folder) else 0


def removed():
    """Somebody removes the spool while it is used: nothing is left, so nothing is said to be."""
    with e.workdir() as d:
        os.chmod(d, 0o755)
        write_pcap(f"{d}/p", FLOWS)
        p = subprocess.Popen([e.PITOT, "-r", "-", "-t", "tcp-end=off,active=1000000,inactive=1", "--spool", f"{d}/spool",
                              "--stats", f"{d}/s", "-n", f"ipfix+tcp://127.0.0.1:{e.free_port()}"], stdin=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        p.stdin.write(Path(f"{d}/p").read_bytes())
        p.stdin.flush()
        e.wait(lambda: spool_octets(f"{d}/spool") > 1000000, "removed: nothing comes into the spool")
        shutil.rmtree(f"{d}/spool")
        err = finish("removed", p, status=1)
        c = e.statistics(f"{d}/s")["collectors"][0]
        e.check(c["not_sent"]["records"] == FLOWS and c["pending"] == 0, f"removed: {c}")
        e.check(b"left in the spool" not in err and b"removed by somebody else" in err, f"removed: {err!r}")
        e.check_ledger("removed", e.statistics(f"{d}/s"))


def full():
    """A spool that is full: what it says adds up to what was taken, and the next run says what it drops of that."""
    with e.workdir() as d:
        os.chmod(d, 0o755)
        write_pcap(f"{d}/p", FLOWS)
        arguments = ["-r", f"{d}/p", *e.NO_AGEING, "--spool", f"{d}/spool", "--spool-size", "1M", "--stats", f"{d}/s",
                     "--stop-timeout", 1, "-n", f"ipfix+tcp://127.0.0.1:{e.free_port()}"]
        err = finish("full", start(*arguments), status=1)
        c = e.statistics(f"{d}/s")["collectors"][0]
        lost, left = c["not_sent"]["records"], c["pending"]
        e.check(c["spool"] == {"errors": 0, "dropped": 0, "torn": 0}, f"full: {c['spool']}")
        e.check(lost > 0 and left > 0 and lost + left == FLOWS, f"full: {c}")
        e.check(f"{lost} of {FLOWS} flow records not sent".encode() in err and
                f"next run: {left} of {FLOWS} flow records".encode() in err, f"full: {err!r}")
        err = finish("full again", start(*arguments), status=1)
        c = e.statistics(f"{d}/s")["collectors"][0]
        e.check(c["not_sent"]["records"] + c["pending"] == FLOWS and c["spool"] == {"errors": 0, "dropped": left, "torn": 0} and
                f"{left} flow records that an earlier run left in the spool are dropped".encode() in err,
                f"full again: {left} {c} {err!r}")


def unwritable():
    """A spool that cannot be written is said once; records go on in memory."""
    with e.workdir() as d:
        collector = ipfix.Collector("read")
        got = e.run("-r", WEB, *e.NO_AGEING, "--spool", "/proc/none/spool", "-n",
                    f"ipfix+tcp://127.0.0.1:{collector.port}")
        collector.stop()
        e.check(got.returncode == 1 and b"/proc/none/spool" in got.stderr, f"a spool in /proc: {got}")
        e.check(d, "")


def stalled():
    """Collectors that read nothing hold nobody up: another gets everything, and the end does not wait for each."""
    with e.workdir() as d:
        write_pcap(f"{d}/p", FLOWS)
        still = [socket.socket() for _ in range(8)]
        urls = []
        for s in still:
            s.bind(("127.0.0.1", 0))
            s.listen(0)
            urls += ["-n", f"ipfix+tcp://127.0.0.1:{s.getsockname()[1]}"]
        good = ipfix.Collector("read")
        begun = time.monotonic()
        finish("stalled", start("-q", "-r", f"{d}/p", *e.NO_AGEING, "--stop-timeout", 1, "--send-buffer", "64M", *urls,
                                "-n", f"ipfix+tcp://127.0.0.1:{good.port}"), status=1)
        took = time.monotonic() - begun
        e.check(took < 40, f"8 collectors that read nothing took {took:.1f} s")
        check_complete("beside stalled ones", good.stop(), FLOWS, False)
        for s in still:
            s.close()


def schedule():
    """--reconnect is the least time between attempts."""
    with e.workdir() as d:
        write_pcap(f"{d}/p", 3000)
        collector = ipfix.Collector("rst:1000", "rst:1000", "rst:1000", "read")
        finish("schedule", start("-q", "-r", f"{d}/p", *e.NO_AGEING, "--reconnect", 2, "--stop-timeout", 20, "-n",
                                 f"ipfix+tcp://127.0.0.1:{collector.port}"))
        collector.stop()
        gaps = [b - a for a, b in zip(collector.connected, collector.connected[1:])]
        e.check(len(gaps) == 3 and all(g >= 1.9 for g in gaps) and min(gaps) <= 3, f"attempts to connect: {gaps}")


def groups():
    """--collector-group: one after the other, or by the flow."""
    with e.workdir() as d:
        write_pcap(f"{d}/p", 2000)
        dead = e.free_port()
        backup = ipfix.Collector("read")
        err = finish("failover", start("-r", f"{d}/p", *e.NO_AGEING, "--collector-group", "failover", "--stats",
                                       f"{d}/s", "-n", f"ipfix+tcp://127.0.0.1:{dead}", "-n",
                                       f"ipfix+tcp://127.0.0.1:{backup.port}", "-n", f"json:{d}/j"))
        check_complete("failover", backup.stop(), 2000, False)
        s = e.statistics(f"{d}/s")
        e.check([c["taken"] for c in s["collectors"]] == [0, 2000, 2000], f"failover: {s['collectors']} {err!r}")
        e.check_ledger("failover", s)
        a, b = ipfix.Collector("read"), ipfix.Collector("read")
        finish("hash", start("-q", "-r", WEB, *e.NO_AGEING, "--collector-group", "hash", "-n",
                             f"ipfix+tcp://127.0.0.1:{a.port}", "-n", f"ipfix+tcp://127.0.0.1:{b.port}"))
        a.stop()
        b.stop()
        where = {}
        for i, collector in enumerate((a, b)):
            for r in collector.records():
                src, dst, sport, dport, proto = ipfix.key(r)
                where.setdefault((frozenset([(src, sport), (dst, dport)]), proto), set()).add(i)
        e.check(all(len(w) == 1 for w in where.values()), "hash: the directions of a connection went to two collectors")
        e.check(a.records() and b.records(), "hash: one collector got nothing")


def socat():
    """A collector that is nothing but a file."""
    if not e.have("socat"):
        return
    with e.workdir() as d:
        write_pcap(f"{d}/p", 5000)
        port = e.free_port()
        listener = subprocess.Popen([e.find("socat"), "-u", f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr",
                                     f"CREATE:{d}/heard"])
        e.wait(lambda: e.listens(port), "socat does not listen")
        finish("socat", start("-q", "-r", f"{d}/p", *e.NO_AGEING, "-n", f"ipfix+tcp://127.0.0.1:{port}"))
        listener.wait(timeout=60)
        stream = ipfix.Stream()
        stream.feed(Path(f"{d}/heard").read_bytes())
        check_complete("socat", [stream], 5000, False)
        e.check(not stream.data, "socat: the last message is cut")


def tls_server(d, certificate, client=True, version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{d}/{certificate}.pem", f"{d}/{certificate}.key")
    if version:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = version
    if client:
        context.load_verify_locations(f"{d}/ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return ipfix.Collector("read", wrap=lambda c: context.wrap_socket(c, server_side=True))


def tls_run(d, port, *arguments, kind="tls", host="127.0.0.1", authorities="ca.pem"):
    return e.run("-r", WEB, *e.NO_AGEING, "--stop-timeout", 3, "--tls-ca", f"{d}/{authorities}", *arguments, "--stats",
                 f"{d}/s", "-n", f"ipfix+{kind}://{host}:{port}")


def tls_good(d, expected, own):
    for host, version in (("127.0.0.1", None), ("localhost", ssl.TLSVersion.TLSv1_2)):
        collector = tls_server(d, "good", version=version)
        got = tls_run(d, collector.port, *own, host=host)
        records = [r for s in collector.stop() for r in s.records]
        e.check(got.returncode == 0 and len(records) == expected, f"TLS to {host}: {len(records)} records, {got}")
        e.check(all(not s.errors for s in collector.streams), f"TLS to {host}: {[s.errors for s in collector.streams]}")
        e.check_ledger("TLS", e.statistics(f"{d}/s"))
    collector = tls_server(d, "wrong")
    got = tls_run(d, collector.port, *own, "--tls-name", "elsewhere.example")
    records = [r for s in collector.stop() for r in s.records]
    e.check(got.returncode == 0 and len(records) == expected, f"--tls-name: {len(records)} records, {got}")


def tls_refused(d, own):
    cases = (("wrong", {}, own, b"wrong name"), ("stranger", {}, own, b"authority"),
             ("expired", {}, own, b"expired"), ("self", {}, own, b"self-signed"), ("good", {}, [], b"--tls-cert"),
             ("good", {"version": ssl.TLSVersion.TLSv1_1}, own, b"1.2"))
    for certificate, how, arguments, word in cases:
        collector = tls_server(d, certificate, **how)
        got = tls_run(d, collector.port, *arguments)
        records = [r for s in collector.stop() for r in s.records]
        e.check(not records, f"TLS: a collector ({certificate}) got {len(records)} records that it must not have")
        e.check(got.returncode == 1 and word in got.stderr, f"TLS: {certificate} {how}: {word} is not in {got.stderr!r}")
        c = e.statistics(f"{d}/s")["collectors"][0]
        e.check(c["not_sent"]["records"] == 27 and c["records"] == 0, f"TLS: {certificate}: {c}")
    plain = ipfix.Collector("read")  # nobody falls back to plain text
    got = tls_run(d, plain.port)
    e.check(got.returncode == 1 and not [r for s in plain.stop() for r in s.records], f"TLS to plain TCP: {got}")


def tls_files(d, own):
    for arguments, word in ((["--tls-ca", f"{d}/none"], b"--tls-ca"), (["--tls-cert", f"{d}/ca.key"], b"--tls-cert"),
                            (["--tls-key", f"{d}/good.key"], b"--tls-cert"),
                            (["--tls-cert", f"{d}/client.pem", "--tls-key", f"{d}/good.key"], b"--tls-key")):
        got = tls_run(d, 9, *arguments)
        e.check(got.returncode == 1 and word in got.stderr and len(got.stderr.splitlines()) == 1,
                f"TLS: {arguments}: {got.stderr!r}")
    for mode in (0o644, 0o640, 0o620, 0o602):
        os.chmod(f"{d}/client.key", mode)
        got = tls_run(d, 9, *own)
        e.check(got.returncode == 1 and b"chmod 600" in got.stderr, f"TLS: a key of mode {mode:o}: {got.stderr!r}")
    os.chmod(f"{d}/client.key", 0o600)
    if os.geteuid() != 0:
        e.skip_part("a key of somebody else needs root")
        return
    for owner, user, good in ((12345, [], False), (12345, ["--user", "12345"], True), (0, ["--user", "12345"], True)):
        os.chown(f"{d}/client.key", owner, 0)
        got = tls_run(d, e.free_port(), *own, *user)
        e.check((b"belongs to user" in got.stderr and b"chown" in got.stderr) != good,
                f"TLS: a key of user {owner}, {user}: {got.stderr!r}")
    os.chown(f"{d}/client.key", 0, 0)


def tls_revoked(d, own):
    """Lists in --tls-ca are looked at, as far as there are any."""
    make_crl(d, "revoked", "good")
    make_crl(d, "clear", "wrong")
    make_crl(d, "old", arguments=("-crl_lastupdate", "200101000000Z", "-crl_nextupdate", "200102000000Z"))
    os.mkdir(f"{d}/folder")
    for name, source in (("ca.pem", "ca.pem"), ("crl.pem", "revoked.crl")):
        shutil.copy(f"{d}/{source}", f"{d}/folder/{name}")
    openssl("rehash", f"{d}/folder", cwd=d)
    os.chmod(d, 0o755)
    for ca, word in (("revoked.pem", b"revoked"), ("old.pem", b"expired"), ("folder", b"revoked"), ("clear.pem", None)):
        collector = tls_server(d, "good")
        got = tls_run(d, collector.port, *own, authorities=ca)
        records = [r for s in collector.stop() for r in s.records]
        if word:
            e.check(got.returncode == 1 and word in got.stderr and not records, f"TLS: {ca}: {len(records)}, {got}")
        else:
            e.check(got.returncode == 0 and len(records) == 27, f"TLS: {ca}: {len(records)}, {got}")


def s_server(d, own, expected):
    """OpenSSL's own server, on TLS and DTLS, as a collector that keeps what it hears."""
    for kind, arguments in (("tls", []), ("dtls", ["-dtls1_2", "-listen"])):
        port = e.free_port()
        with open(f"{d}/heard", "wb") as out:
            server = subprocess.Popen([e.find("openssl"), "s_server", *arguments, "-accept", str(port), "-cert",
                                       f"{d}/good.pem", "-key", f"{d}/good.key", "-CAfile", f"{d}/ca.pem", "-Verify", "1",
                                       "-verify_return_error", "-quiet", "-naccept", "1"], stdin=subprocess.PIPE,
                                      stdout=out, stderr=subprocess.DEVNULL)
            e.wait(lambda: e.listens(port), "s_server does not listen")
            got = tls_run(d, port, *own, kind=kind)

            def heard():
                found = ipfix.Stream()
                found.feed(Path(f"{d}/heard").read_bytes())
                return found
            e.wait(lambda: len(heard().records) >= expected or server.poll() is not None, f"s_server, {kind}: not all comes")
            server.kill()
            server.communicate()
        stream = heard()
        errors = [x for x in stream.errors if kind == "tls" or "again" not in x]  # templates are repeated over UDP
        e.check(got.returncode == 0 and len(stream.records) == expected and not errors,
                f"s_server, {kind}: {len(stream.records)} records, {errors[:3]}, {got.stderr!r}")


def tls():
    if not e.have("openssl"):
        return
    got = e.run("-r", WEB, "-n", "ipfix+tls://127.0.0.1:9", "--stop-timeout", 0)
    if b"built without TLS" in got.stderr:
        e.skip_part("pitot was built without TLS")
        return
    with e.workdir() as d:
        make_certificates(d)
        own = ["--tls-cert", f"{d}/client.pem", "--tls-key", f"{d}/client.key"]
        tls_good(d, 27, own)
        tls_refused(d, own)
        tls_files(d, own)
        tls_revoked(d, own)
        s_server(d, own, 27)


def tls_restarts():
    """As restarts(), under TLS."""
    if not e.have("openssl"):
        return
    with e.workdir() as d:
        make_certificates(d)
        write_pcap(f"{d}/p", FLOWS)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{d}/good.pem", f"{d}/good.key")
        collector = ipfix.Collector("rst:300000", "unread:200000", "away:100000:2", "read",
                                    wrap=lambda c: context.wrap_socket(c, server_side=True))
        finish("TLS restarts", start("-q", "-r", f"{d}/p", *e.NO_AGEING, "--tls-ca", f"{d}/ca.pem", "--reconnect", 1,
                                     "--stop-timeout", 40, "-n", f"ipfix+tls://127.0.0.1:{collector.port}"))
        check_complete("TLS restarts", collector.stop(), FLOWS, True)


def sctp():
    got = e.run("-r", WEB, "-n", "ipfix+sctp://127.0.0.1:9", "--stop-timeout", 0)
    if b"no SCTP" in got.stderr:
        e.check(got.returncode == 1 and len(got.stderr.splitlines()) == 1, f"no SCTP: {got}")
        print("note: this kernel has no SCTP; the sentence about it was tested", flush=True)
        return
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)
    s.bind(("127.0.0.1", 0))
    s.listen(1)
    p = start("-q", "-r", WEB, *e.NO_AGEING, "-n", f"ipfix+sctp://127.0.0.1:{s.getsockname()[1]}")
    connection, _ = s.accept()
    stream = ipfix.Stream()
    while data := connection.recv(65536):
        stream.feed(data)
    finish("SCTP", p)
    e.check(len(stream.records) == 27 and not stream.errors, f"SCTP: {len(stream.records)} {stream.errors[:3]}")


restarts()
ids()
killed()
spooled()
removed()
full()
unwritable()
stalled()
schedule()
groups()
socat()
tls()
tls_restarts()
sctp()
e.finish()
