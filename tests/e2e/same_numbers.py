#!/usr/bin/env python3
"""The same numbers at the same moment, wherever they are told: pitotctl statistics --json, the metrics page in both of
its formats, --stats, --metrics-file and the summary.

    same_numbers.py PITOT SRCROOT

A savefile comes from a pipe that stays open: so packets are metered and in the table, and nothing moves.
"""
import json
import os
import re
import signal
import subprocess
import tempfile
import urllib.request

from e2elib import DATA, PITOT, ROOT, check, check_shape, finish, free_port, run, skip, wait

CTL = os.path.join(os.path.dirname(PITOT), "pitotctl")
MOVING = ("seconds", "final", "control")  # of the statistics: how long it runs, whether it has ended, who asks
FAMILIES = {"ignored_packets": ("packets", "ignored"), "noted_packets": ("notes",), "ended_flows": ("flows", "ended"),
            "polite_entered": ("polite", "entered"), "polite_seconds": ("polite", "spent")}


def ledger(macro, columns):
    """Rows of ledger.def: the columns that are asked for."""
    text = re.sub(r"/\*.*?\*/", "", (ROOT / "probe/process/ledger.def").read_text(), flags=re.S)
    rows = re.findall(rf"^{macro}\({columns},.*?\"(\w+)\",\s*\"", text, re.M | re.S)
    check(len(rows) == len(re.findall(rf"^{macro}\(", text, re.M)), f"{len(rows)} rows of {macro} in ledger.def")
    return rows


def samples(page):
    """{(name without pitot_ and _total, label): value}"""
    found = {}
    for line in page.splitlines():
        if line.startswith("#"):
            continue
        name, label, value = re.fullmatch(r'pitot_(\w+?)(?:_total)?(?:\{\w+="(.*)"\})? (\S+)', line).groups()
        found[name, label] = float(value)
    return found


def same(where, statistics, page):
    """Every row of the ledger: the statistics and a page."""
    got = samples(page)
    compared = 0
    for group, name, metric in ledger("LEDGER", r"(\w+), (\w+)"):
        value = statistics[group][name]
        # each question is counted there, and another run was asked more or less often
        if group == "control" and (where.startswith("now") or where.endswith("first run")):
            continue
        check(got.get((metric, None)) == (None if value is None else float(value)), f"{where}: {group}.{name} is {value}, {metric} "
              f"is {got.get((metric, None))}")
        compared += 1
    for (metric, label), value in got.items():
        if metric in FAMILIES:
            of = statistics
            for key in FAMILIES[metric]:
                of = of[key]
            check(float(of[label]) == value, f"{where}: {FAMILIES[metric]}.{label}: {of[label]}, {value}")
            compared += 1
    for family, name, metric in ledger("COLLECTOR", r"(\w*), (\w+)"):
        for c in statistics["collectors"]:
            value = c[family][name] if family else c[name]
            check(got[f"collector_{metric}", c["url"]] == float(value), f"{where}: {c['url']}: {family}.{name} is {value}")
            compared += 1
    check(compared > 60 and got["ledger_balanced", None] == 1, f"{where}: {compared} numbers")


def same_summary(where, statistics, text):
    p, f = statistics["packets"], statistics["flows"]
    packets = re.search(r"^packets: (\d+) received = (\d+) metered \+ (\d+) ignored", text, re.M)
    flows = re.search(r"^flows: (\d+) created = (\d+) exported(.*); (\d+) octets metered$", text, re.M)
    if not check(packets and flows, f"{where}: no summary: {text}"):
        return
    check([int(n) for n in packets.groups()] == [p["received"], p["metered"], sum(p["ignored"].values())], f"{where}: {text}\n{p}")
    check([int(flows.group(n)) for n in (1, 2, 4)] == [f["created"], f["exported"], statistics["octets"]["metered"]], f"{where}: {text}\n{f}")
    rest = {word: int(n) for n, word in re.findall(r"\+ (\d+) ([a-zA-Z ]+?)(?= \+|$)", flows.group(3))}
    expected = {"NOT SENT": f["not_sent"], "handed over": f["handed_over"], "without a collector": f["unwanted"],
                "in the table": f["active"], "queued": f["queued"]}
    check(rest == {word: n for word, n in expected.items() if n}, f"{where}: {flows.group(0)}: {expected}")
    check(f["created"] == f["exported"] + sum(expected.values()), f"{where}: flows do not add up: {f}")
    for c in statistics["collectors"]:
        line = re.search(rf"^  {re.escape(c['url'])}: (\d+) flows? in (\d+) messages?, (\d+) octets", text, re.M)
        check(line and [int(n) for n in line.groups()] == [c["records"], c["messages"], c["octets"]], f"{where}: {text}\n{c}")


