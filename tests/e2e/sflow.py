#!/usr/bin/env python3
"""sFlow version 5: the pool is what was received, and collectors make the truth of the samples.

A million packets (100,000 with a sanitizer) from a file with one in 1, 10, 100 and 1000 drawn; sfcapd, sfacctd and tshark
beside a reader of our own.
Then live, on veth pairs in a namespace: counters beside those of the system, an interface that is made anew, and a sample
that leaves by itself.  The draws of a file are the same each time, so a result is always the same.
"""
import contextlib
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import e2elib as e
import live
import sflowlib
from collectorlib import as_pcap, nfacctd, nfdump
from workload import Workload

PACKETS = 100_000 if e.SANITIZED else 1_000_000
FEW = 20_000


def read(where, datagrams):
    """All datagrams, checked for what holds of any."""
    found = []
    for d in datagrams:
        try:
            found.append(sflowlib.read(d))
        except (AssertionError, ValueError, KeyError) as bad:
            e.check(False, f"{where}: a datagram of {len(d)} octets: {bad!r}")
        e.check(len(d) <= 1400, f"{where}: a datagram of {len(d)} octets")
    numbers = [d.sequence for d in found]
    e.check(numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True,
            f"{where}: datagrams are missing in the sequence")
    e.check(len({(d.agent, d.sub_agent) for d in found}) <= 1, f"{where}: the agent changed")
    return found


def samples_of(datagrams, kind=sflowlib.FlowSample):
    return [s for d in datagrams for s in d.samples if isinstance(s, kind)]


# ---- from a file


def export(path, n, *more):
    """What is sent, and the statistics.  A file waits for nobody but what takes its records, so few samples are sent."""
    sink = e.Sink()
    with e.workdir() as d:
        got = e.run("-q", "-r", path, "-n", f"sflow://127.0.0.1:{sink.port}", "--sflow-rate", n, "--stats", f"{d}/s", *more)
        e.check(got.returncode == 0 and not got.stderr, f"1 in {n}: status {got.returncode}, {got.stderr!r}")
        stats = e.statistics(f"{d}/s")
    return sink.stop(), stats


def is_near(got, work, n, fcs):
    """Packets and octets within three standard errors of the truth."""
    truth = work.packets, work.fcs_octets if fcs else work.octets
    return all(abs(value - true) <= 3 * error for value, true, error in zip(got, truth, work.errors(n, fcs)))


def near(where, got, work, n, fcs):
    truth = work.packets, work.fcs_octets if fcs else work.octets
    e.check(is_near(got, work, n, fcs), f"{where}: {got} packets and octets of {truth}, standard errors {work.errors(n, fcs)}")


def total(found):
    return sum(f[0] for f in found.values()), sum(f[1] for f in found.values())


def from_file(path, work, n):
    where = f"{work.packets} packets, 1 in {n}"
    datagrams, stats = export(path, n)
    samples = stats["samples"]
    e.check_ledger(where, stats)
    e.check(samples["pool"] == stats["packets"]["received"] == work.packets,
            f"{where}: a pool of {samples['pool']}, received {stats['packets']['received']}")
    e.check(samples["dropped"] == 0, f"{where}: {samples['dropped']} samples dropped")
    near(f"{where}: taken", (samples["taken"] * n, work.octets), work, n, False)
    if samples["taken"] > FEW:  # more than a socket's buffer holds: not all of them arrived
        return
    sent = read(where, datagrams)
    flows = samples_of(sent)
    e.check(len(flows) == samples["taken"] == stats["collectors"][0]["samples"], f"{where}: {len(flows)} samples arrived")
    e.check([s.sequence for s in flows] == list(range(1, len(flows) + 1)), f"{where}: a gap in the sequence of samples")
    pools = [0] + [s.pool for s in flows]
    e.check(all(a < b for a, b in zip(pools, pools[1:])) and pools[-1] <= work.packets, f"{where}: the pool went back")
    e.check(n > 1 or pools[-1] == work.packets, f"{where}: a pool of {pools[-1]} in the last sample")
    e.check({s.rate for s in flows} == {n} and {s.drops for s in flows} == {0}, f"{where}: rate or drops")
    e.check({(s.protocol, s.stripped) for s in flows} == {(1, 4)} and
            all(len(s.header) == min(s.frame_length - 4, Workload.SNAP) for s in flows), f"{where}: raw headers")
    near(f"{where}: frames", (len(flows) * n, n * sum(s.frame_length for s in flows)), work, n, True)
    if e.find("sfcapd") and e.find("nfdump"):
        near(f"{where} sfcapd", total(nfdump(datagrams, where, "sfcapd")), work, n, True)
    if e.find("sfacctd"):
        found = nfacctd(datagrams, lambda found: is_near(total(found), work, n, True), collector="sfacctd", renormalize=True)
        near(f"{where} sfacctd", total(found), work, n, True)
    if e.find("tshark"):
        tshark(where, datagrams, flows)


