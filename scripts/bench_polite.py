"""scripts/bench polite: what a task keeps of its processor beside a probe, and how pitot --polite gets out of its way.

The task computes on the processor on which the probe captures.  "kept" is what it got done in a second of the processor
time that it and the probe took together, beside what it gets done in a second without a probe: whatever else the machine
does is in neither.  The rungs are those that pitot writes to its log, with the time at which each line came.
"""
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

CALM, SETTLE, SAMPLE = 4, 18, 0.1  # seconds
RUNGS = ("full", "defer", "sample", "slice", "count", "pause")


def processes(pid):
    """pid and all that descend from it."""
    found = [pid]
    for one in found:
        try:
            found += [int(c) for c in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
        except OSError:
            continue
    return found


def cpu_seconds(pid):
    total = 0
    for one in processes(pid):
        for path in Path(f"/proc/{one}/task").glob("*/schedstat"):
            try:
                total += int(path.read_text().split()[0])
            except (OSError, IndexError):
                continue
    return total / 1e9


class Watch(threading.Thread):
    """Processor time of a probe, and the rungs of its log, over time."""

    def __init__(self, process, log):
        super().__init__(daemon=True)
        self.process, self.log, self.ending = process, log, False
        self.begin = time.monotonic()
        self.cpu, self.rungs = [], [(0.0, 0, 1)]  # (when, seconds), (when, rung, interval)
        self.start()

    def now(self):
        return time.monotonic() - self.begin

    def look(self):
        lines = re.findall(r"polite: rung (\d), \w+(?: 1 in (\d+))?", self.log.read_text() if self.log.exists() else "")
        for rung, interval in lines[len(self.rungs) - 1:]:
            self.rungs.append((self.now(), int(rung), int(interval or (1 if int(rung) < 2 else 0))))

    def run(self):
        while not self.ending:
            self.cpu.append((self.now(), cpu_seconds(self.process.pid)))
            self.look()
            time.sleep(SAMPLE)

    def between(self, begin, end):
        """Processor time."""
        inside = [seconds for when, seconds in self.cpu if begin <= when <= end]
        return inside[-1] - inside[0] if len(inside) > 1 else 0

    def stop(self):
        self.ending = True
        self.join()
        self.look()


class Probe:
    name = "no probe"

    def __init__(self, bench):
        self.bench = bench

    def command(self, run_dir, flows):
        return ["sleep", "infinity"]

    def stop(self, process, run_dir):
        process.terminate()

    def packets(self, run_dir, sink):
        """(metered, scaled)"""
        return None, None


class Pitot(Probe):
    name = "pitot"
    polite = ()

    def command(self, run_dir, flows):
        return [self.bench.pitot, "-q", "-i", "rx0", "-m", flows, *self.polite, "--control", "none",
                "--stats", run_dir / "stats", "-n", f"ipfix+file:{run_dir}/flows.ipfix"]

    def packets(self, run_dir, sink):
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/e2e"))
        from ipfixlib import Stream
        stream = Stream()
        stream.feed((run_dir / "flows.ipfix").read_bytes())
        number = int.from_bytes
        counts = [(number(r[2], "big"), number(r.get(302, b"\0"), "big")) for r in stream.records]
        return sum(n for n, _ in counts), sum(n << k for n, k in counts)


class Polite(Pitot):
    name = "pitot --polite"

    def __init__(self, bench):
        super().__init__(bench)
        value = ",".join(x for x in (bench.args.polite, bench.args.pressure and f"pressure={bench.args.pressure}") if x)
        self.polite = (f"--polite={value}" if value else "--polite",)


class Softflowd(Probe):
    name = "softflowd"

    def __init__(self, bench, program):
        super().__init__(bench)
        self.program = program

    def command(self, run_dir, flows):
        return self.program.live_command("rx0", run_dir, flows)

    def stop(self, process, run_dir):
        self.program.stop(process, run_dir)

    def packets(self, run_dir, sink):
        n = self.bench.sink_counts(sink).get("packets")
        return n, n


def one(bench, wire, probe, path, flows):
    """A run: calm, then the task, then until full service is back; what came of it."""
    args, run_dir = bench.args, bench.dir / "run"
    for old in run_dir.glob("*"):
        old.unlink()
    sink = bench.sink() if isinstance(probe, Softflowd) else None
    process = bench.start(probe.command(run_dir, flows), run_dir)
    watch = Watch(process, run_dir / "err")
    time.sleep(1)
    sender = subprocess.Popen(["ip", "netns", "exec", wire.send, "taskset", "-c", str(args.other_cpu), bench.tool("blast"),
                               "-i", "tx0", "-f", str(path), "-r", args.rates.split(",")[0],
                               "-t", str(CALM + args.seconds + (SETTLE if isinstance(probe, Polite) else 1))],
                              stdout=subprocess.PIPE, text=True)
    time.sleep(CALM)
    begin = watch.now()
    task = subprocess.run(["taskset", "-c", bench.processor, bench.tool("hog"), str(args.seconds)], check=True,
                          capture_output=True, text=True)
    end = watch.now()
    sent = int(re.search(r"sent=(\d+)", sender.communicate()[0]).group(1))
    time.sleep(0.5)
    rungs_end = watch.now()
    probe.stop(process, run_dir)
    watch.stop()
    process.wait()
    said = (run_dir / "err").read_text()
    if "error" in said:
        sys.exit(f"bench: {probe.name}: {said}")
    metered, scaled = probe.packets(run_dir, sink)
    hog = dict(re.findall(r"(\w+)=(\d+)", task.stdout))
    return {"probe": probe.name, "begin": begin, "end": end, "until": rungs_end, "cpu": watch.cpu, "rungs": watch.rungs,
            "iterations": int(hog["iterations"]), "task_s": int(hog["cpu_us"]) / 1e6, "probe_s": watch.between(begin, end),
            "wall_s": int(hog["wall_us"]) / 1e6, "sent": sent, "metered": metered, "scaled": scaled}


def reaction(run):
    """Seconds from the beginning of the load to the first step, and from its end to full service; None: not seen."""
    during = [when for when, rung, _ in run["rungs"] if run["begin"] < when < run["end"] and rung]
    last = run["rungs"][-1]
    full = last[0] - run["end"] if last[1] == 0 and last[0] > run["end"] else None
    return during[0] - run["begin"] if during else None, full


def say(value, form, otherwise="-"):
    return otherwise if value is None else form.format(value)


def polite(bench, wire_of, programs, row):
    args, runs = bench.args, []
    (bench.dir / "run").mkdir(exist_ok=True)
    flows = int(args.flows.split(",")[0])
    path, _ = bench.workload(f"L{flows}", f"-f {flows} -z 1.1 -p 64 -s 5", 2_000_000)
    probes = [Probe(bench), Polite(bench), Pitot(bench)] + [Softflowd(bench, p) for p in programs]
    probes = [p for p in probes if not args.programs or p.name == Probe.name or any(w in p.name for w in args.programs.split(","))]
    os.sched_setaffinity(0, {args.other_cpu})
    with wire_of() as wire:
        bench.netns = ["ip", "netns", "exec", wire.receive]
        for _ in range(args.rounds):
            for probe in probes:
                run = one(bench, wire, probe, path, flows)
                runs.append(run)
                print(f"bench: {probe.name}: {run['iterations']} iterations in {run['task_s']:.2f} s of {run['wall_s']:.2f}, "
                      f"probe {run['probe_s']:.3f} s; sent {run['sent']}, metered {run['metered']}, scaled {run['scaled']}; "
                      f"rungs {[(round(w, 1), r, i) for w, r, i in run['rungs']]}", file=sys.stderr)
    table(args, runs, probes, row)
    if args.svg:
        mine = [r for r in runs if r["probe"] == Polite.name]
        whole = [r for r in mine if None not in reaction(r)]
        Path(args.svg).write_text(picture((whole or mine)[-1]), encoding="utf-8")


def table(args, runs, probes, row):
    alone = statistics.median(r["iterations"] / r["task_s"] for r in runs if r["probe"] == Probe.name)
    print(f"\n### Polite mode, {args.rates.split(',')[0]} packets a second, a task of {args.seconds} s\n")
    row("beside the task", "it keeps", "probe's share of the processor", "packets metered", "scaled", "first step after",
        "full service after")
    row("---", "--:", "--:", "--:", "--:", "--:", "--:")
    for probe in probes:
        mine = [r for r in runs if r["probe"] == probe.name]
        steps = [reaction(r) for r in mine]
        last = mine[-1]
        kept = statistics.median(r["iterations"] / (r["task_s"] + r["probe_s"]) / alone for r in mine)
        share = statistics.median(r["probe_s"] / (r["task_s"] + r["probe_s"]) for r in mine)
        row(probe.name, f"{100 * kept:.1f} %", f"{100 * share:.2f} %",
            say(last["metered"], "{:.1%}".format(last["metered"] / last["sent"]) if last["metered"] else "0"),
            say(last["scaled"], "{:.2%}".format(last["scaled"] / last["sent"]) if last["scaled"] else "0"),
            say(max((s[0] for s in steps if s[0] is not None), default=None), "{:.2f} s"),
            say(max((s[1] for s in steps if s[1] is not None), default=None), "{:.1f} s"))


# ---- the picture

WIDTH, LEFT, RIGHT = 860, 90, 20
UPPER, LOWER, GAP, TOP, BOTTOM = 150, 130, 40, 50, 50


def picture(run):
    """Rung and processor share of one run, as they were measured."""
    end = run["until"]
    x = lambda t: LEFT + (WIDTH - LEFT - RIGHT) * min(t, end) / end
    height = TOP + UPPER + GAP + LOWER + BOTTOM
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
           f'<rect x="{x(run["begin"]):.1f}" y="{TOP}" width="{x(run["end"]) - x(run["begin"]):.1f}" '
           f'height="{UPPER + GAP + LOWER}" fill="#f3e3c3"/>',
           f'<text x="{(x(run["begin"]) + x(run["end"])) / 2:.1f}" y="{TOP - 8}" text-anchor="middle">a task wants the processor</text>',
           f'<text x="{LEFT}" y="20" font-size="14" font-weight="bold">pitot --polite: rung and processor time, as measured</text>']
    out += ladder(run, x, end) + shares(run, x)
    base = TOP + UPPER + GAP + LOWER
    for t in range(0, int(end) + 1, 5):
        out.append(f'<text x="{x(t):.1f}" y="{base + 18}" text-anchor="middle">{t}</text>')
    out.append(f'<text x="{WIDTH - RIGHT}" y="{base + 36}" text-anchor="end">seconds</text>')
    return "\n".join(out) + "\n</svg>\n"


