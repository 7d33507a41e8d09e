#!/usr/bin/env python3
"""What the filter rejects in the kernel is counted, packets and octets: filtered.py PITOT SRCROOT.

What was received and what was filtered are together what the interface counted: by two threads, after the metering
process was killed, from one process to the next that takes over, behind a draw, and on all interfaces at once.  Where the
kernel takes no program of eBPF the filter works all the same, and what it rejects is null.
"""
import ctypes
import os
import re
import signal
import subprocess
import tempfile
import threading

import e2elib as e
import live

A, B = "ptf0", "ptf1"
FILTER = "udp port 53 and not vlan"
PATIENCE_S = 60
CAP_SYS_ADMIN, CAP_BPF = 21, 39


def of_interface(name):
    """Packets and octets that it has received, by its own account."""
    with open("/proc/thread-self/net/dev", encoding="ascii") as f:
        words = re.search(rf"^\s*{name}:(.*)$", f.read(), re.M).group(1).split()
    return int(words[1]), int(words[0])


def rejected(frames, count):
    """Packets and octets of those that the filter rejects: all that are tagged or are no UDP."""
    left_out = [data for data, flow, _ in (frames[i % len(frames)] for i in range(count)) if flow.vlan or flow.protocol != 17]
    return len(left_out), sum(map(len, left_out))


def filtered(stats):
    return stats["packets"]["filtered"], stats["octets"]["filtered"]


def check_all(where, stats, came):
    """Received and filtered is what came."""
    got = tuple(stats[g]["received"] + (stats[g]["filtered"] or 0) for g in ("packets", "octets"))
    e.check(got == came, f"{where}: {got} received and filtered, {came} came: {stats['packets']} {stats['octets']}")
    e.check(stats["packets"]["dropped_by_kernel"] == 0, f"{where}: {stats['packets']}")
    e.check_ledger(where, stats)


class Measuring:
    """With a control socket, so that another one may take over."""

    count = 0

    def __init__(self, d, *args):
        Measuring.count += 1
        self.stats, self.err = f"{d}/stats{Measuring.count}", f"{d}/stderr{Measuring.count}"
        with open(self.err, "wb") as err:
            self.process = subprocess.Popen([e.PITOT, "-i", A, "-c", f"{d}/ctl", "--stats", self.stats, "-n", "127.0.0.1:9", *args],
                                            stderr=err)
        e.wait(lambda: e.at_work(self.process.pid) or self.process.poll() is not None, self.said, PATIENCE_S)

    def said(self):
        with open(self.err, encoding="utf-8", errors="replace") as f:
            return f.read()

    def numbers(self):
        """As they are now."""
        before = os.stat(self.stats).st_ino if os.path.exists(self.stats) else None
        self.process.send_signal(signal.SIGUSR1)
        e.wait(lambda: os.path.exists(self.stats) and os.stat(self.stats).st_ino != before, self.said, PATIENCE_S)
        return e.statistics(self.stats)

    def sees(self, packets):
        """Until so many are received or filtered."""
        e.wait(lambda: sum(self.numbers()["packets"][n] or 0 for n in ("received", "filtered")) >= packets,
               lambda: f"not {packets} packets: {self.numbers()['packets']} {self.said()}", PATIENCE_S)

    def wait(self):
        try:
            status = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        e.check(status == 0, f"status {status}: {self.said()}")
        return e.statistics(self.stats)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.wait()


def threads_and_a_death(frames):
    """Two threads count by themselves, and their counters outlive them."""
    with live.links((A, B)), tempfile.TemporaryDirectory() as d:
        p = Measuring(d, "-w", "2", FILTER)
        before = of_interface(A)
        live.send(B, frames, 3001)
        p.sees(3001)
        e.check(filtered(p.numbers()) == rejected(frames, 3001), f"two threads: not {rejected(frames, 3001)}: {p.numbers()}")
        os.kill(e.roles(p.process.pid)["pitot-metering"], signal.SIGKILL)
        e.wait(lambda: "capturing again" in p.said(), p.said, PATIENCE_S)
        live.send(B, frames, 2003)
        p.sees(5004)
        want = tuple(map(sum, zip(rejected(frames, 3001), rejected(frames, 2003))))
        stats = p.end()
        e.check(filtered(stats) == want, f"after a death: {filtered(stats)} filtered, not {want}")
        now = of_interface(A)
        check_all("after a death", stats, (now[0] - before[0], now[1] - before[1]))


