#!/usr/bin/env python3
"""--polite: the rungs of the ladder, one by one, up and down, with packets coming all the time.

The pressure is staged: a file like the kernel's, whose total this test lets grow as fast as it wants.  Two pitots climb side
by side: one for which the kernel draws packets, behind a filter, and one that draws by itself.  On each rung the ledger balances; what
was received is what was sent; what records say, scaled by the selector that each of them names, is the truth within what
chance allows; and of each selector records have exactly what was drawn by it, so none has packets of two.

A third one has a flow table that its flows fill, so that it slices: what records say is what was metered, less what was
sliced, and what was estimated, to the digit.
"""
import os
import re
import signal
import struct
import tempfile
import threading
import time

import e2elib as e
import live
from ipfixlib import Stream
from pressurelib import BAD, GOOD, HOLD, YIELD, Pressure

STEPS = [("defer", 0)] + [("sample", k) for k in range(1, 11)] + [("count", 10), ("pause", 10)]


class Traffic(threading.Thread):
    """Sends until it is told to stop; .sent frames so far.  Of them .fresh in each burst are of flows of one packet."""

    def __init__(self, name):
        super().__init__(daemon=True)
        self.name_of_link, self.sent, self.fresh, self.ending = name, 0, 0, False
        self.start()

    def run(self):
        frames, begun = live.mixture(1), 0
        while not self.ending:
            fresh = [self.flow_of_one_packet(begun + i) for i in range(self.fresh)]
            live.send(self.name_of_link, frames, 400)
            live.send(self.name_of_link, fresh, len(fresh))
            self.sent += 400 + len(fresh)
            begun += len(fresh)
            time.sleep(0.01)

    @staticmethod
    def flow_of_one_packet(i):
        flow = live.Flow(f"10.9.{i >> 14 & 255}.1", "10.9.0.2", 17, 1024 + (i & 16383), 53, 0)
        data, octets = live.frame(flow, 20 + i % 1000)
        return data, flow, octets

    def stop(self):
        self.ending = True
        self.join()
        return self.sent


class Polite:
    """A pitot, and what it says of rungs."""

    def __init__(self, where, folder, *args):
        self.where = where
        self.pressure = Pressure(f"{folder}/pressure")
        self.sinks = {f: e.Sink() for f in ("ipfix", "netflow9", "netflow5")}
        os.chmod(folder, 0o755)
        self.p = live.Pitot(e.PITOT, folder, "-i", "po0", "--polite", f"cpu=100000,yield={YIELD},spare=0,pressure={folder}/pressure",
                            "-t", "active=1,inactive=1", "--stats-interval", "1", *args, fields=False,
                            collectors=[f"{f}://127.0.0.1:{s.port}" for f, s in self.sinks.items()])

    def rungs(self):
        return [(name, int(n or 0)) for name, n in re.findall(r"polite: rung \d, (\w+)(?: 1 in (\d+))?", self.p.said())]

    def statistics(self):
        """As they are now."""
        before = os.stat(self.p.stats).st_ino if os.path.exists(self.p.stats) else None
        self.p.process.send_signal(signal.SIGUSR1)
        e.wait(lambda: os.path.exists(self.p.stats) and os.stat(self.p.stats).st_ino != before,
               f"{self.where}: SIGUSR1 brings no statistics")
        return e.statistics(self.p.stats)


def name_of(rung):
    name, step = rung
    return name, 1 << step if name == "sample" else 0


def check_rung(polite, rung):
    """The ledger balances there."""
    where = f"{polite.where}: {rung}"
    stats = polite.statistics()
    at = polite.rungs()[-1]
    e.check_ledger(where, stats)
    e.check(stats["polite"]["entered"][at[0]] >= 1, f"{where}: {stats['polite']}")
    e.check(stats["packets"]["dropped_by_kernel"] == 0, f"{where}: the kernel dropped packets")


