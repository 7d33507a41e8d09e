#!/usr/bin/env python3
"""SIGHUP: a new configuration is taken over, or refused as a whole; flows and sequence numbers go on.

    reload.py PITOT [SRCROOT] [--only NAME]

Live in a network namespace of its own.  Prints `ok NAME` or `FAIL NAME why`; exit status 77 without privilege.
"""

import os
import signal
import sys
import tempfile
import time

import live
import option_data
from live import Failure, check, links, mixture, running, send


class Config:
    """A configuration file that everybody may read; write() replaces it as editors do."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        os.chmod(self.folder.name, 0o755)
        self.path = os.path.join(self.folder.name, "pitot.conf")

    def write(self, text):
        with open(self.path + ".new", "w") as f:
            f.write(text)
        os.chmod(self.path + ".new", 0o644)
        os.rename(self.path + ".new", self.path)
        return self


def hup(p, words, times):
    """SIGHUP, until standard error has these words that many times."""
    p.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + live.DEADLINE_S
    while p.said().count(words) < times:
        check(p.process.poll() is None, f"ended: {p.said()}")
        check(time.monotonic() < end, f"does not say '{words}': {p.said()}")
        time.sleep(0.02)


def until(condition, words):
    end = time.monotonic() + live.DEADLINE_S
    while not condition():
        check(time.monotonic() < end, words)
        time.sleep(0.02)


def taken_over(program):
    """Time-outs and the period of statistics change; flows, ids and the sequence go on."""
    collector = option_data.Collector()
    config = Config().write("timeout = active=1000,inactive=1000\nstats-interval = 600\n")
    with links(("pt0", "pt0p")):
        with running(program, "-i", "pt0", "--config", config.path, collectors=[collector.url], fields=False) as p:
            send("pt0p", mixture(1), 400)
            until(lambda: option_data.statistics(p)["flows"]["active"] == 40, "no 40 flows")
            collector.read()
            told = len(collector.options[option_data.METERING])
            check(collector.records == 0, f"{collector.records} records before there was a reason")
            config.write("timeout = active=1000,inactive=1\nstats-interval = 1\n")
            hup(p, "is in force", 1)
            until(lambda: collector.read() or collector.records == 40, "no records after the time-out was shortened to 1 s")
            until(lambda: collector.read() or len(collector.options[option_data.METERING]) >= told + 3,
                  "the period of the statistics did not change")
            check(collector.sessions == 1 and collector.gaps == 0, "another sequence")
            stats = p.stop()
        collector.read()
        check(stats["flows"]["created"] == 40 and collector.records == 40, f"{stats['flows']}")
        check(stats["ledger"]["balanced"] is True, "ledger")


def refused(program):
    """A mistake, an option that needs a restart, a file that is gone: one line each, and nothing changes."""
    config = Config().write("timeout = inactive=1000\nmax-flows = 1000\n")
    with links(("pt0", "pt0p")):
        with running(program, "-i", "pt0", "--config", config.path) as p:
            send("pt0p", mixture(1), 400)
            time.sleep(0.3)
            config.write("timeout = inactive=1\nmax-flows = 2000\n")
            hup(p, "reload: --max-flows needs a restart; nothing was changed", 1)
            config.write("timeout = inactive=1\nmax-flows = 1000\ncolour = red\n")
            hup(p, "pitot.conf:3: 'colour' is not an option", 1)
            os.unlink(config.path)
            hup(p, "No such file or directory; nothing was changed", 1)
            time.sleep(2)
            now = option_data.statistics(p)
            check(now["flows"]["active"] == 40 and now["flows"]["created"] == 40, f"{now['flows']}")
            check(p.said().count("nothing was changed") == 3, p.said())
            config.write("timeout = inactive=1\nmax-flows = 1000\n")
            hup(p, "is in force", 1)
            until(lambda: option_data.statistics(p)["flows"]["ended"]["idle"] == 40, "the good file was not taken over")
            p.stop()


def under_load(program):
    """A SIGHUP every 20 ms while packets come: nothing is lost or counted twice."""
    collector = option_data.Collector()
    config = Config().write("timeout = active=1,inactive=1\n")
    with links(("pt0", "pt0p")):
        with running(program, "-i", "pt0", "--config", config.path, collectors=[collector.url], fields=False) as p:
            for i in range(50):
                config.write(f"timeout = active={1 + i % 3},inactive=1\nstats-interval = {1 + i % 2}\n")
                p.process.send_signal(signal.SIGHUP)
                send("pt0p", mixture(1), 400)
                time.sleep(0.02)
                collector.read()
            stats = p.stop()
        collector.read()
        check(stats["packets"]["metered"] + stats["packets"]["dropped_by_kernel"] == 20000, f"{stats['packets']}")
        check(stats["ledger"]["balanced"] is True, "ledger")
        check(collector.records == stats["flows"]["exported"] and collector.gaps == 0,
              f"{collector.records} records of {stats['flows']}, {collector.gaps} missing")


if __name__ == "__main__":
    try:
        sys.exit(option_data.main((taken_over, refused, under_load)))
    except Failure as failure:
        sys.exit(str(failure))
