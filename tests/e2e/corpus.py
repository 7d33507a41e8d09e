#!/usr/bin/env python3
"""A corpus of foreign captures, when PITOT_CORPUS names one: captures/, captures/TIERS.tsv (file, tier), and
expected/FILE.flows or FILE.reasm.flows (srcip,dstip,proto,sport,dport,packets,octets,first_ms,last_ms,tcpflags).

core: every 5-tuple's packets, octets and TCP flags; exotic: the same, or a plain refusal; malformed: no crash, the
ledger balanced.  Expected TCP flags are the low eight bits.
"""
import os
from pathlib import Path

import e2elib as e


def expected(path):
    found = {}
    for line in path.read_text().splitlines():
        if line.startswith("#") or not line:
            continue
        src, dst, proto, sport, dport, packets, octets, _, _, flags = line.split(",")
        e.add(found, (src, dst, int(proto), int(sport), int(dport)), int(packets), int(octets), int(flags, 0))
    return found


def refusal(got):
    return got.returncode not in (0, None) and len(got.stderr.splitlines()) == 1


def check_capture(corpus, name, tier):
    with e.workdir() as d:
        got = e.run("-q", "-r", corpus / "captures" / name, *e.NO_AGEING, "-n", "json:-", "--stats", f"{d}/s",
                    timeout=300)
        e.check(not e.sanitizer(got.stderr), f"{name}: {got.stderr.decode(errors='replace')}")
        s = e.statistics(f"{d}/s") if os.path.exists(f"{d}/s") and os.path.getsize(f"{d}/s") else None
    e.check(got.returncode in (0, 1), f"{name}: exit status {got.returncode}")
    if s:
        e.check_ledger(name, s)
    if tier == "malformed":
        e.check(got.returncode == 0 or refusal(got), f"{name}: status {got.returncode}, {got.stderr!r}")
        return
    if tier == "exotic" and refusal(got):
        return
    e.check(got.returncode == 0, f"{name}: {got.stderr!r}")
    found = e.json_flows(got.stdout)
    truths = [p for p in (corpus / "expected" / f"{name}.flows", corpus / "expected" / f"{name}.reasm.flows") if p.exists()]
    differences = [e.differences(expected(p), found, flag_mask=0xff) for p in truths]
    e.check(any(not x for x in differences), f"{name} ({tier}):\n{differences[-1] if differences else 'no truth'}")


def main():
    where = os.environ.get("PITOT_CORPUS")
    if not where:  # no tool and no right of this machine: with CI=true it is skipped, too
        print("skipped: PITOT_CORPUS names no directory of captures, which is no part of this repository")
        raise SystemExit(77)
    corpus = Path(where)
    if not (corpus / "captures/TIERS.tsv").exists():
        e.check(False, f"PITOT_CORPUS={where}: there is no captures/TIERS.tsv")
        e.finish()
    for line in (corpus / "captures/TIERS.tsv").read_text().splitlines():
        if line and not line.startswith("#"):
            name, tier = line.split("\t")[:2]
            check_capture(corpus, name, tier)
    e.finish()


main()