def check_deferred(polite):
    """Records wait, and none goes out."""
    stats = polite.statistics()
    if not e.wait(lambda: polite.statistics()["flows"]["deferred"] > 0, f"{polite.where}: no record waits on rung defer"):
        return
    before = polite.statistics()["flows"]
    time.sleep(0.5)
    after = polite.statistics()["flows"]
    e.check(after["exported"] == before["exported"], f"{polite.where}: records go out on rung defer: {before} {after}")
    e.check(stats["flows"]["not_sent"] == 0, f"{polite.where}: records were lost")


def check_paused(polite):
    """Nothing is measured, and all of it is counted."""
    before = polite.statistics()["packets"]
    if not e.wait(lambda: polite.statistics()["packets"]["ignored"]["polite"] > before["ignored"]["polite"] + 2000,
                  f"{polite.where}: packets of a pause are not counted"):
        return
    middle = polite.statistics()["packets"]
    e.wait(lambda: polite.statistics()["packets"]["ignored"]["polite"] > middle["ignored"]["polite"] + 2000,
           f"{polite.where}: packets of a pause are not counted any more")
    after = polite.statistics()["packets"]
    e.check(after["metered"] == middle["metered"], f"{polite.where}: packets are measured in a pause: {middle} {after}")


def check_counted(polite):
    """Packets are counted, and nothing else: once the metering process has followed, which the first record shows."""
    seen = [polite.statistics()["packets"]]
    for _ in range(2):
        e.wait(lambda: polite.statistics()["packets"]["metered"] > seen[-1]["metered"] + 2000, f"{polite.where}: packets are not counted")
        seen.append(polite.statistics()["packets"])
    e.check(seen[2]["unselected"] == seen[1]["unselected"], f"{polite.where}: packets are left out: {seen}")


def climb(polite):
    for rung in STEPS:
        polite.pressure.level = BAD
        e.wait(lambda name=name_of(rung): name in polite.rungs(), lambda at=rung: f"{polite.where}: never at {at}: {polite.p.said()}")
        polite.pressure.level = HOLD
        check_rung(polite, rung)
        for name, look in (("defer", check_deferred), ("count", check_counted), ("pause", check_paused)):
            if rung[0] == name:
                look(polite)
    polite.pressure.level = GOOD
    e.wait(lambda: polite.rungs()[-1:] == [("full", 0)], lambda: f"{polite.where}: not at full service again: {polite.p.said()}", 60)


def climb_to_slices(polite):
    """With a full table the step from sampling is the one to slicing; then new flows come."""
    polite.pressure.level = BAD
    e.wait(lambda: any(name == "slice" for name, _ in polite.rungs()), lambda: f"{polite.where}: never sliced: {polite.p.said()}")
    polite.pressure.level = HOLD
    check_rung(polite, polite.rungs()[-1])
    polite.traffic.fresh = 20
    e.wait(lambda: polite.statistics()["packets"]["sliced"] > 200, f"{polite.where}: no packet is sliced")
    polite.traffic.fresh = 0
    check_rung(polite, polite.rungs()[-1])
    polite.pressure.level = GOOD
    e.wait(lambda: polite.rungs()[-1:] == [("full", 0)], lambda: f"{polite.where}: not at full service again: {polite.p.said()}", 60)


# ---- what collectors got


def read_ipfix(where, datagrams):
    stream = Stream()
    for d in datagrams:
        stream.feed(d)
    # templates are announced again over UDP, which is what the reader of sessions minds
    errors = [x for x in stream.errors if "announced again" not in x]
    e.check(not errors, f"{where}: {errors[:3]}")
    return stream


def number(octets):
    return int.from_bytes(octets, "big")


def by_selector(records):
    """{selector: packets}"""
    found = {}
    for r in records:
        found[number(r[302])] = found.get(number(r[302]), 0) + number(r[2])
        e.check(r[302][-1:] == r[48], f"selector {r[302]} and sampler {r[48]} differ")
    return found


def near(where, value, truth, parts):
    """Within six standard errors; parts: {interval: packets drawn by it}.  When one was drawn it could have been ten."""
    error = sum((packets + 9) * n * (n - 1) for n, packets in parts.items()) ** 0.5
    e.check(abs(value - truth) <= 6 * error, f"{where}: {value} packets of {truth}, {error:.0f} is the standard error")


