#!/usr/bin/env python3
"""pitotctl doctor, pitot --doctor and --dry-run: each staged fault is named, and a healthy set-up has none.

    doctor.py PITOT SRCROOT

Two network namespaces with two links between them: one to measure, one to the collector.  The clock, VLAN tags that are
taken out, merged packets and a ring that is too small are facts of tests/unit/test_doctor.c: nobody sets a clock here.
"""
import contextlib
import ctypes
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading

from e2elib import DATA, PITOT, check, finish, is_served, skip, statistics, wait
from transportlib import make_certificates, make_crl

CTL = os.path.join(os.path.dirname(PITOT), "pitotctl")
A, B = f"doctor-a-{os.getpid()}", f"doctor-b-{os.getpid()}"
LIBC = ctypes.CDLL(None, use_errno=True)


def sh(*args, ok=True):
    got = subprocess.run(args, capture_output=True, text=True, timeout=60, check=False)
    if ok and got.returncode:
        raise RuntimeError(f"{args}: {got.stderr}")
    return got


def ip(space, *args, ok=True):
    return sh("ip", "-n", space, *args, ok=ok)


@contextlib.contextmanager
def within(space):
    """This thread is in a namespace: sockets are made there."""
    with open("/proc/self/ns/net", "rb") as home, open(f"/run/netns/{space}", "rb") as there:
        LIBC.setns(there.fileno(), 0)
        try:
            yield
        finally:
            LIBC.setns(home.fileno(), 0)


def make():
    for space in (A, B):
        sh("ip", "netns", "add", space)
        ip(space, "link", "set", "lo", "up")
    for name, net in (("meas0", "10.91.1"), ("coll0", "10.91.0")):
        ip(A, "link", "add", "name", name, "type", "veth", "peer", "name", name, "netns", B)
        ip(A, "address", "add", f"{net}.1/24", "dev", name)
        ip(B, "address", "add", f"{net}.2/24", "dev", name)
        for space in (A, B):
            ip(space, "link", "set", name, "up")
    wait(lambda: "LOWER_UP" in ip(A, "link", "show", "meas0").stdout, "no carrier")


def remove():
    for space in (A, B):
        sh("ip", "netns", "del", space, ok=False)


def before(*args, option="--doctor", status=1):
    got = sh("ip", "netns", "exec", A, PITOT, option, *args, ok=False)
    check(status is None or got.returncode == status, f"{option} {args}: status {got.returncode}: {got.stdout}{got.stderr}")
    return [line.rsplit("(", 1)[1][:-1] for line in got.stdout.splitlines()
            if line.startswith(("WRONG", "maybe")) and not line.endswith("(synchronised)")], got.stdout


class Running:
    """A pitot in A that measures the link."""

    every = []

    def __init__(self, *args):
        Running.every.append(self)
        self.folder = tempfile.TemporaryDirectory()
        os.chmod(self.folder.name, 0o755)
        self.path, self.stats = (os.path.join(self.folder.name, n) for n in ("socket", "stats"))
        self.process = subprocess.Popen(["ip", "netns", "exec", A, PITOT, "-q", "-c", self.path, "--stats", self.stats,
                                         *args], stderr=subprocess.PIPE)
        wait(lambda: is_served(self.path) or self.process.poll() is not None, "no control socket")

    def doctor(self):
        got = sh("ip", "netns", "exec", A, CTL, "-c", self.path, "doctor", "--json", ok=False)
        try:
            found = json.loads(got.stdout)
        except ValueError:
            return check(False, f"doctor: {got}") or []
        found = [f for f in found if f["check"] != "synchronised"]
        return found

    def packets(self):
        return json.loads(sh(CTL, "-c", self.path, "--json", "statistics").stdout)["packets"]

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        said = self.process.communicate(timeout=60)[1]
        if not os.path.exists(self.stats):
            raise RuntimeError(f"no statistics: status {self.process.returncode}, {said.decode(errors='replace')}")
        return statistics(self.stats)


