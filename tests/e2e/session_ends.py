#!/usr/bin/env python3
"""The ways in which sessions end: what pitot(8) says in its table of them happens to the records.

Each row is walked with 30,000 records.  None is ever lost without being counted, and records come twice only where
the table says that they may."""
import os
import ssl
import subprocess
from pathlib import Path

import e2elib as e
import ipfixlib as ipfix
from transportlib import finish, make_certificates, start, write_pcap

FLOWS = 30000
READ, AGAIN = "read", "again"  # what was sent was read; or it is sent again, as nobody knows

# layer, what the collector does in its first session, what that means for what was sent in it
TABLE = (
    ("tcp", "read", READ),
    ("tcp", "fin:300000", AGAIN),
    ("tcp", "leave:300000:0", AGAIN),
    ("tcp", "leave:300000:0.3", AGAIN),
    ("tcp", "unread:300000", AGAIN),
    ("tcp", "rst:300000", AGAIN),
    ("tls", "read", READ),
    ("tls", "fin:300000", AGAIN),
    ("tls", "leave:300000:0", AGAIN),
    ("tls", "leave:300000:0.3", AGAIN),
    ("tls", "goodbye:300000:0", AGAIN),
    ("tls", "goodbye:300000:0.3", AGAIN),
    ("tls", "goodbye:0:0", AGAIN),
    ("tls", "alert:300000", AGAIN),
    ("tls", "unread:300000", AGAIN),
    ("tls", "rst:300000", AGAIN),
)


def collector_of(d, layer, *plan, port=0):
    if layer == "tcp":
        return ipfix.Collector(*plan, port=port)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{d}/good.pem", f"{d}/good.key")
    return ipfix.Collector(*plan, port=port, wrap=lambda c: ipfix.TlsConnection(c, context))


def arguments(d, name, layer, port, *more, pcap="p"):
    return ["-r", f"{d}/{pcap}", *e.NO_AGEING, "--reconnect", 1, "--stats", f"{d}/{name}.json", "--tls-ca",
            f"{d}/ca.pem", *more, "-n", f"ipfix+{layer}://127.0.0.1:{port}"]


def check_flows(what, streams, flows, doubles_allowed):
    """All came, and twice only what may."""
    came = [ipfix.key(r) for s in streams for r in s.records]
    e.check(len(set(came)) == flows, f"{what}: {len(set(came))} of {flows} flows came")
    e.check(doubles_allowed or len(came) == flows, f"{what}: {len(came) - flows} came twice")
    for i, stream in enumerate(streams):
        e.check(not stream.errors, f"{what}: session {i}: {stream.errors[:3]}")


def ends_in_the_middle(row):
    """The next session gets what the last one may not have read."""
    layer, plan, meaning = row
    for spool in (False, True):
        name = f"{layer}-{plan.replace(':', '-')}-{'spool' if spool else 'memory'}"
        collector = collector_of(work, layer, plan, "read")
        more = ["--stop-timeout", 30] + (["--spool", f"{work}/{name}"] if spool else [])
        err = finish(name, start(*arguments(work, name, layer, collector.port, *more)), timeout=90)
        check_flows(name, collector.stop(), FLOWS, meaning == AGAIN)
        s = e.statistics(f"{work}/{name}.json")
        e.check_ledger(name, s)
        c = s["collectors"][0]
        e.check(c["records"] == FLOWS and c["not_sent"]["records"] == 0 and c["pending"] == 0, f"{name}: {c} {err!r}")
        e.check(c["sessions"] == (1 if meaning == READ else 2), f"{name}: {c['sessions']} sessions")


# layer, what the collector does in every session
LAST = (
    ("tcp", "mute"),
    ("tcp", "still:0"),
    ("tcp", "leave:0:0"),
    ("tls", "mute"),
    ("tls", "goodbye:0:0"),
    ("tls", "still:0"),
)


