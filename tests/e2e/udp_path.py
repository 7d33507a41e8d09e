#!/usr/bin/env python3
"""Collectors on UDP while the path to them changes: the host's own address, and what the path takes."""
import ctypes
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import e2elib as e

SINK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 4739))
with open(sys.argv[1], "w", buffering=1) as out:
    while True:
        data, who = s.recvfrom(65535)
        out.write(f"{who[0]} {who[1]} {data.hex()}\\n")
"""


def ip(*words):
    subprocess.run([e.find("ip"), *words], check=True)


def heard(path):
    return [line.split() for line in Path(path).read_text().splitlines() if line.count(" ") == 2]


def address_changes(d):
    """The host gets another address: the socket that sent from the old one is given up, and a session begins."""
    there = subprocess.Popen([sys.executable, "-c", SINK, f"{d}/heard"],
                             preexec_fn=lambda: ctypes.CDLL(None).unshare(0x40000000))
    try:
        e.wait(lambda: os.path.exists(f"{d}/heard"), "no sink")
        ip("link", "add", "here", "type", "veth", "peer", "name", "there", "netns", str(there.pid))
        subprocess.run([e.find("nsenter"), "-n", "-t", str(there.pid), "sh", "-c",
                        "ip addr add 10.9.0.2/24 dev there && ip link set there up"], check=True)
        ip("addr", "add", "10.9.0.1/24", "dev", "here")
        ip("link", "set", "here", "up")
        ip("link", "set", "lo", "up")
        p = subprocess.Popen([e.PITOT, "-i", "lo", "-n", "10.9.0.2:4739", "--template-refresh", "1", "--stats",
                              f"{d}/s", "--stay-root"], stderr=subprocess.PIPE)
        e.wait(lambda: len(heard(f"{d}/heard")) > 2, "nothing came to begin with")
        ip("addr", "add", "10.9.0.3/24", "dev", "here")
        ip("addr", "del", "10.9.0.1/24", "dev", "here")
        ip("addr", "replace", "10.9.0.3/24", "dev", "here")  # which went with the first one
        e.wait(lambda: any(h[0] == "10.9.0.3" for h in heard(f"{d}/heard")), "nothing came from the new address")
        time.sleep(1.5)
        p.terminate()
        _, err = p.communicate(timeout=30)
        e.check(p.returncode in (0, 1) and not e.sanitizer(err), f"address changes: {p.returncode} {err!r}")
    finally:
        there.kill()
        there.wait()
    messages = [bytes.fromhex(h[2]) for h in heard(f"{d}/heard") if h[0] == "10.9.0.3"]
    e.check(messages and messages[0][8:12] == bytes(4) and messages[0][16:18] == b"\0\2",
            f"the session from the new address does not begin with templates and 0: {messages[:1]}")
    e.check(e.statistics(f"{d}/s")["collectors"][0]["sessions"] == 2, "not a session for each address")
    e.check_ledger("address changes", e.statistics(f"{d}/s"))


def collector_moves(d):
    """A collector that refuses datagrams is looked up again: its name may mean another host now."""
    libc = ctypes.CDLL(None)
    hosts = Path(f"{d}/hosts")
    hosts.write_text("127.0.0.2 collector.test\n")
    os.chmod(d, 0o755)
    if libc.unshare(0x20000) != 0:  # CLONE_NEWNS
        e.skip_part("no mount namespace")
        return
    if subprocess.run(["mount", "--make-rprivate", "/"], check=False, capture_output=True).returncode:
        e.skip_part("/ is no mount point here (chroot): a file for the names of hosts would be seen outside")
        return
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)
    ip("link", "set", "lo", "up")
    before, after = e.Sink("127.0.0.2"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    after.bind(("127.0.0.3", before.port))
    after.settimeout(15)
    p = subprocess.Popen([e.PITOT, "-i", "lo", "-n", f"collector.test:{before.port}", "--template-refresh", "1"],
                         stderr=subprocess.PIPE)
    e.wait(lambda: before.datagrams, "moves: nothing came to begin with")
    hosts.write_text("127.0.0.3 collector.test\n")
    before.stop()
    try:
        e.check(after.recv(65535)[8:12] == bytes(4), "moves: the session does not begin with 0")
    except socket.timeout:
        e.check(False, "moves: nothing came where the collector is now")
    p.terminate()
    _, err = p.communicate(timeout=30)
    e.check(not e.sanitizer(err), f"moves: {err!r}")
    after.close()


if not e.have("ip", "nsenter"):
    e.skip("ip and nsenter are needed")
if ctypes.CDLL(None).unshare(0x40000000) != 0:  # CLONE_NEWNET
    e.skip("needs root")
with e.workdir() as work:
    address_changes(work)
    collector_moves(work)
e.finish()
