#!/usr/bin/env python3
"""A package in a bare Debian of its own, with systemd as its first process: package_try.py PITOT.DEB

Installs it, starts the service before its interface is there, sends packets, looks for records at a collector, upgrades
it while it runs, with an instance of pitot@.service beside it, removes and purges it.  Afterwards no file and no
process is left that was not there before.  As root; everything is in namespaces and a temporary directory.
"""
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COLLECTOR = ("10.9.0.2", 4739)  # in a network namespace of its own, where all ports are free
ELSEWHERE = ("proc", "sys", "dev", "run", "tmp", "var/cache", "var/log", "var/lib/apt", "var/lib/dpkg", "var/lib/systemd")

BOOT = r"""
set -e
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mkdir -p "$root/sys/fs/cgroup"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for d in dev run tmp; do mount -t tmpfs tmpfs "$root/$d"; done
for n in null zero full random urandom tty; do touch "$root/dev/$n"; mount --bind "/dev/$n" "$root/dev/$n"; done
mkdir -p "$root/dev/pts" "$root/dev/shm" "$root/old"
mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=0666
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
cd "$root"
pivot_root . old
umount -l old
rmdir old
exec env -i container=unshare PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system
"""


def fail(text):
    sys.exit(f"FAILED: {text}")


def say(text):
    print(f"package: {text}", file=sys.stderr, flush=True)


def run(*args, **kw):
    got = subprocess.run([str(a) for a in args], capture_output=True, text=True, check=False, **kw)
    if got.returncode:
        fail(f"{' '.join(map(str, args))}: status {got.returncode}\n{got.stdout[-2000:]}{got.stderr[-2000:]}")
    return got.stdout