def check_ipfix(where, datagrams, stats):
    stream = read_ipfix(where, datagrams)
    announced = {number(o[302]): struct.unpack("!d", o[311])[0] for o in stream.options if 311 in o}
    announced.update({number(o[302]): 1.0 for o in stream.options if 310 in o})
    e.check(announced == {k: 0.5 ** k for k in range(11)}, f"{where}: selectors {announced}")
    older = {number(o[48]): number(o[50]) for o in stream.options if 48 in o}
    e.check(older == {k: 1 << k for k in range(11)}, f"{where}: samplers {older}")
    found = by_selector(stream.records)
    last = {}
    for o in stream.options:
        if 319 in o:
            last[number(o[301]) - 1] = number(o[318]), number(o[319])
    p = stats["packets"]
    e.check({k: v[1] for k, v in last.items() if v[1]} == found, f"{where}: records have {found}, selectors took {last}")
    e.check(sum(v[0] - v[1] for v in last.values()) == p["unselected"], f"{where}: observed less selected, {last}, is not {p}")
    for k, (observed, selected) in last.items():
        near(f"{where}: selector {k}", selected << k, observed, {1 << k: selected})
    rates = [number(o[34]) for o in stream.options if 34 in o and 48 not in o]
    e.check(set(rates) >= {1 << k for k in range(1, 11)} and rates[-1] == 1, f"{where}: rates that were in force: {rates}")
    counted = [r for r in stream.records if r.get(8) == bytes(4) and not any(r[4])]
    e.check(counted and all(number(r[302]) == 0 and number(r[10]) for r in counted), f"{where}: records of what was counted: {counted[:2]}")
    e.check(all(number(r[1]) >= 20 * number(r[2]) for r in stream.records), f"{where}: octets of a record are few")
    ignored = [number(o[164]) for o in stream.options if 164 in o]
    e.check(ignored[-1] == sum(p["ignored"].values()), f"{where}: {ignored[-1]} ignored, {p}")
    near(where, sum(v << k for k, v in found.items()), p["received"] - p["ignored"]["polite"], {1 << k: v for k, v in found.items()})
    return found


def check_netflow5(where, datagrams, found):
    """Each header has the rate of its records; IPv6 and what else the format lacks is not there."""
    rates = {}
    for d in datagrams:
        n, sampling = struct.unpack_from("!H", d, 2)[0], struct.unpack_from("!H", d, 22)[0]
        e.check(sampling >> 14 == (2 if sampling else 0), f"{where}: sampling {sampling:#x}")
        interval = sampling & 0x3fff or 1
        for i in range(n):
            rates[interval] = rates.get(interval, 0) + struct.unpack_from("!I", d, 24 + 48 * i + 16)[0]
    few = {1 << k: v for k, v in found.items()}
    e.check(all(v <= few.get(n, 0) for n, v in rates.items()), f"{where}: {rates}, but by IPFIX {few}")
    e.check(set(rates) >= {n for n, v in few.items() if v > 100}, f"{where}: rates {rates}, but by IPFIX {few}")


def check_netflow9(where, datagrams, found):
    """The records' samplers are those of IPFIX, packet for packet."""
    templates, packets = {}, {}
    for d in datagrams:
        at = 20
        while at + 4 <= len(d):
            set_id, length = struct.unpack_from("!HH", d, at)
            body = d[at + 4:at + length]
            at += length
            if set_id == 0:
                start = 0
                while start + 4 <= len(body):
                    template, n = struct.unpack_from("!HH", body, start)
                    templates[template] = [struct.unpack_from("!HH", body, start + 4 + 4 * i) for i in range(n)]
                    start += 4 + 4 * n
            for record in records_of(body, templates.get(set_id)):
                packets[record[48]] = packets.get(record[48], 0) + record[2]
    e.check(packets == found, f"{where}: {packets}, by IPFIX {found}")


def records_of(body, fields):
    size = sum(length for _, length in fields or [])
    for start in range(0, len(body) - size + 1 if size else 0, size or 1):
        record, at = {}, start
        for element, length in fields:
            record[element] = number(body[at:at + length])
            at += length
        yield record


