#!/usr/bin/env python3
"""A capture buffer that is too small for what comes: the kernel's drops are counted, and one warning names the remedy.

The metering threads get no processor while frames come, so that the buffer is full whatever the machine's speed.
"""
import os
import tempfile

import e2elib as e
import live

SENT = 20000
WARNING = "capture buffer was full"


def dropped(stats):
    return stats["packets"]["dropped_by_kernel"]


def starve(p):
    """The metering threads run when nothing else on their processor wants to, and we do, on the same one."""
    cpu = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu})
    meter = e.roles(p.process.pid)["pitot-metering"]
    for thread in os.listdir(f"/proc/{meter}/task"):
        os.sched_setaffinity(int(thread), {cpu})
        os.sched_setscheduler(int(thread), os.SCHED_IDLE, os.sched_param(0))


def fill(p, told):
    """Sends until as many warnings were given; how many frames that took."""
    sent = 0
    while p.said().count(WARNING) < told and sent < 50 * SENT:
        live.send("ov0p", live.mixture(1), SENT)
        sent += SENT
    return sent


def more():
    """Drops that are no news yet."""
    for _ in range(3):
        live.send("ov0p", live.mixture(1), SENT)
    return 3 * SENT


def main():
    why = live.enter_quiet_namespace()
    if why:
        e.skip(f"no network namespace: {why} (run as root)")
    with live.links(("ov0", "ov0p")), tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        p = live.Pitot(e.PITOT, folder, "-i", "ov0", "-w", "1", "--buffer", "256K", "--capture", "afpacket")
        try:
            e.wait(lambda: e.at_work(p.process.pid), "pitot does not begin")
            starve(p)
            sent = fill(p, 1)
            if not e.wait(lambda: WARNING in p.said(), lambda: f"no warning: {p.said()!r}"):
                e.finish()
            sent += more()
            stats = p.stop()
            lines = [line for line in p.said().splitlines() if WARNING in line]
            e.check(len(lines) == 1, f"{len(lines)} warnings within a minute: {lines}")
            for word in ("warning", "--buffer", "--workers", "--snaplen", "--sample", "--polite"):
                e.check(word in lines[0], f"{word} is not in {lines[0]!r}")
            e.check_ledger("overload", stats)
            e.check(dropped(stats) > 0 and stats["packets"]["received"] + dropped(stats) == sent,
                    f"received and dropped are not {sent}: {stats['packets']}")
        finally:
            p.kill()
    e.finish()


main()