def still(statistics):
    return {k: v for k, v in statistics.items() if k not in MOVING}


class Running:
    def __init__(self, folder, *args):
        self.port, self.socket, self.prom = free_port(), f"{folder}/socket", f"{folder}/pitot.prom"
        self.said = open(f"{folder}/said", "w+", encoding="utf-8")
        self.process = subprocess.Popen([PITOT, "-r", "-", "-n", "json:/dev/null", "-n", f"ipfix+file:{folder}/out", "-c", self.socket,
                                         "--metrics", str(self.port), "--metrics-file", self.prom, *args],
                                        stdin=subprocess.PIPE, stderr=self.said)
        self.process.stdin.write((DATA / "mixed.pcap").read_bytes())
        self.process.stdin.flush()
        wait(lambda: os.path.exists(self.socket), "no control socket")
        last = [None]

        def rests():
            before, last[0] = last[0], still(self.statistics())
            return before == last[0] and last[0]["packets"]["received"] == 76
        wait(rests, lambda: f"the numbers do not rest: {last[0]}")

    def statistics(self):
        got = subprocess.run([CTL, "-c", self.socket, "statistics", "--json"], capture_output=True, text=True, check=False, timeout=30)
        check(got.returncode == 0, f"pitotctl: {got.stderr}")
        return json.loads(got.stdout)

    def page(self, **headers):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/metrics", headers=headers)
        with urllib.request.urlopen(request, timeout=30) as r:
            return r.read().decode().replace("# EOF\n", "")

    def text(self):
        self.said.seek(0)
        return self.said.read()

    def end(self):
        self.process.stdin.close()
        check(self.process.wait(60) == 0, f"status: {self.text()}")


def at_a_moment(p, where, told):
    """told(): what SIGUSR1 leads to, as soon as it is there."""
    before = p.statistics()
    check_shape(where, before)
    check(before["flows"]["active"] > 0 and before["flows"]["created"] > before["flows"]["exported"], f"{where}: {before['flows']}")
    same(f"{where}, page", before, p.page())
    same(f"{where}, OpenMetrics", before, p.page(Accept="application/openmetrics-text"))
    p.process.send_signal(signal.SIGUSR1)
    wait(told, f"{where}: nothing is told on SIGUSR1")
    check(still(p.statistics()) == still(before), f"{where}: the numbers do not rest")
    return before


def main():
    if b"no HTTP library" in run("-r", DATA / "mixed.pcap", "-q", "-n", "json:/dev/null", "--metrics", "1").stderr:
        skip("this build has no --metrics")
    with tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o777)
        p = Running(d)
        now = at_a_moment(p, "now", lambda: re.search(r"octets metered\n(  .*\n){2}", p.text()))
        same_summary("now, summary", now, p.text())
        told = len(p.text())
        p.end()
        text, page = (t.replace(d, "@") for t in (p.text()[told:], open(p.prom, encoding="utf-8").read()))
    with tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o777)
        stats = f"{d}/stats"
        p = Running(d, "--stats", stats)
        now = at_a_moment(p, "now", lambda: os.path.exists(stats))
        with open(stats, encoding="utf-8") as f:
            check(still(json.load(f)) == still(now), "--stats on SIGUSR1 is not what pitotctl says")
        p.end()
        with open(stats, encoding="utf-8") as f:
            end = json.load(f)
        check(end["final"] is True and end["flows"]["active"] == 0, f"the end: {end['flows']}")
        same("the end, --metrics-file", end, open(p.prom, encoding="utf-8").read())
        # the first run had the same packets; only names of files are others
        for c in end["collectors"]:
            c["url"] = c["url"].replace(d, "@")
    same_summary("the end, summary", end, text)
    same("the end, --metrics-file of the first run", end, page)
    finish()


main()