def ends_at_the_end(row):
    """Nobody knows whether the collector has read what it got: it is counted and said, or left in the spool."""
    layer, plan = row
    name = f"end-{layer}-{plan.replace(':', '-')}"
    collector = collector_of(work, layer, plan)
    err = finish(name, start(*arguments(work, name, layer, collector.port, "--stop-timeout", 2, pcap="q")), status=1)
    collector.stop()
    s = e.statistics(f"{work}/{name}.json")
    e.check_ledger(name, s)
    c = s["collectors"][0]
    e.check(c["not_sent"]["records"] == 500 and c["records"] == 0, f"{name}: {c}")
    e.check(b"500 of 500 flow records not sent" in err and b"not reached" not in err, f"{name}: {err!r}")
    # with a spool they are there for the next run
    name += "-spool"
    collector = collector_of(work, layer, plan)
    options = ["--stop-timeout", 2, "--spool", f"{work}/{name}"]
    err = finish(name, start(*arguments(work, name, layer, collector.port, *options, pcap="q")))
    port = collector.port
    collector.stop()
    s = e.statistics(f"{work}/{name}.json")
    e.check_ledger(name, s)
    c = s["collectors"][0]
    e.check(c["pending"] == 500 and c["records"] == 0 and c["not_sent"]["records"] == 0, f"{name}: {c}")
    e.check(b"left in the spool for the next run: 500 of 500 flow records" in err, f"{name}: {err!r}")
    collector = collector_of(work, layer, "read", port=port)
    finish(f"{name}, next run", start(*arguments(work, name, layer, port, *options, pcap="r")))
    check_flows(f"{name}, next run", collector.stop(), 510, False)
    left = sum(f.stat().st_size for f in Path(f"{work}/{name}").rglob("*.ipfix"))
    e.check(left == 0, f"{name}: {left} octets are left in the spool")


def s_server(kind, *arguments):
    """An openssl s_server without input: it says goodbye at once, and reads nothing."""
    port = e.free_port()
    with open("/dev/null", "rb") as null:
        server = subprocess.Popen([e.find("openssl"), "s_server", *arguments, "-accept", str(port), "-cert",
                                   f"{work}/good.pem", "-key", f"{work}/good.key", "-quiet"], stdin=null,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    e.wait(lambda: e.listens(port), "s_server does not listen")
    got = e.run("-r", e.DATA / "web.pcap", *e.NO_AGEING, "--tls-ca", f"{work}/ca.pem", "--stats", f"{work}/s",
                "--stop-timeout", 2, "-n", f"ipfix+{kind}://localhost:{port}")
    server.kill()
    heard = len(server.communicate()[0])
    c = e.statistics(f"{work}/s")["collectors"][0]
    right = got.returncode == 1 and c["not_sent"]["records"] == 27 and c["records"] == 0
    if kind == "dtls" and not right:  # on a busy machine its goodbye may cross ours, which nobody can tell there
        right = got.returncode == 0 and c["records"] == 27 and c["not_sent"]["records"] == 0 and c["sessions"] == 1
    e.check(right, f"s_server, {kind}: {heard} octets, {c}, {got}")


with e.workdir() as work:
    os.chmod(work, 0o755)
    write_pcap(f"{work}/p", FLOWS)
    write_pcap(f"{work}/q", 500)
    write_pcap(f"{work}/r", 10, 500)
    tls = bool(e.find("openssl"))
    probe = e.run("-r", e.DATA / "web.pcap", "-n", "ipfix+tls://127.0.0.1:9", "--stop-timeout", 0)
    if not e.have("openssl"):
        tls = False
    elif b"built without TLS" in probe.stderr:
        e.skip_part("pitot was built without TLS")
        tls = False
    if tls:
        make_certificates(work)
    else:
        Path(f"{work}/ca.pem").touch()
    e.together(ends_in_the_middle, [r for r in TABLE if tls or r[0] == "tcp"])
    e.together(ends_at_the_end, [r for r in LAST if tls or r[0] == "tcp"])
    if tls:
        s_server("tls")
        s_server("dtls", "-dtls1_2")
e.finish()