def check_end(polite, sent):
    stats = polite.p.stop()
    where, p = polite.where, stats["packets"]
    got = {f: s.stop() for f, s in polite.sinks.items()}
    e.check_ledger(where, stats)
    e.check(p["received"] == sent, f"{where}: {p['received']} packets received of {sent}")
    e.check(stats["flows"]["not_sent"] == 0, f"{where}: records were lost: {stats['flows']}")
    spent, entered = stats["polite"]["spent"], stats["polite"]["entered"]
    e.check(all(entered[r] >= 1 for r in ("full", "defer", "sample", "count", "pause")), f"{where}: {entered}")
    e.check(all(spent[r] > 0 for r in ("full", "defer", "sample", "count", "pause")), f"{where}: {spent}")
    found = check_ipfix(f"{where}: ipfix", got["ipfix"], stats)
    check_netflow9(f"{where}: netflow9", got["netflow9"], found)
    check_netflow5(f"{where}: netflow5", got["netflow5"], found)
    keep = os.environ.get("PITOT_KEEP_DATAGRAMS")
    for form, datagrams in got.items() if keep else ():
        from collectorlib import as_pcap
        as_pcap(datagrams, polite.sinks[form].port, f"{keep}/{where.replace(' ', '-')}-{form}.pcap")


def check_slices(polite, sent):
    """Collectors have exactly what the ledger says, and by that the truth within what chance allows."""
    stats = polite.p.stop()
    where, p, o = polite.where, stats["packets"], stats["octets"]
    got = {f: s.stop() for f, s in polite.sinks.items()}
    e.check_ledger(where, stats)
    e.check(p["received"] == sent, f"{where}: {p['received']} packets received of {sent}")
    e.check(p["sliced"] > 0 and p["estimated"] > 0 and p["not_sent"] == 0, f"{where}: {p}")
    records = read_ipfix(where, got["ipfix"]).records
    for name, element, n in (("packets", 2, p), ("octets", 1, o)):
        has, says = sum(number(r[element]) for r in records), n["metered"] - n["sliced"] + n["estimated"]
        e.check(has == says, f"{where}: records have {has} {name}, by the ledger {says}: {n}")
    found = by_selector(records)
    check_netflow9(where, got["netflow9"], found)
    # a flow that comes in with 1/16 has a standard error of sqrt(240) packets, each of which was one drawn of 2^k
    slices = p["estimated"] / 15 * 240 * 4 ** max(k for k, v in found.items() if v)
    error = (sum(v * (1 << k) * ((1 << k) - 1) for k, v in found.items()) + slices) ** 0.5
    told = sum(v << k for k, v in found.items())
    e.check(abs(told - sent) <= 6 * error, f"{where}: {told} packets of {sent}, {error:.0f} is the standard error")


def refused():
    with e.workdir() as d:
        got = e.run("-i", "po0", "--polite", f"pressure={d}/none", "-n", "text:-")
        e.check(got.returncode == 1 and b"--polite: pressure:" in got.stderr and f"{d}/none".encode() in got.stderr,
                f"a pressure file that is not there: {got.returncode} {got.stderr!r}")


def main():
    why = live.enter_quiet_namespace()
    if why:
        e.skip(f"no network namespace: {why} (run as root)")
    with live.links(("po0", "po0p")), tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two, \
         tempfile.TemporaryDirectory() as three:
        refused()
        polites = [Polite("the kernel draws", one, "ip or ip6 or vlan"), Polite("pitot draws", two, "--capture", "pcap"),
                   Polite("slices", three, "--workers", "1", "--max-flows", "40")]
        climbs, checks = [climb, climb, climb_to_slices], [check_end, check_end, check_slices]
        try:
            for polite in polites:
                e.wait(lambda p=polite: e.at_work(p.p.process.pid), f"{polite.where}: pitot does not begin")
            traffic = polites[2].traffic = Traffic("po0p")
            e.together(lambda polite: climbs[polites.index(polite)](polite), polites)
            sent = traffic.stop()
            for polite, check in zip(polites, checks):
                check(polite, sent)
        finally:
            for polite in polites:
                polite.pressure.ending = True
                polite.p.kill()
    e.finish()


main()