def send(n=100, six=False, size=60):
    """Frames into the link that is measured."""
    mac = bytes.fromhex("020000000001") * 2
    if six:
        ip6 = struct.pack(">IHBB", 0x60000000, 20, 6, 64) + socket.inet_pton(socket.AF_INET6, "2001:db8::1") * 2
        frame = mac + b"\x86\xdd" + ip6 + struct.pack(">HHIIBBHHH", 1, 2, 0, 0, 0x50, 16, 0, 0, 0)
    else:
        header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, b"\x0a\x5b\1\2", b"\x0a\x5b\1\1")
        frame = mac + b"\x08\0" + header + struct.pack(">HHHH", 1000, 9, 8, 0) + bytes(18)
    frame += bytes(size - 60)
    with within(B):
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        s.bind(("meas0", 0))
    with s:
        for _ in range(n):
            s.send(frame)


@contextlib.contextmanager
def sending(**how):
    """All the time, while the doctor looks."""
    stop = threading.Event()

    def run():
        while not stop.wait(0.05):
            send(20, **how)
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def listen(kind=socket.SOCK_DGRAM):
    with within(B):
        s = socket.socket(socket.AF_INET, kind)
    s.bind(("10.91.0.2", 0))
    if kind == socket.SOCK_STREAM:
        s.listen(8)
    return s, s.getsockname()[1]


def names(found):
    return [f["check"] for f in found]


def healthy():
    sink, port = listen()
    stream, tcp = listen(socket.SOCK_STREAM)
    urls = ["-n", f"ipfix://10.91.0.2:{port}", "-n", f"netflow5://10.91.0.2:{port}", "-n", f"ipfix+tcp://10.91.0.2:{tcp}"]
    found, text = before("-i", "meas0", *urls, "-n", "json:/dev/null", status=None if not clock_is_right() else 0)
    check(found == [], f"before the start: {text}")
    check(before("-i", "meas0", *urls, option="--dry-run", status=0)[1] == "", "--dry-run")
    p = Running("-i", "meas0", *urls)
    with sending():
        wait(lambda: p.packets()["metered"] > 100, "no packets")
        check(p.doctor() == [], "a healthy set-up")
    p.end()
    sink.close()
    stream.close()


def clock_is_right():
    class Timex(ctypes.Structure):
        _fields_ = [("modes", ctypes.c_uint), ("a", ctypes.c_long * 4), ("status", ctypes.c_int),
                    ("b", ctypes.c_long * 30)]
    t = Timex()
    return LIBC.adjtimex(ctypes.byref(t)) != 5 and not t.status & 0x40


def links():
    sink, port = listen()
    url = f"ipfix://10.91.0.2:{port}"
    ip(A, "link", "set", "meas0", "down")
    for option in ("--doctor", "--dry-run"):
        found, text = before("-i", "meas0", "-n", url, option=option)
        check(found == ["up"] and "meas0: the interface is down" in text and "ip link set meas0 up" in text, text)
    check(before("-i", "meas0", "--wait", "-n", url, option="--dry-run", status=0)[0] == [], "--wait")
    ip(A, "link", "set", "meas0", "up")
    ip(B, "link", "set", "meas0", "down")
    check(before("-i", "meas0", "-n", url)[0] == ["carrier"], "no carrier")
    ip(B, "link", "set", "meas0", "up")
    wait(lambda: "LOWER_UP" in ip(A, "link", "show", "meas0").stdout, "no carrier")
    check(before("-i", "nothere0", "-n", url)[0] == ["exists"], "no interface")
    sink.close()