def tshark(where, datagrams, flows):
    with e.workdir() as d:
        as_pcap(datagrams, 6343, f"{d}/x.pcap")
        fields = ["sflow.flow_sample.sample_pool", "sflow_245.header.frame_length", "_ws.malformed"]
        got = subprocess.run([e.find("tshark"), "-n", "-r", f"{d}/x.pcap", "-d", "udp.port==6343,sflow", "-T", "fields",
                              *(a for f in fields for a in ("-e", f))], capture_output=True, text=True, check=False)
    rows = [line.split("\t") for line in got.stdout.splitlines()]
    pools, lengths = ([int(v) for r in rows for v in r[i].split(",") if v] for i in (0, 1))
    e.check(pools == [s.pool for s in flows], f"{where} tshark: {len(pools)} pools of {len(flows)}, {got.stderr[:200]!r}")
    e.check(lengths == [s.frame_length for s in flows], f"{where} tshark: {len(lengths)} frame lengths of {len(flows)}")
    e.check(not any(r[2] for r in rows), f"{where} tshark: malformed")


def beside_flows(path, work):
    """One process sends flow records, all of them or sampled at their own rate, and packet samples."""
    for sample, scale in ((1, 1), (10, 10)):
        flow_sink = e.Sink()
        datagrams, stats = export(path, 1000, "-s", sample, *e.NO_AGEING, "-n", f"netflow5://127.0.0.1:{flow_sink.port}")
        flow_datagrams = flow_sink.stop()
        where = f"-s {sample} beside sFlow"
        e.check_ledger(where, stats)
        e.check(stats["samples"]["pool"] == work.packets, f"{where}: a pool of {stats['samples']['pool']}")
        near(f"{where}: metered", (stats["packets"]["metered"] * scale, stats["octets"]["metered"] * scale), work, scale, False)
        near(f"{where}: samples", (1000 * len(samples_of(read(where, datagrams))), work.octets), work, 1000, False)
        if e.find("nfcapd") and e.find("nfdump"):
            near(f"{where}: nfcapd", total(nfdump(flow_datagrams, where)), work, scale, False)
        by = {c["url"].split(":")[0]: c for c in stats["collectors"]}
        e.check(by["sflow"]["records"] == 0 and by["netflow5"]["samples"] == 0, f"{where}: {by}")


