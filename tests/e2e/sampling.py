#!/usr/bin/env python3
"""--sample: what collectors make of sampled flows is the truth, within the error that sampling has.

A million packets (200,000 with a sanitizer) with -s 1, 10 and 100, by NetFlow v5, v9 and IPFIX, through nfcapd and
nfacctd.  The draws of a file are the same each time, so a result is always the same.  Then live, where the kernel draws if it
can, behind the filter if there is one, and whoever meters otherwise: what was received is what was sent, also when the
interface is made anew.
"""
import os
import tempfile

import e2elib as e
import live
from collectorlib import nfacctd, nfdump
from workload import Workload

PACKETS = 200_000 if e.SANITIZED else 1_000_000
FORMATS = ("netflow5", "netflow9", "ipfix")


def export(path, sample, *more):
    """Datagrams in each format, and the statistics."""
    sinks = {f: e.Sink() for f in FORMATS}
    with e.workdir() as d:
        args = [a for f, s in sinks.items() for a in ("-n", f"{f}://127.0.0.1:{s.port}")]
        got = e.run("-q", "-r", path, *e.NO_AGEING, "-s", sample, *args, "-n", f"json:{d}/json", "--stats", f"{d}/s", *more)
        e.check(got.returncode == 0 and not got.stderr, f"-s {sample}: status {got.returncode}, {got.stderr!r}")
        stats = e.statistics(f"{d}/s")
        with open(f"{d}/json", "rb") as f:
            flows = e.json_flows(f.read())
    return {f: s.stop() for f, s in sinks.items()}, stats, flows


def total(found):
    return sum(f[0] for f in found.values()), sum(f[1] for f in found.values())


def compared(work, n, got):
    """(what, value, truth, standard error) of scaled totals."""
    return zip(("packets", "octets"), got, (work.packets, work.octets), work.errors(n))


def is_near(work, n, got):
    """Within three standard errors of the truth; with n = 1 that is the truth."""
    return all(abs(value - truth) <= 3 * error for _, value, truth, error in compared(work, n, got))


def near(where, work, n, got):
    e.check(is_near(work, n, got), f"{where}: {list(compared(work, n, got))}")


def check_statistics(work, n, stats):
    p = stats["packets"]
    e.check_ledger(f"-s {n}", stats)
    e.check(p["received"] == work.packets, f"-s {n}: {p['received']} packets received of {work.packets}")
    near(f"-s {n}: metered, times {n}", work, n, (p["metered"] * n, stats["octets"]["metered"] * n))


def through_collectors(path, work, n):
    datagrams, stats, flows = export(path, n)
    check_statistics(work, n, stats)
    e.check(total(flows) == (stats["packets"]["metered"], stats["octets"]["metered"]), f"-s {n}: records are not what was metered")
    for scheme in FORMATS:
        if e.find("nfcapd") and e.find("nfdump"):
            found = total(nfdump(datagrams[scheme], f"-s {n} {scheme}"))
            # nfcapd 1.7.1 scales what a header of version 5 says, and takes no rate from options of the others
            scale = 1 if scheme == "netflow5" else n
            near(f"-s {n} {scheme} nfcapd", work, n, (found[0] * scale, found[1] * scale))
        if e.find("nfacctd"):
            found = nfacctd(datagrams[scheme], lambda found: is_near(work, n, total(found)), renormalize=True)
            near(f"-s {n} {scheme} nfacctd", work, n, total(found))


def whole_flows(path, work):
    """hash:N takes flows with all their packets."""
    for n in (1, 4, 16):
        _, stats, flows = export(path, f"hash:{n}")
        e.check_ledger(f"hash:{n}", stats)
        parts = {k: (f[:2], work.flows.get(k)) for k, f in flows.items() if f[:2] != work.flows.get(k)}
        e.check(not parts, f"hash:{n}: not whole, or no flow at all: {list(parts.items())[:3]}")
        e.check(n == 1 and len(flows) == len(work.flows) or 0 < len(flows) < len(work.flows),
                f"hash:{n}: {len(flows)} flows of {len(work.flows)}")


def every_nth(path, work):
    """systematic:N takes exactly one of each N, whatever the number of readers."""
    for workers in (1, 2):
        _, stats, _ = export(path, "systematic:100", "-w", workers)
        e.check_ledger("systematic:100", stats)
        metered = stats["packets"]["metered"]
        e.check(abs(metered - work.packets // 100) < workers, f"systematic:100, {workers} workers: {metered} of {work.packets}")


def drawn_live(*args, anew=False):
    """Whoever draws: received is metered and unselected, and is what was sent."""
    where, n, sent = f"live, -s 10 {' '.join(args)}{', made anew' if anew else ''}", 10, 20000
    with live.links(("sp0", "sp0p")), tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        p = live.Pitot(e.PITOT, folder, "-i", "sp0", "-s", str(n), *args)
        try:
            octets = sum(o for _, o in live.send("sp0p", live.mixture(1), sent // 2).values())
            if anew:
                live.delete_link("sp0")
                e.wait(lambda: "down or gone" in p.said(), lambda: f"{where}: nothing is said of it: {p.said()}")
                live.add_veth("sp0", "sp0p")
                e.wait(lambda: "capturing again" in p.said(), lambda: f"{where}: not opened again: {p.said()}")
            octets += sum(o for _, o in live.send("sp0p", live.mixture(1), sent // 2).values())
            stats = p.stop()
            packets = stats["packets"]
            e.check_ledger(where, stats)
            e.check(packets["received"] == sent and packets["dropped_by_kernel"] == 0, f"{where}: {packets}")
            # six standard errors: these draws differ each time
            e.check(abs(packets["metered"] * n - sent) < 6 * (sent * (n - 1)) ** 0.5, f"{where}: {packets}")
            e.check(sum(r["packetDeltaCount"] for r in p.rows()) == packets["metered"], f"{where}: records")
            e.check(stats["octets"]["received"] > octets, f"{where}: {stats['octets']}")
        finally:
            p.kill()


def live_part():
    why = live.enter_quiet_namespace()
    if why:
        e.skip_part(f"no network namespace: {why} (run as root)")
        return
    drawn_live()
    drawn_live("-w", "2")
    drawn_live("ip or ip6 or vlan")
    drawn_live("--capture", "pcap")
    drawn_live(anew=True)


def main():
    for programs in (["nfcapd", "nfdump"], ["nfacctd"]):
        e.have(*programs)
    with e.workdir() as d:
        work = Workload(f"{d}/million.pcap", PACKETS)
        e.together(lambda n: through_collectors(f"{d}/million.pcap", work, n), [1, 10, 100])
        whole_flows(f"{d}/million.pcap", work)
        every_nth(f"{d}/million.pcap", work)
    live_part()
    e.finish()


main()
