#!/usr/bin/env python3
"""--metrics: the page, by Debian's promtool and Prometheus; and clients that misbehave.

    metrics.py PITOT SRCROOT
"""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request

from e2elib import DATA, PITOT, ROOT, check, finish, free_port, have, roles, run, skip, statistics, wait


class Running:
    def __init__(self, *args):
        self.port = free_port()
        self.folder = tempfile.TemporaryDirectory()
        os.chmod(self.folder.name, 0o777)
        self.stats = os.path.join(self.folder.name, "stats")
        self.process = subprocess.Popen([PITOT, "-q", "-r", "-", "-n", "json:/dev/null", "--stats", self.stats,
                                         "--metrics", str(self.port), *args], stdin=subprocess.PIPE)
        self.process.stdin.write((DATA / "mixed.pcap").read_bytes())
        self.process.stdin.flush()
        wait(lambda: self.answers(), "no metrics")

    def answers(self):
        try:
            return "pitot_received_packets_total 76\n" in self.get()[1]
        except OSError:
            return False

    def get(self, path="/metrics", headers=(), timeout=30):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=dict(headers))
        with urllib.request.urlopen(request, timeout=timeout) as r:
            return r.headers, r.read().decode()

    def end(self):
        self.process.stdin.close()
        check(self.process.wait(60) == 0, "status")


def names(page):
    return set(re.findall(r"^(pitot_\w+)", page, re.M))


def page():
    p = Running()
    headers, text = p.get()
    check(headers["Content-Type"].startswith("text/plain; version=0.0.4"), f"{headers}")
    got = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60,
                         check=False)
    check(got.returncode == 0 and not got.stderr.strip(), f"promtool: {got.stdout}{got.stderr}")
    headers, other = p.get(headers={"Accept": "application/openmetrics-text;version=1.0.0"})
    check(headers["Content-Type"].startswith("application/openmetrics-text") and other.endswith("# EOF\n"), "OpenMetrics")
    check(names(text) == names(other), "two formats, two lists of numbers")
    for accept, wanted in (("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.6,*/*;q=0.1", "text/plain"),
                           ("text/plain;q=0.5, application/openmetrics-text; version=1.0.0; q=0.75", "application/openmetrics-text"),
                           ("application/openmetrics-text;q=0", "text/plain"), (",;q=,,", "text/plain")):
        got = p.get(headers={"Accept": accept})[0]["Content-Type"]
        check(got.startswith(wanted), f"Accept: {accept}: {got}")
    check("# TYPE pitot_received_packets counter\n" in other, "a counter's name in OpenMetrics")
    for path, status in (("/", 200), ("/x", 404)):
        try:
            check(p.get(path) and status == 200, path)
        except urllib.error.HTTPError as e:
            check(e.code == status, f"{path}: {e.code}")
    used = (ROOT / "scripts/grafana/pitot-dashboard.json").read_text()
    used = {name for panel in json.loads(used)["panels"] for t in panel["targets"]
            for name in re.findall(r"pitot_\w+", t["expr"])}
    used |= set(re.findall(r"pitot_\w+", "\n".join(
        line for line in (ROOT / "scripts/prometheus/pitot-alerts.yml").read_text().splitlines() if "expr:" in line)))
    check(used <= names(text), f"dashboard and alerts use what is not there: {used - names(text)}")
    p.end()
    end = statistics(p.stats)
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#")
    check(int(values["pitot_metered_bytes_total"]) == end["octets"]["metered"], "the page and --stats")
    check(int(values["pitot_created_flows_total"]) == end["flows"]["created"], "the page and --stats")


def rules():
    for command in (["promtool", "check", "rules", "pitot-alerts.yml"], ["promtool", "test", "rules", "pitot-alerts-test.yml"]):
        got = subprocess.run(command, cwd=ROOT / "scripts/prometheus", capture_output=True, text=True, timeout=120,
                             check=False)
        check(got.returncode == 0, f"{command}: {got.stdout}{got.stderr}")


def scraped():
    """Debian's Prometheus takes the page."""
    p = Running()
    port = free_port()
    config = os.path.join(p.folder.name, "prometheus.yml")
    with open(config, "w") as f:
        f.write("global: {scrape_interval: 1s}\nscrape_configs:\n  - job_name: pitot\n    static_configs:\n"
                f"      - targets: ['127.0.0.1:{p.port}']\n")
    prometheus = subprocess.Popen(["prometheus", f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}",
                                   f"--storage.tsdb.path={p.folder.name}/data"], stderr=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL)

    def query():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?query=pitot_received_packets_total",
                                        timeout=10) as r:
                result = json.load(r)["data"]["result"]
                return result and result[0]["value"][1] == "76"
        except OSError:
            return False
    wait(query, "Prometheus has not got it", seconds=60)
    prometheus.send_signal(signal.SIGTERM)
    prometheus.wait(60)
    p.end()


