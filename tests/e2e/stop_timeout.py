#!/usr/bin/env python3
"""--stop-timeout: how long the end takes, in whatever state collectors are, and that what is said of them is true."""
import os
import socket
import time
from pathlib import Path

import e2elib as e
from transportlib import finish, start, write_pcap

TIMEOUT = 1
SLACK = 6  # s, for a machine that is busy: far from the 10 s and more that states have of their own


class Deaf:
    """Accepts no connection and reads nothing; its system does both."""

    def __init__(self, backlog=8):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(backlog)
        self.port = self.socket.getsockname()[1]
        self.others = []

    def fill(self):
        """Further connections are not answered."""
        for _ in range(8):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", self.port))
            self.others.append(s)
        return self


def ends(what, pcap, urls, word, flows):
    begun = time.monotonic()
    err = finish(what, start("-q", "-r", f"{work}/{pcap}", *e.NO_AGEING, "--stop-timeout", TIMEOUT, "--send-buffer", "1M",
                             *[x for url in urls for x in ("-n", url)]), status=1)
    took = time.monotonic() - begun
    e.check(took < TIMEOUT + SLACK, f"{what}: took {took:.1f} s with --stop-timeout {TIMEOUT}")
    e.check(err.count(word) == len(urls), f"{what}: {word} is not said of each collector: {err!r}")
    e.check(err.count(f"of {flows} flow records not sent".encode()) == len(urls), f"{what}: {err!r}")


def silent_names(pcap, flows):
    """A name server that answers nothing: in namespaces of its own."""
    if os.geteuid() != 0 or not e.have("unshare", "mount", "ip"):
        return e.skip_part("a name server that does not answer needs root, unshare, mount and ip")
    Path(f"{work}/resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:1\n")
    Path(f"{work}/quiet.py").write_text(
        "import socket, subprocess, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.bind(('127.0.0.1', 53))\nsys.exit(subprocess.call(sys.argv[1:]))\n")
    inner = (f"mount --bind {work}/resolv.conf /etc/resolv.conf && ip link set lo up && "
             f"exec python3 {work}/quiet.py \"$@\"")
    pitot, e.PITOT = e.PITOT, f"{work}/in-namespaces"
    # the resolver's threads are still at work at the end: what they have is no leak
    Path(e.PITOT).write_text(f"#!/bin/sh\nexport ASAN_OPTIONS=detect_leaks=0\nexec unshare -n -m sh -c '{inner}' sh {pitot} \"$@\"\n")
    os.chmod(e.PITOT, 0o755)
    for scheme in ("ipfix", "ipfix+tcp"):
        ends(f"names, {scheme}, {pcap}", pcap, [f"{scheme}://c{i}.example.net:9" for i in range(3)],
             b"the name service has not answered yet", flows)
    e.PITOT = pitot
    return None


def states(pcap, flows):
    deaf = [Deaf() for _ in range(8)]
    full = Deaf(0).fill()
    ends(f"stuck, {pcap}", pcap, [f"ipfix+tcp://127.0.0.1:{deaf[0].port}"],
         b"there is a session, but the collector does not read" if flows > 10000 else b"does not answer the end", flows)
    ends(f"many stuck, {pcap}", pcap, [f"ipfix+tcp://127.0.0.1:{d.port}" for d in deaf],
         b"there is a session, but the collector does not read" if flows > 10000 else b"does not answer the end", flows)
    ends(f"connecting, {pcap}", pcap, [f"ipfix+tcp://127.0.0.1:{full.port}"], b"the collector has not answered yet", flows)
    if b"built without TLS" in e.run("-r", e.DATA / "web.pcap", "-n", "ipfix+tls://127.0.0.1:9", "--stop-timeout",
                                     0).stderr:
        e.skip_part("pitot was built without TLS")
    else:
        ends(f"handshake, {pcap}", pcap, [f"ipfix+tls://127.0.0.1:{d.port}" for d in deaf[:2]],
             b"has not answered the handshake", flows)
    silent_names(pcap, flows)


with e.workdir() as work:
    os.chmod(work, 0o755)
    write_pcap(f"{work}/few", 100)
    write_pcap(f"{work}/many", 100000)
    states("few", 100)
    states("many", 100000)
e.finish()
