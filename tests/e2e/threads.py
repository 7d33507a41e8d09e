#!/usr/bin/env python3
"""Any number of metering threads makes the records that one makes: threads.py PITOT SRCROOT [-v]

What is compared is every record of every file, whatever the order.  In a build with ThreadSanitizer this is the
test of the way from a file through the threads to the collectors.
"""
import json

import e2elib as e

FIELDS = ("sourceIPv4Address,destinationIPv4Address,sourceIPv6Address,destinationIPv6Address,protocolIdentifier,"
          "sourceTransportPort,destinationTransportPort,packetDeltaCount,octetDeltaCount,flowStartMilliseconds,"
          "flowEndMilliseconds,tcpControlBits,flowEndReason")


def records(text):
    return sorted(json.dumps(json.loads(line), sort_keys=True) for line in text.splitlines())


def measure(folder, files, workers):
    stats, sink = f"{folder}/stats", e.Sink()
    reads = [word for f in files for word in ("-r", f)]
    got = e.run(*reads, "-w", workers, "-n", "json:-", "-n", f"ipfix://127.0.0.1:{sink.port}", "--fields", FIELDS,
                "--stats", stats, timeout=120)
    sink.stop()
    return got, e.statistics(stats)


def main():
    groups = [[f] for f in sorted(e.DATA.glob("*.pcap*")) if not f.name.startswith(("bad", "link-unknown"))]
    groups += [[f for g in groups for f in g if "-" not in f.name]] * 3
    with e.workdir() as folder:
        for files in groups:
            name = files[0].name if len(files) == 1 else f"{len(files)} files"
            one, stats_of_one = measure(folder, files, 1)
            for workers in (2, 7) if len(files) == 1 else (2, 4, 7):
                got, stats = measure(folder, files, workers)
                where = f"{name}, {workers} workers"
                e.check(got.returncode == one.returncode, f"{where}: status {got.returncode}: {got.stderr!r}")
                e.check(records(got.stdout) == records(one.stdout), f"{where}: other records than of one")
                e.check_ledger(where, stats)
                for part in ("packets", "octets", "flows", "fragments"):
                    e.check(stats[part] == stats_of_one[part], f"{where}: {part}: {stats[part]}, "
                                                               f"of one {stats_of_one[part]}")
    e.finish()


main()