def written():
    """--metrics-file: whole at any time, and at the end what --stats says."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        path, stats = os.path.join(folder, "pitot.prom"), os.path.join(folder, "stats")
        p = subprocess.Popen([PITOT, "-q", "-r", "-", "-n", "json:/dev/null", "--metrics-file", path, "--stats", stats,
                              "--stats-every", "0.05"], stdin=subprocess.PIPE)
        p.stdin.write((DATA / "mixed.pcap").read_bytes())
        p.stdin.flush()

        def whole():
            if not os.path.exists(path):
                return False
            text = open(path).read()
            check(text.startswith("# HELP pitot_build_info") and text.endswith("pitot_ledger_balanced 1\n"), text[-80:])
            return "pitot_received_packets_total 76\n" in text
        wait(whole, "the file does not have the packets")
        for _ in range(200):
            whole()
        p.stdin.close()
        check(p.wait(60) == 0, "status")
        page = open(path).read()
        check(f"pitot_exported_flows_total {statistics(stats)['flows']['exported']}\n" in page, "the end")
        got = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, timeout=60,
                             check=False)
        check(got.returncode == 0, f"promtool: {got.stdout}{got.stderr}")
    for option in ("--metrics-file", "--stats"):  # the last one could not be written
        got = subprocess.run([PITOT, "-q", "-r", str(DATA / "mixed.pcap"), "-n", "json:/dev/null", option, "/dev/full"],
                             capture_output=True, text=True, timeout=60, check=False)
        check(got.returncode == 1 and f"{option} /dev/full: No space left" in got.stderr, f"{got.returncode} {got.stderr}")


def comes_back(p, sig):
    """The process that serves the page is ended or stopped: another one serves it, and nobody else minds."""
    before = roles(p.process.pid)["pitot-metrics"]
    os.kill(before, sig)
    wait(lambda: roles(p.process.pid).get("pitot-metrics", before) != before, "it is not started again")
    wait(lambda: p.answers(), "the next one does not answer")


def misbehaving():
    p = Running()
    pid = subprocess.run(["pgrep", "-P", str(p.process.pid), "pitot-metrics"], capture_output=True, text=True,
                         check=False).stdout.split()
    check(len(pid) == 1, f"the process: {pid}")
    if pid:
        status = open(f"/proc/{pid[0]}/status").read()
        check("NoNewPrivs:\t1" in status and "CapEff:\t0000000000000000" in status, "privileges")
        fds = os.listdir(f"/proc/{pid[0]}/fd") if os.geteuid() == 0 else []
        check(len(fds) <= 7, f"descriptors: {fds}")
    slow = []
    for _ in range(40):
        s = socket.create_connection(("127.0.0.1", p.port), timeout=30)
        s.sendall(b"GET /metrics HTTP/1.1\r\n")
        slow.append(s)
    garbage = socket.create_connection(("127.0.0.1", p.port), timeout=30)
    try:
        garbage.sendall(os.urandom(100000))
    except OSError:
        pass
    for s in slow:
        s.close()
    garbage.close()
    wait(lambda: p.answers(), "slow clients keep others out")
    if pid:
        comes_back(p, signal.SIGKILL)
        comes_back(p, signal.SIGSTOP)
    p.end()


def held_open():
    """Hundreds of connections that say nothing, begin a request or do not read: a scrape gets in, again and again."""
    p = Running()
    held = []
    for i in range(300):
        s = socket.create_connection(("127.0.0.1", p.port), timeout=30)
        with contextlib.suppress(OSError):
            s.sendall((b"", b"GET /metrics HTTP/1.1\r\nHost: x\r\n", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50)[i % 3])
        held.append(s)
        if i % 50 == 49:
            check("pitot_received_packets_total 76\n" in p.get()[1], f"{i + 1} connections keep a scrape out")
    pid = roles(p.process.pid)["pitot-metrics"]
    if os.geteuid() == 0:
        fds = os.listdir(f"/proc/{pid}/fd")
        check(len(fds) < 100, f"{len(fds)} descriptors are open")
    for s in held:
        s.close()
    p.end()


def usage():
    for text, words in (("x", "port"), ("0", "port"), ("70000", "port"), ("1.2.3:80", "address"), ("::1:80", "address"),
                        (":80x", "port"), ("224.0.0.1:80", "multicast"), ("[ff02::1]:80", "multicast")):
        got = run("-r", DATA / "mixed.pcap", "-q", "-n", "json:/dev/null", "--metrics", text)
        check(got.returncode == 2 and words.encode() in got.stderr, f"{text}: {got}")
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        got = run("-r", DATA / "mixed.pcap", "-q", "-n", "json:/dev/null", "--metrics", busy.getsockname()[1])
        check(got.returncode == 1 and b"in use" in got.stderr, f"{got}")


if b"no HTTP library" in run("-r", DATA / "mixed.pcap", "-q", "-n", "json:/dev/null", "--metrics", "1").stderr:
    skip("this build has no --metrics")
if have("promtool", "prometheus"):
    page()
    rules()
    scraped()
    written()
misbehaving()
held_open()
usage()
finish()