def collectors():
    sink, port = listen()
    sink.close()
    found, text = before("-i", "meas0", "-n", f"ipfix://10.91.0.2:{port}")
    check(found == ["port"] and f"nobody listens on port {port}" in text, text)
    found, text = before("-i", "meas0", "-n", f"ipfix+tcp://10.91.0.2:{port}")
    check(found == ["port"] and "nobody listens" in text, text)
    for option in ("--doctor", "--dry-run"):
        found, text = before("-i", "meas0", "-n", "no-such-host.invalid", option=option)
        check(found == ["name"] and "no-such-host.invalid has no address" in text, text)
    check(before("-i", "meas0", "-n", "203.0.113.1")[0] == ["route"], "no route")
    sink, port = listen()
    ip(A, "link", "set", "coll0", "mtu", "1000")
    found, text = before("-i", "meas0", "--mtu", "1500", "-n", f"ipfix://10.91.0.2:{port}")
    check(found == ["mtu"] and "(1000 octets)" in text, text)
    ip(A, "link", "set", "coll0", "mtu", "1500")
    # a firewall: nothing comes back from there
    stream, tcp = listen(socket.SOCK_STREAM)
    ip(B, "route", "add", "blackhole", "10.91.0.1/32")
    found, text = before("-i", "meas0", "-n", f"ipfix+tcp://10.91.0.2:{tcp}")
    check(found == ["port"] and "no answer from port" in text and "firewall" in text, text)
    found, text = before("-i", "meas0", "-n", f"ipfix://10.91.0.2:{port}", status=None)
    check(found == ["port"] and "nothing comes back" in text and "firewall" in text, text)
    ip(B, "route", "del", "blackhole", "10.91.0.1/32")
    # something else listens there
    def greet():
        connection = stream.accept()[0]
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
        connection.recv(1)
        connection.close()
    thread = threading.Thread(target=greet)
    thread.start()
    found, text = before("-i", "meas0", "-n", f"ipfix+tcp://10.91.0.2:{tcp}")
    check(found == ["protocol"] and "SSH-2.0-OpenSSH_9.2" in text, text)
    thread.join()
    sink, udp = listen()  # it is there, but not by the way that the options say
    found, text = before("-i", "meas0", "-n", f"ipfix://10.91.0.2:{udp}", "--bind-device", "lo",
                         status=0 if clock_is_right() else None)
    check(found == ["port"] and "nothing comes back" in text, text)
    for option in ("--doctor", "--dry-run"):
        found, text = before("-i", "meas0", "-n", f"ipfix://10.91.0.2:{udp}", "--source", "::1", option=option)
        check(found == ["route"] and "another family" in text, text)
    sink.close()
    found, text = before("-i", "meas0", "-n", "json:/no/such/folder/x", option="--dry-run")
    check(found == ["file"], text)
    found, text = before("-i", "meas0", "-n", "json:/tmp", option="--dry-run")
    check(found == ["file"] and "Is a directory" in text, text)
    for args in (("-r", "/no/such/file"), ("-r", "/tmp"), ("-i", "meas0", "--source", "192.0.2.99"),
                 ("-i", "meas0", "--source", "2001:db8::99"), ("-i", "meas0", "--bind-device", "gone0"),
                 ("-i", "meas0", "--stats", "/no/such/file"), ("-i", "meas0", "--stats", "/tmp"),
                 ("-i", "meas0", "--metrics-file", "/no/such/file"), ("-i", "meas0", "--pidfile", "/no/such/file"),
                 ("-i", "meas0", "--control", "/no/such/file"), ("-i", "meas0", "--user", "no-such-user"),
                 ("-i", "meas0", "--user", "nobody:no-such-group"), ("-i", "meas0", "--user", "root"),
                 ("-i", "meas0", "--control-group", "no-such-group"), ("-i", "meas0", "--metrics", "192.0.2.99:9100"),
                 ("-i", "meas0", "--metrics", "[2001:db8::99]:9100")):
        found, text = before(*args, "-n", "json:-", option="--dry-run")
        check(found == ["usable"] and args[-2] in text, text)
    for where in ("none", "239.1.1.1:9100"):
        check(before("-i", "meas0", "-n", "json:-", "--metrics", where, option="--dry-run", status=2)[1] == "", where)
    with tempfile.TemporaryDirectory() as folder:
        check(before("-i", "meas0", "-n", "json:/dev/null", "--stats", "/dev/null", "--metrics-file", f"{folder}/m.prom",
                     "--pidfile", f"{folder}/pid", "--control", f"{folder}/ctl", "--user", "nobody", "--control-group", "nogroup",
                     "--metrics", "[::1]:9100", option="--dry-run", status=0)[1] == "", "files and names that are there")
    check(before("-i", "meas0", "-n", "json:-", "--source", "127.0.0.1", "--bind-device", "meas0", option="--dry-run",
                 status=0)[1] == "", "a source and a device that are there")
    check(before("-r", str(DATA / "mixed.pcap"), "-n", "json:-", option="--dry-run", status=0)[1] == "", "--dry-run")
    with tempfile.TemporaryDirectory() as folder:  # pitot makes the directory of a spool, but none above it
        for spool, want in ((folder, []), (f"{folder}/new", []), (f"{folder}/new/", []), (f"{folder}/no/new", ["usable"])):
            found, text = before("-r", str(DATA / "mixed.pcap"), "-n", "json:-", "--spool", spool, option="--dry-run",
                                 status=int(want != []))
            check(found == want, f"{spool}: {text}")
    sink.close()
    stream.close()