def height_of(rung, interval):
    """Steps of sampling lie between its line and the next."""
    return rung + (0.09 * (interval.bit_length() - 2) if RUNGS[rung] in ("sample", "slice") else 0)


def ladder(run, x, end):
    y = lambda h: TOP + UPPER - UPPER * h / (len(RUNGS) - 1)
    out = []
    for i, name in enumerate(RUNGS):
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(i):.1f}" y2="{y(i):.1f}" stroke="#cccccc"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y(i) + 4:.1f}" text-anchor="end">{i} {name}</text>')
    points, last = [], None
    for when, rung, interval in run["rungs"]:
        if last is not None:
            points.append(f"{x(when):.1f},{y(last):.1f}")
        last = height_of(rung, interval)
        points.append(f"{x(when):.1f},{y(last):.1f}")
    points.append(f"{x(end):.1f},{y(last):.1f}")
    out.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="#1f5fa8" stroke-width="2"/>')
    return out


def shares(run, x):
    top = TOP + UPPER + GAP
    values = []
    for (t0, c0), (t1, c1) in zip(run["cpu"], run["cpu"][3:]):  # over 0.3 s
        values.append(((t0 + t1) / 2, 100 * (c1 - c0) / (t1 - t0)))
    most = max(10, 5 * (1 + int(max(v for _, v in values) // 5)))
    y = lambda v: top + LOWER - LOWER * v / most
    out = []
    for v in range(0, most + 1, max(5, most // 20 * 5)):
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(v):.1f}" y2="{y(v):.1f}" stroke="#e4e4e4"/>')
        out.append(f'<text x="{LEFT - 8}" y="{y(v) + 4:.1f}" text-anchor="end">{v} %</text>')
    points = " ".join(f"{x(t):.1f},{y(v):.1f}" for t, v in values if t <= run["until"])
    out.append(f'<polyline points="{points}" fill="none" stroke="#b03a2e" stroke-width="1.5"/>')
    out.append(f'<text x="{LEFT + 6}" y="{top + 14}" fill="#b03a2e">processor time of pitot, in % of one</text>')
    return out
