"""What the end-to-end tests share.  Each is run as NAME.py PITOT SRCROOT [-v]."""
import concurrent.futures
import contextlib
import ipaddress
import itertools
import json
import signal
import re
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PITOT = os.path.abspath(sys.argv[1])
ROOT = Path(sys.argv[2]).resolve()
DATA = ROOT / "tests/data"
SANITIZED = any(word in Path(PITOT).read_bytes() for word in (b"__asan_init", b"__tsan_init"))
NO_AGEING = ["-t", "tcp-end=off,active=1000000,inactive=1000000"]

_checks = _failures = 0
_skipped = []
_lock = threading.Lock()


def own_ports():
    """A block of ports that no other test running now has: whoever holds the block's name, an abstract socket that
    ends with the process.  They are below those that the system gives away by itself."""
    for block in range(60):
        name = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            name.bind(f"\0pitot-e2e-ports-{block}")
        except OSError:
            name.close()
            continue
        return name, itertools.cycle(range(20100 + 200 * block, 20300 + 200 * block))
    raise RuntimeError("60 tests run already")


_ports_name, _ports = own_ports()


def check(ok, text):
    """One expectation; its text is printed when it does not hold."""
    global _checks, _failures
    with _lock:
        _checks += 1
        if not ok:
            _failures += 1
            print(f"FAILED: {text}", flush=True)
    return ok


def together(do, items, threads=4):
    """do(item) for each, some at the same time: for what mostly waits."""
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(do, items))


def run_parts(*parts):
    """Each, and its name before it; only those whose name has the third argument in it, when there is one."""
    for part in parts:
        if len(sys.argv) > 3 and sys.argv[3] not in part.__name__:
            continue
        print(part.__name__, flush=True)
        part()


def skip_part(reason):
    """A part of a test cannot run here.  With CI=true that is a failure."""
    _skipped.append(reason)
    print(f"skipped: {reason}", flush=True)


def finish():
    ci = os.environ.get("CI") == "true"
    if _skipped and ci:
        print("FAILED: with CI=true nothing is skipped")
    print(f"{_checks} checks, {_failures} failed, {len(_skipped)} parts skipped")
    if _failures or (_skipped and ci):
        sys.exit(1)
    sys.exit(77 if not _checks else 0)


def skip(reason):
    """Nothing of a test can run here."""
    skip_part(reason)
    finish()


def have(*programs):
    """Whether all are there; says which is not."""
    missing = [p for p in programs if not find(p)]
    if missing:
        skip_part(f"{', '.join(missing)} not installed")
    return not missing


def find(program):
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin")


def run(*args, stdin=None, timeout=120, env=None, user=None):
    """Runs pitot; .returncode, .stdout, .stderr as text.  A hang is a failure with status None."""
    command = [PITOT, *map(str, args)]
    if user:
        command = [find("setpriv"), "--reuid", user, "--regid", user, "--clear-groups", *command]
    try:
        return subprocess.run(command, input=stdin, capture_output=True, timeout=timeout, check=False,
                              env={**os.environ, **(env or {})})
    except subprocess.TimeoutExpired as late:
        check(False, f"pitot {' '.join(map(str, args))} did not end within {timeout} s")
        return subprocess.CompletedProcess(command, None, late.stdout or b"", late.stderr or b"")


def sanitizer(stderr):
    return b"AddressSanitizer" in stderr or b"runtime error" in stderr or b"LeakSanitizer" in stderr


def workdir():
    return tempfile.TemporaryDirectory(prefix="pitot-e2e-")


def free_port():
    """A port of loopback that nobody has, by UDP and TCP."""
    while True:
        with _lock:
            port = next(_ports)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            try:
                udp.bind(("127.0.0.1", port))
                tcp.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def make_room(receiver, octets=16 << 20):
    """What comes waits there while this process gets no processor; as root it is as much as is asked for."""
    with contextlib.suppress(PermissionError):
        receiver.setsockopt(socket.SOL_SOCKET, 33, octets)  # SO_RCVBUFFORCE
        return
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)


class Sink(threading.Thread):
    """Takes datagrams on loopback and keeps them."""

    def __init__(self, host="127.0.0.1"):
        super().__init__(daemon=True)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        make_room(self.socket)
        self.socket.bind((host, 0))
        self.socket.settimeout(0.1)
        self.port = self.socket.getsockname()[1]
        self.datagrams = []
        self.ending = False
        self.start()

    def run(self):
        while True:
            try:
                self.datagrams.append(self.socket.recv(65535))
            except socket.timeout:
                if self.ending:
                    return

    def stop(self):
        self.ending = True
        self.join()
        self.socket.close()
        return self.datagrams


def json_flows(text):
    """{key: [packets, octets, flags]} of pitot's JSON output."""
    found = {}
    for line in text.decode().splitlines():
        r = json.loads(line)
        key = (r.get("sourceIPv4Address") or r["sourceIPv6Address"],
               r.get("destinationIPv4Address") or r["destinationIPv6Address"], r["protocolIdentifier"],
               r["sourceTransportPort"], r["destinationTransportPort"])
        add(found, key, r["packetDeltaCount"], r["octetDeltaCount"], r["tcpControlBits"])
    return found