def files():
    with e.workdir() as d:
        work = Workload(f"{d}/million.pcap", PACKETS)
        for n in (1, 10, 100, 1000):
            from_file(f"{d}/million.pcap", work, n)
        beside_flows(f"{d}/million.pcap", work)
        few = Workload(f"{d}/few.pcap", FEW // 10)
        from_file(f"{d}/few.pcap", few, 1)


# ---- live


@contextlib.contextmanager
def running(*args):
    """pitot with a sink for its samples."""
    sink = e.Sink()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        p = live.Pitot(e.PITOT, folder, "--agent", "192.0.2.1", *args, collectors=[f"sflow://127.0.0.1:{sink.port}"], fields=False)
        try:
            yield p, sink
        finally:
            p.kill()
            sink.stop()


def counted(name):
    """Octets and packets received and sent, as the kernel has them."""
    for line in Path("/proc/self/net/dev").read_text().splitlines():
        if line.strip().startswith(name + ":"):
            v = line.split(":")[1].split()
            return int(v[0]), int(v[1]), int(v[8]), int(v[9])
    raise OSError(f"no interface {name}")


def sampled(sample):
    c = sample.counters
    return c["in_octets"], c["in_unicast"] + c["in_multicast"], c["out_octets"], c["out_unicast"]


def counters_of(sink, index):
    return [s for d in list(sink.datagrams) for s in sflowlib.read(d).samples
            if isinstance(s, sflowlib.CounterSample) and s.source == index]


def next_counters(sink, index):
    """A sample of the interface that was taken after this instant, None when none comes: the next one to arrive may have
    been under way, the one behind it was not."""
    had = len(counters_of(sink, index))
    if e.wait(lambda: len(counters_of(sink, index)) > had + 1, f"no counters of interface {index}"):
        return counters_of(sink, index)[had + 1]
    return None


def counters_agree():
    with live.links(("sf0", "sf0p")), running("-i", "sf0", "-i", "lo", "--sflow-polling", "1") as (p, sink):
        index = {n: socket.if_nametoindex(n) for n in ("sf0", "lo")}
        for turn in range(3):
            for name in index:
                live.send("sf0p", live.mixture(1), 500)
                # samples go over lo, too: between two readings, not equal
                before = counted(name)
                sample = next_counters(sink, index[name])
                after = counted(name)
                if sample:
                    e.check(all(a <= s <= b for a, s, b in zip(before, sampled(sample), after)),
                            f"{name}, turn {turn}: {before}, {sampled(sample)}, {after}")
        # nothing is sent over the veth pair any more
        sample = next_counters(sink, index["sf0"])
        if sample:
            e.check(sampled(sample) == counted("sf0"), f"sf0 at rest: {sampled(sample)}, {counted('sf0')}")
            c = sample.counters
            e.check((c["index"], c["type"], c["status"]) == (index["sf0"], 6, 3), f"sf0: {c}")
            e.check(c["in_broadcast"] == c["in_unknown"] == 0xffffffff, f"sf0: what nobody counts is all ones: {c}")
        numbers = [s.sequence for s in counters_of(sink, index["sf0"])]
        e.check(numbers == list(range(1, 1 + len(numbers))), f"sf0: sequence {numbers}")
        e.check_ledger("counters", p.stop())


def made_anew():
    """An interface with a number of our own keeps its data source; its counters begin anew, and so does the sequence."""
    with live.links(("sf1", "sf1p")), running("-i", "77:sf1", "--sflow-polling", "1") as (p, sink):
        live.send("sf1p", live.mixture(1), 2000)
        e.wait(lambda: len(counters_of(sink, 77)) >= 3, "no counters of sf1")
        live.delete_link("sf1")
        time.sleep(0.2)
        live.add_veth("sf1", "sf1p")
        high = max(sampled(s)[0] for s in counters_of(sink, 77))
        e.check(high > 0, "sf1: nothing counted before it went")
        e.wait(lambda: sampled(counters_of(sink, 77)[-1])[0] < high, "sf1: no counters after it came again")
        found = counters_of(sink, 77)
        for a, b in zip(found, found[1:]):
            want = 1 if sampled(b)[0] < sampled(a)[0] else a.sequence + 1
            e.check(b.sequence == want, f"sf1: sequence {b.sequence} after {a.sequence}, {sampled(a)} {sampled(b)}")
        e.check_ledger("made anew", p.stop())


def soon():
    """A sample leaves by itself, with nothing behind it.  (test_sflow has how soon, by a clock of its own.)"""
    with live.links(("sf2", "sf2p")), running("-i", "sf2", "--sflow-rate", "1", "--sflow-polling", "0") as (p, sink):
        for turn in range(3):
            live.send("sf2p", live.mixture(1), 1)
            e.wait(lambda n=turn + 1: len(sink.datagrams) >= n, f"sample {turn} does not come")
        stats = p.stop()
        sent = read("live", sink.stop())
        e.check(len(sent) == 3 and all(len(d.samples) == 1 for d in sent), f"soon: {sent}")
        e.check(stats["samples"]["pool"] == stats["packets"]["received"] == 3, f"soon: {stats['samples']}")


def live_part():
    why = live.enter_quiet_namespace()
    if why:
        e.skip_part(f"no network namespace: {why} (run as root)")
        return
    counters_agree()
    made_anew()
    soon()


def main():
    for programs in (["sfcapd", "nfdump"], ["sfacctd"], ["tshark"]):
        e.have(*programs)
    files()
    live_part()
    e.finish()


main()