def wait(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return fail(f"{what}: not within {seconds} s")
        time.sleep(0.1)
    return None


def files(root):
    """{path: kind} of all that a package could leave behind."""
    found = {}
    for folder, folders, names in os.walk(root):
        at = os.path.relpath(folder, root)
        folders[:] = [f for f in folders if os.path.normpath(os.path.join(at, f)) not in ELSEWHERE]
        for name in folders + names:
            path = os.path.normpath(os.path.join(at, name))
            found[path] = "link" if os.path.islink(os.path.join(root, path)) else "there"
    return found


class Machine:
    """systemd in namespaces, with the root directory as its file system."""

    def __init__(self, root):
        self.root = root
        self.group = next((Path(p) for p in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")
                           if Path(p, "cgroup.procs").exists()), None)
        if not self.group:
            fail("no cgroup2 file system: systemd needs one")
        self.group = self.group / f"pitot-try-{os.getpid()}"
        self.group.mkdir()
        script = f"echo 0 >{self.group}/cgroup.procs && exec unshare --pid --fork --mount --uts --ipc --net --cgroup " \
                 "sh -c \"$1\" sh \"$2\""
        self.log = tempfile.TemporaryFile()
        self.parent = subprocess.Popen(["sh", "-c", script, "sh", BOOT, str(root)], stdin=subprocess.DEVNULL,
                                       stdout=self.log, stderr=self.log)
        self.pid = None
        wait("systemd's first process", self.find_pid)
        wait("systemd", lambda: self.ask("systemctl", "is-system-running").stdout.strip() in ("running", "degraded"))

    def find_pid(self):
        with contextlib.suppress(OSError, ValueError):
            children = Path(f"/proc/{self.parent.pid}/task/{self.parent.pid}/children").read_text().split()
            if children and "systemd" in Path(f"/proc/{children[0]}/comm").read_text():
                self.pid = int(children[0])
        if self.parent.poll() is not None:
            self.log.seek(0)
            fail(f"systemd does not start: {self.log.read().decode()}")
        return self.pid

    def command(self, *args):
        return ["nsenter", "-t", str(self.pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root",
                "--wd", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive",
                "LC_ALL=C.UTF-8", *map(str, args)]

    def ask(self, *args):
        return subprocess.run(self.command(*args), capture_output=True, text=True, check=False)

    def do(self, *args):
        return run(*self.command(*args))

    def property(self, unit, name):
        return self.ask("systemctl", "show", "-P", name, unit).stdout.strip()

    def is_active(self, unit):
        return self.ask("systemctl", "is-active", unit).stdout.strip() == "active"

    def why(self, unit):
        return self.ask("journalctl", "--no-pager", "-n", "20", "-u", unit).stdout + \
            self.ask("systemctl", "status", "--no-pager", unit).stdout

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            if self.pid:
                os.kill(self.pid, signal.SIGKILL)  # the first process of the namespace: all others end with it
        self.parent.wait(30)
        for group in sorted(self.group.rglob("*"), reverse=True):
            if group.is_dir():
                group.rmdir()
        with contextlib.suppress(OSError):
            self.group.rmdir()


@contextlib.contextmanager
def network_of(pid):
    """This thread in that network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net", "rb") as own, open(f"/proc/{pid}/ns/net", "rb") as other:
        if libc.setns(other.fileno(), 0x40000000):
            fail(f"setns: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            libc.setns(own.fileno(), 0x40000000)


def collector_of(machine):
    with network_of(machine.pid):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(COLLECTOR)
    return s


def send_packets(machine):
    frame = bytes.fromhex("020000000002020000000001" "0800" "4500001c0001000040110000c0000201c0000202" "04570035000800"
                          "00")
    with network_of(machine.pid):
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
            s.bind(("peer0", 0))
            for _ in range(20):
                s.send(frame)


def records_arrive(machine, collector, when):
    """Packets are sent until there is a record of them: an interface that came late may not be captured from yet."""
    collector.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while collector.recv(65535):
            pass
    collector.settimeout(1)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        send_packets(machine)
        with contextlib.suppress(socket.timeout):
            if bytes((192, 0, 2, 1)) in collector.recv(65535):  # an address of ours: a record, no template
                return
    fail(f"{when}: no record arrives\n{machine.why('pitot')}")


def newer(package, folder):
    """The same package with a higher version."""
    tree = Path(folder) / "newer"
    run("dpkg-deb", "-R", package, tree)
    control = tree / "DEBIAN/control"
    lines = [line + "+newer" if line.startswith("Version:") else line for line in control.read_text().splitlines()]
    control.write_text("\n".join(lines) + "\n")
    run("dpkg-deb", "--root-owner-group", "-b", tree, Path(folder) / "newer.deb")
    return Path(folder) / "newer.deb"


def prepare(package, folder):
    root = Path(folder) / "root"
    say("making a bare Debian")
    run("mmdebstrap", "--variant=apt", "--skip=cleanup/apt/lists", "--include=systemd-sysv,iproute2", "bookworm", root)
    shutil.copy(package, root / "pitot.deb")
    shutil.copy(newer(package, folder), root / "newer.deb")
    for name in ("pitot.deb", "newer.deb"):
        os.chmod(root / name, 0o644)
    # what it depends on is fetched now: the machine has no network
    run("chroot", root, "apt-get", "-q", "-y", "--no-install-recommends", "--download-only", "install", "/pitot.deb")
    return root


def depended_on(machine):
    """The packages that come with it, so that what they bring is not taken for a trace of pitot's."""
    text = machine.do("apt-get", "-q", "-s", "--no-install-recommends", "install", "/pitot.deb")
    return [line.split()[1] for line in text.splitlines() if line.startswith("Inst ") and line.split()[1] != "pitot"]


def configure(machine):
    """Two lines of the example."""
    conf = machine.root / "etc/pitot.conf"
    text = conf.read_text()
    lines = {"#interface = eth0": "interface = late0",
             "#collector = ipfix://192.0.2.10:4739": f"collector = ipfix://{COLLECTOR[0]}:{COLLECTOR[1]}"}
    for old, new in lines.items():
        if old not in text:
            fail(f"/etc/pitot.conf lacks the line {old!r}")
        text = text.replace(old, new)
    conf.write_text(text + "timeout = active=1,inactive=1\n")


def late_interface(machine):
    """Enabled and started before there is an interface: it is waited for, whatever the start limit would be."""
    machine.do("systemctl", "enable", "pitot")
    machine.do("systemctl", "start", "--no-block", "pitot")
    time.sleep(15)  # five starts of the default's limit
    state = machine.property("pitot", "ActiveState")
    if state == "failed":
        fail(f"the service gave up its interface\n{machine.why('pitot')}")
    for words in ("link add late0 type veth peer name peer0", "link set late0 up", "link set peer0 up"):
        machine.do("ip", *words.split())
    try:
        wait("the service", lambda: machine.is_active("pitot"))
    except SystemExit as failed:
        fail(f"{failed}\n{machine.why('pitot')}")


def instance(machine):
    (machine.root / "etc/pitot").mkdir()
    (machine.root / "etc/pitot/two.conf").write_text("interface = late0\ncollector = json:/var/lib/pitot-two/flows\n"
                                                     "stats = /var/lib/pitot-two/stats\n")
    machine.do("systemctl", "enable", "pitot@two")
    machine.ask("systemctl", "start", "pitot@two")
    if not machine.is_active("pitot@two"):
        fail(f"pitot@two is not active\n{machine.why('pitot@two')}")


def life(machine):
    say("installing")
    more = depended_on(machine)
    machine.do("apt-get", "-q", "-y", "--no-install-recommends", "install", *more) if more else None
    before = files(machine.root)
    machine.do("apt-get", "-q", "-y", "--no-install-recommends", "install", "/pitot.deb")
    if machine.ask("systemctl", "is-enabled", "pitot").stdout.strip() != "disabled" or machine.is_active("pitot"):
        fail("something runs or is enabled before it was configured")
    say(f"installed {machine.do('pitot', '--version').strip()}; the service waits for its interface")
    configure(machine)
    machine.do("ip", "link", "set", "lo", "up")
    machine.do("ip", "address", "add", COLLECTOR[0], "dev", "lo")
    collector = collector_of(machine)
    late_interface(machine)
    records_arrive(machine, collector, "after the start")
    instance(machine)
    say("upgrading while it runs")
    pids = [machine.property(unit, "MainPID") for unit in ("pitot", "pitot@two")]
    machine.do("apt-get", "-q", "-y", "install", "/newer.deb")
    for unit, pid in zip(("pitot", "pitot@two"), pids):
        wait(f"{unit} after the upgrade", lambda u=unit, p=pid: machine.is_active(u) and
             machine.property(u, "MainPID") != p)
    if "interface = late0" not in (machine.root / "etc/pitot.conf").read_text():
        fail("the upgrade changed /etc/pitot.conf")
    records_arrive(machine, collector, "after the upgrade")
    say("removing")
    machine.do("apt-get", "-q", "-y", "remove", "pitot")
    for unit in ("pitot", "pitot@two"):
        if machine.is_active(unit):
            fail(f"{unit} runs after the package was removed")
    if not (machine.root / "etc/pitot.conf").exists():
        fail("remove took /etc/pitot.conf away")
    machine.do("apt-get", "-q", "-y", "purge", "pitot")
    after = files(machine.root)
    left = sorted(p for p in after if p not in before)
    gone = sorted(p for p in before if p not in after)
    if left or gone:
        fail(f"purge: left {left}, gone {gone}")
    known = machine.do("systemctl", "list-units", "--all", "--plain", "--no-legend", "pitot.service", "pitot@*.service")
    if known:
        fail(f"purge: systemd still knows {known}")
    say("purged: nothing is left")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.splitlines()[0])
    if os.geteuid() != 0:
        sys.exit("package: this needs root: sudo scripts/package --try")
    with tempfile.TemporaryDirectory(prefix="pitot-package-") as folder:
        machine = Machine(prepare(os.path.abspath(sys.argv[1]), folder))
        try:
            life(machine)
        finally:
            machine.stop()


main()
