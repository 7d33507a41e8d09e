#!/usr/bin/env python3
"""--max-export-rate: bursts wait, what is more is dropped and told, and the ledger holds.

    export_rate.py PITOT [SRCROOT] [--only NAME]

Live in a network namespace of its own.  Prints `ok NAME` or `FAIL NAME why`; exit status 77 without privilege.
"""

import os
import struct
import sys
import time

import live
import option_data
from live import check, links, running, sender


def scan(name, count):
    """One packet each of so many flows."""
    frame = bytearray(live.frame(live.Flow("10.0.0.1", "10.0.0.2", 17, 0, 53, 0), 10)[0])
    with sender(name) as s:
        for i in range(count):
            struct.pack_into("!IHH", frame, 14 + 12, 0x0a000000 + (i >> 16), 0x0b00, i & 0xffff)
            s.send(frame)


def bursts_wait(program):
    """2,000 flows that end at once at 1,000 records/s: all arrive, in about two seconds."""
    collector = option_data.Collector()
    with links(("pt0", "pt0p")):
        with running(program, "-i", "pt0", "--max-export-rate", "1000", "-t", "active=60,inactive=1",
                     collectors=[collector.url], fields=False) as p:
            scan("pt0p", 2000)
            began = looked = time.monotonic()
            while collector.records < 2000:
                time.sleep(0.1)
                before, since, looked = collector.records, looked, time.monotonic()
                collector.read()
                now = time.monotonic()
                check(now - began < 60, f"{collector.records} records")
                # what is read now came after the last look began
                check(collector.records - before <= 1000 * (now - since) + 400,
                      f"{collector.records - before} records in {now - since:.3f} s")
            stats = p.stop()
        check(stats["flows"]["over_max_export_rate"] == 0 and stats["flows"]["not_sent"] == 0, f"{stats['flows']}")
        check(stats["ledger"]["balanced"] is True and collector.gaps == 0, "ledger")


def dropped_and_told(program):
    """20,000 flows and a second at the end for them: the rest is dropped, and the collector knows how much."""
    collector = option_data.Collector()
    with links(("pt0", "pt0p")):
        with running(program, "-i", "pt0", "--max-export-rate", "1000", "--stop-timeout", "1", "-m", "100000",
                     collectors=[collector.url, "ipfix+file:" + os.path.devnull], fields=False) as p:
            scan("pt0p", 20000)
            time.sleep(0.2)
            collector.read()
            began = time.monotonic()
            stats = p.stop()
            took = time.monotonic() - began
        collector.read()
        flows = stats["flows"]
        check(took < 15, f"ended after {took:.1f} s")
        check(flows["created"] == 20000 - stats["packets"]["dropped_by_kernel"], f"{flows}")
        check(flows["over_max_export_rate"] >= 15000 and flows["not_sent"] == flows["over_max_export_rate"], f"{flows}")
        check(flows["exported"] + flows["not_sent"] == flows["created"], f"{flows}")
        check(collector.records == flows["exported"], f"{collector.records} records of {flows}")
        check(collector.gaps == flows["not_sent"], f"the sequence shows {collector.gaps} of {flows['not_sent']}")
        option_data.check_told(collector, stats)
        check(stats["packets"]["not_sent"] == flows["not_sent"], f"{stats['packets']}")


def queue_overflows(program):
    """More than the queue holds while it runs: dropped while the rest waits, and metering goes on."""
    collector = option_data.Collector()
    with links(("pt0", "pt0p")):
        with running(program, "-i", "pt0", "--max-export-rate", "2000", "--stop-timeout", "0", "-m", "200000",
                     "-t", "active=60,inactive=1", collectors=[collector.url], fields=False) as p:
            scan("pt0p", 60000)
            for _ in range(20):
                time.sleep(1)
                collector.read()
                now = option_data.statistics(p)
                if now["flows"]["over_max_export_rate"] > 10000:
                    break
            check(now["flows"]["over_max_export_rate"] > 10000, f"{now['flows']}")
            check(now["flows"]["lost_on_the_way"] == 0, f"{now['flows']}")
            check(now["ledger"]["balanced"] is True, "ledger while it runs")
            stats = p.stop()
        collector.read()
        flows = stats["flows"]
        check(flows["exported"] + flows["not_sent"] == flows["created"], f"{flows}")
        check(collector.records == flows["exported"] and collector.gaps == flows["not_sent"],
              f"{collector.records} records, {collector.gaps} missing of {flows}")
        check(stats["ledger"]["balanced"] is True, "ledger")


if __name__ == "__main__":
    sys.exit(option_data.main((bursts_wait, dropped_and_told, queue_overflows)))