def tls():
    with tempfile.TemporaryDirectory() as folder:
        make_certificates(folder)
        make_crl(folder, "revoked", "good")

        def path(name):
            return os.path.join(folder, name)
        no_authority, another = "no authority of --tls-ca vouches for the collector's certificate", "is for another name than"
        for certificate, ca, name, expected, words in (
                ("good", "ca", "localhost", [], ""), ("good", "other", "localhost", ["certificate"], no_authority),
                ("stranger", "ca", "localhost", ["certificate"], no_authority),
                ("self", "ca", "localhost", ["certificate"], no_authority),
                ("good", "ca", "elsewhere.example", ["certificate"], f"{another} elsewhere.example: hostname mismatch"),
                ("good", "ca", None, ["certificate"], f"{another} 10.91.0.2: IP address mismatch"),
                ("good", "revoked", "localhost", ["certificate"], "certificate revoked"),
                ("expired", "ca", "localhost", ["certificate"], "the collector's certificate has expired")):
            stream, port = listen(socket.SOCK_STREAM)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(path(f"{certificate}.pem"), path(f"{certificate}.key"))

            def serve():
                with contextlib.suppress(OSError), context.wrap_socket(stream.accept()[0], server_side=True) as s:
                    s.recv(1)
            thread = threading.Thread(target=serve)
            thread.start()
            found, text = before("-i", "meas0", "-n", f"ipfix+tls://10.91.0.2:{port}", "--tls-ca", path(f"{ca}.pem"),
                                 *(("--tls-name", name) if name else ()), status=None)
            # certificates of the tests are good for two days only, which is a doubt
            check([f for f in found if f != "certificate" or expected] == expected and words in text and
                  (not expected or text.count("(certificate)") == 1), f"{certificate} {text}")
            thread.join()
            stream.close()
        stream, port = listen(socket.SOCK_STREAM)  # takes connections, and says nothing
        found, text = before("-i", "meas0", "-n", f"ipfix+tls://10.91.0.2:{port}", "--tls-ca", path("ca.pem"))
        check(found == ["handshake"] and "never answers" in text, text)
        stream.close()


def measuring():
    p = Running("-i", "meas0", "-n", "json:/dev/null", "-f", "host 203.0.113.9")
    with sending():
        found = p.doctor()
        check(names(found) == ["traffic"] and "host 203.0.113.9" in found[0]["verdict"], f"wrong filter: {found}")
    p.end()

    p = Running("-i", "meas0", "-n", "json:/dev/null", "-C", "64")
    with sending(six=True):
        wait(lambda: p.packets()["metered"] > 20, "no packets")
        check(names(p.doctor()) == ["snaplen"], "snaplen")
        sh(CTL, "-c", p.path, "stop-gather")
        check(names(p.doctor())[:1] == ["traffic"], "stop-gather")
    p.end()


def main():
    if os.geteuid() != 0:
        skip("needs root")
    if not os.path.exists(CTL):
        skip("this build has no pitotctl")
    try:
        make()
    except RuntimeError as e:
        remove()
        skip(f"no network namespaces: {e}")
    try:
        for part in (healthy, links, collectors, tls, measuring):
            part()
    finally:
        for p in Running.every:
            p.process.kill()
        remove()
    finish()


if __name__ == "__main__":
    sys.exit(main())