def add(found, key, packets, octets, flags):
    key = (str(ipaddress.ip_address(key[0])), str(ipaddress.ip_address(key[1])), *key[2:])
    f = found.setdefault(key, [0, 0, 0])
    f[0] += packets
    f[1] += octets
    f[2] |= flags


def differences(expected, got, flag_mask=0xfff, limit=3):
    """A few lines about what differs; empty when nothing does."""
    lines = []
    for key in sorted(set(expected) | set(got)):
        e, g = expected.get(key), got.get(key)
        if not e or not g or e[:2] != g[:2] or (e[2] ^ g[2]) & flag_mask:
            lines.append(f"  {key}: expected {e}, got {g}")
    more = [f"  ... and {len(lines) - limit} more"] if len(lines) > limit else []
    return "\n".join(lines[:limit] + more)


def roles(pid):
    """{name: pid} of the processes that a pitot has forked and that have not ended."""
    path, before, listed, found = Path(f"/proc/{pid}/task/{pid}/children"), None, "", {}
    with contextlib.suppress(OSError):  # it has ended
        while listed != before:  # while one ends the kernel may leave out another
            before, listed = listed, path.read_text()
    for child in listed.split():
        with contextlib.suppress(OSError):  # this one has ended, the others have not
            words = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)
            if words[1].split()[0] != "Z":
                found[words[0].split("(", 1)[1]] = int(child)
    return found


def waits(pid):
    """Does none of its threads want a processor?"""
    try:
        states = [Path(f"/proc/{pid}/task/{tid}/stat").read_text().rsplit(")", 1)[1].split()[0]
                  for tid in os.listdir(f"/proc/{pid}/task")]
    except OSError:  # it has ended
        return False
    return all(state in "ST" for state in states)


def listens(port):
    """Is there somebody on this port, on TCP or UDP?"""
    for name, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        with contextlib.suppress(FileNotFoundError):
            for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                words = row.split()
                if words[1].endswith(f":{port:04X}") and words[3] == state:
                    return True
    return False


def at_work(pid):
    """Has it got so far that packets are read, and signals are answered?"""
    found = roles(pid)
    try:
        blocked = re.search(r"^SigBlk:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.M).group(1)
        meters = len(os.listdir(f"/proc/{found['pitot-metering']}/task")) > 1
    except (OSError, KeyError):
        return False
    return meters and bool(int(blocked, 16) & 1 << (signal.SIGTERM - 1))


def statistics(stderr_or_path):
    data = Path(stderr_or_path).read_bytes() if isinstance(stderr_or_path, (str, Path)) else stderr_or_path
    text = data.decode(errors="replace")
    return json.loads(text[text.index("{"):text.rindex("}") + 1])


def wait(what, text, seconds=60):
    """Until what() is true; text says what is missing otherwise, or makes the sentence."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.05)
    return check(False, text() if callable(text) else text)


def is_served(path):
    """A control socket is there a moment before anybody listens on it."""
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(path) == 0


def heard(pid, signal_number):
    """Has it taken the signal that it was sent, and done what there was to do?"""
    pending = re.findall(r"^S\w+Pnd:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.M)
    return not any(int(p, 16) & 1 << (signal_number - 1) for p in pending) and waits(pid)


def statistics_now(process, path):
    """What SIGUSR1 makes a pitot write that is at work; {} when it has ended."""
    def mark():
        with contextlib.suppress(FileNotFoundError):
            s = os.stat(path)
            return s.st_ino, s.st_mtime_ns
        return None
    before, got = mark(), {}
    process.send_signal(signal.SIGUSR1)

    def fresh():
        with contextlib.suppress(OSError, ValueError):  # not yet, or not wholly
            if mark() != before:
                got.update(statistics(path))
        return bool(got) or process.poll() is not None
    wait(fresh, "SIGUSR1 brings no statistics")
    return got


def check_shape(where, s):
    """The statistics are what their schema says."""
    import jsonschema  # Debian's python3-jsonschema; only those who look at statistics need it
    schema = json.loads((ROOT / "scripts/statistics.schema.json").read_text(encoding="utf-8"))
    for wrong in jsonschema.Draft202012Validator(schema).iter_errors(s):
        check(False, f"{where}: {'.'.join(str(p) for p in wrong.path)}: {wrong.message[:200]}")


def check_ledger(where, s):
    """The identities of pitot(8), LEDGER, recomputed from the statistics."""
    check_shape(where, s)
    p, o, f = s["packets"], s["octets"], s["flows"]
    check(s["ledger"]["balanced"] is True, f"{where}: the ledger is not balanced")
    check(p["received"] == p["metered"] + sum(p["ignored"].values()) + p["unselected"],
          f"{where}: received packets are not metered + ignored + unselected: {p}")
    check(f["created"] + f["taken_over"] == f["active"] + sum(f["ended"].values()) + f["handed_over"],
          f"{where}: created + taken over is not active + ended + handed over: {f}")
    check(o["metered"] >= 0, f"{where}: octets")