def one_after_the_other(frames):
    """Each has the packets that came while it measured, and draws behind the filter."""
    with live.links((A, B)), tempfile.TemporaryDirectory() as d:
        first = Measuring(d, "-s", "10", FILTER)
        live.send(B, frames, 1501)
        first.sees(1501)
        second = Measuring(d, "--takeover", "-s", "10", FILTER)
        old = first.wait()
        live.send(B, frames, 2002)
        second.sees(2002)
        new = second.end()
        for where, stats, count in (("the first one", old, 1501), ("the second one", new, 2002)):
            e.check(filtered(stats) == rejected(frames, count), f"{where}: {filtered(stats)}, not {rejected(frames, count)}")
            check_all(where, stats, (count, sum(len(frames[i % len(frames)][0]) for i in range(count))))
            passed = count - rejected(frames, count)[0]
            e.check(0 < stats["packets"]["unselected"] < passed, f"{where} draws: {stats['packets']}")


def under_load(frames):
    """While packets come all the time each is counted by one of them."""
    with live.links((A, B)), tempfile.TemporaryDirectory() as d:
        before = of_interface(A)
        first = Measuring(d, FILTER)
        counter = [0, False]  # sent; the end
        sender = threading.Thread(target=live.send_until_told, args=(counter, B, frames))
        sender.start()
        first.sees(1000)
        second = Measuring(d, "--takeover", FILTER)
        old = first.wait()
        second.sees(1000)
        counter[1] = True
        sender.join()
        now = of_interface(A)
        came = now[0] - before[0], now[1] - before[1]
        second.sees(came[0] - old["packets"]["received"] - old["packets"]["filtered"])
        new = second.end()
        sums = tuple(sum(s[g][n] for s in (old, new) for n in ("received", "filtered")) for g in ("packets", "octets"))
        dropped = old["packets"]["dropped_by_kernel"] + new["packets"]["dropped_by_kernel"]
        e.check(dropped or sums == came, f"under load: {sums} received and filtered, {came} came: {old['packets']} {new['packets']}")


def all_interfaces(frames):
    """On any, what loopback sends and receives is one packet, and a frame on two interfaces is two."""
    with live.links((A, B)), tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        p = live.Pitot(e.PITOT, d, "-i", "any", FILTER)
        try:
            live.send("lo", frames, 500)
            live.send(B, frames, 700)
            stats = p.stop()
        finally:
            p.kill()
        want = rejected(frames, 500)[0] + 2 * rejected(frames, 700)[0]
        e.check(stats["packets"]["filtered"] == want, f"any: {stats['packets']}, not {want} filtered")
        e.check(stats["packets"]["received"] == 500 + 1400 - want, f"any: {stats['packets']}")
        e.check_ledger("any", stats)


def without_a_privilege(frames):
    """As before: this process and what it starts cannot load programs from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (CAP_SYS_ADMIN, CAP_BPF):
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
    with live.links((A, B)), tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o755)
        p = live.Pitot(e.PITOT, d, "-i", A, "--debug", "-s", "10", FILTER)
        try:
            live.send(B, frames, 1000)
            stats = p.stop()
        finally:
            p.kill()
        e.check(filtered(stats) == (None, None), f"without CAP_BPF: {stats['packets']}")
        e.check(stats["packets"]["received"] == 1000 - rejected(frames, 1000)[0], f"without CAP_BPF: {stats['packets']}")
        e.check_ledger("without CAP_BPF", stats)
        e.check(p.said().count("what it rejects is not counted") == 1, f"without CAP_BPF: {p.said()}")


def main():
    why = live.enter_quiet_namespace()
    if why:
        e.skip(f"no network namespace: {why} (run as root)")
    why = live.without_counting(e.PITOT)
    frames = live.mixture(1)
    if why:
        e.skip_part(f"counting: {why}")
    else:
        threads_and_a_death(frames)
        one_after_the_other(frames)
        under_load(frames)
        all_interfaces(frames)
    without_a_privilege(frames)
    e.finish()


main()
