#!/usr/bin/env python3
"""The control socket and pitotctl: commands, who may, and clients that misbehave.

    control.py PITOT SRCROOT

pitot reads a pipe that the test holds open, so nothing here needs a privilege.
"""
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from e2elib import DATA, PITOT, check, check_ledger, finish, is_served, skip, skip_part, statistics, wait

CTL = os.path.join(os.path.dirname(PITOT), "pitotctl")


class Running:
    """A pitot on a pipe, with a control socket."""

    def __init__(self, *args):
        self.folder = tempfile.TemporaryDirectory()
        os.chmod(self.folder.name, 0o755)
        self.path = os.path.join(self.folder.name, "socket")
        self.stats = os.path.join(self.folder.name, "stats")
        self.process = subprocess.Popen(
            [PITOT, "-q", "-r", "-", "-n", "json:/dev/null", "-c", self.path, "--stats", self.stats, *args],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        self.process.stdin.write((DATA / "mixed.pcap").read_bytes()[:24])
        self.process.stdin.flush()
        wait(lambda: is_served(self.path) or self.process.poll() is not None, "no control socket")

    def feed(self, name="mixed.pcap"):
        self.process.stdin.write((DATA / name).read_bytes()[24:])
        self.process.stdin.flush()

    def end(self, status=0):
        """Until it has ended by itself."""
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            check(False, "does not end")
        check(self.process.returncode == status, f"status {self.process.returncode}, wanted {status}")
        self.errors = self.process.stderr.read().decode()
        self.process.stderr.close()
        self.process.stdin.close()

    def ctl(self, *args, status=0):
        got = subprocess.run([CTL, "-c", self.path, *args], capture_output=True, text=True, timeout=60, check=False)
        check(got.returncode == status, f"pitotctl {args}: status {got.returncode}, {got.stderr}")
        check(got.returncode == 0 or got.stderr.startswith("pitotctl: "), f"pitotctl {args}: {got.stderr}")
        return got

    def connect(self):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30)
        s.connect(self.path)
        return s

    def ask(self, line):
        with self.connect() as s:
            s.sendall(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
            return json.loads(s.makefile().readline() or '{"ok": null}')


def flat(tree, prefix=""):
    """{path: number} of the numbers that are not 0."""
    found = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            found.update(flat(value, f"{prefix}{name}."))
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and value:
            found[prefix + name] = value
    return found


def every_number():
    """What people are shown has every number that is not 0: those of samples are in a group of their own."""
    p = Running("-n", "sflow+file:/dev/zero", "--sflow-rate", "1")
    p.feed()
    wait(lambda: json.loads(p.ctl("--json", "statistics").stdout)["samples"]["pool"] == 76, "no samples")
    wanted = {path: value for path, value in flat(json.loads(p.ctl("--json", "statistics").stdout)).items() if "." in path}
    shown = {line.split()[0] for line in p.ctl("statistics").stdout.splitlines() if line.startswith("  ")}
    check("samples.pool" in wanted and shown == set(wanted), f"shown: {sorted(shown)}, not {sorted(wanted)}")
    p.ctl("stop")
    p.end()


def numbers(page):
    return dict(line.rsplit(" ", 1) for line in page.splitlines() if line and line[0] != "#")


def commands():
    p = Running()
    p.feed()
    wait(lambda: json.loads(p.ctl("--json", "statistics").stdout)["packets"]["received"] == 76, "no packets")
    s = json.loads(p.ctl("statistics", "--json").stdout)
    check_ledger("control socket", s)
    check("metered" in p.ctl("statistics").stdout and "balanced" in p.ctl("statistics").stdout, "for people")
    check("json:/dev/null" in p.ctl("collectors").stdout, "collectors")
    page = numbers(p.ctl("metrics").stdout)
    check(page["pitot_received_packets_total"] == "76" and page["pitot_ledger_balanced"] == "1", f"{page}")
    check(int(page["pitot_created_flows_total"]) == s["flows"]["created"], "two pages, two numbers")
    check(p.ctl("timeouts").stdout.split() == ["active=60", "inactive=15", "tcp-end=2"], "time-outs")
    check(p.ctl("timeouts", "active=5m,maxlife=1h30m", "tcp.fin=1.5s").stdout.split() ==
          ["active=5400", "inactive=15", "tcp-end=1.5"], "time-outs in the words of --timeout")
    check(p.ctl("timeouts", "active=30", "tcp-end=0.5").stdout.split() == ["active=30", "inactive=15", "tcp-end=0.5"],
          "time-outs changed")
    for wrong, words in (("inactive=0", "from 0.001 to 31536000"), ("active=0.0009", "from 0.001 to 31536000"),
                         ("tcp-end=31536001", "from 0.001 to 31536000"), ("active=5x", "such as 30, 1.5, 90s, 5m"),
                         ("active=1,", "empty part"), ("active=off", "is not a time"), ("udp=1", "use inactive"),
                         ("5m", "active=SECONDS")):
        check(words in p.ctl("timeouts", wrong, status=2).stderr, f"a time-out {wrong}")
    check("tcp-end=off" in p.ctl("timeouts", "tcp-end=off").stdout.split(), "FIN and RST unheeded")
    check(json.loads(p.ctl("timeouts", "--json").stdout) == {"active": 30, "inactive": 15, "tcp-end": None}, "off, as JSON")
    check("tcp-end=31536000" in p.ctl("timeouts", "tcp-end=31536000").stdout.split(), "a year")
    p.ctl("timeouts", "actve=1", status=2)
    p.ctl("log", "debug")
    p.ctl("debug-")
    check("error, warning" in p.ctl("log", "loud", status=1).stderr, "a level that is none")
    p.ctl("rate", "1000")
    p.ctl("rate", status=2)
    p.ctl("rate", "1.5", status=1)
    for closed in (">&-", "<&- >&-", "<&- >&- 2>&-"):  # nothing is printed into the socket
        got = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", CTL, "-c", p.path, "statistics"], check=False,
                             capture_output=True, text=True, timeout=60)
        check(got.returncode == 1 and ("2>" in closed or "standard output" in got.stderr), f"{closed}: {got}")
    p.ctl("send-template")
    p.ctl("reload")
    p.ctl("tea", status=2)
    check(p.ctl("version").stdout.startswith("program=pitot"), "version")
    processes = dict(line.split("=") for line in p.ctl("processes").stdout.splitlines())
    check(set(processes) == {"pitot", "pitot-metering", "pitot-exporting"}, f"{processes}")
    for name, pid in processes.items():
        with open(f"/proc/{pid}/comm", encoding="utf-8") as f:
            check(f.read().strip() == name, f"{name} is not process {pid}")
    p.ctl("stop")
    p.end()
    check(not os.path.exists(p.path), "the socket is left behind")
    end = statistics(p.stats)
    check(end["packets"]["received"] == 76 and end["flows"]["exported"] == end["flows"]["created"], f"{end}")
    p.ctl("version", status=1)


def protocol():
    p = Running()
    check(p.ask({"command": "version", "id": 7})["id"] == 7, "the id comes back")
    check(p.ask({"command": "version", "id": "x"})["id"] == "x", "the id comes back")
    check("id" not in p.ask({"command": "version", "id": {"a": 1}}), "an id that is no word")
    for line, words in ((b"{\n", "no JSON"), (b"[]\n", "object"), (b"\n", "no JSON"), (b"\x00\xff\n", "no JSON"),
                        (b'{"command": 5}\n', "command"), (b'{"command": "tea"}\n', "no command"),
                        (b'{"command": "rate", "records": -1}\n', "number"),
                        (b'{"command": "rate", "records": 1e99}\n', "number"),
                        (b'{"command": "timeouts", "active": "1"}\n', "number"),
                        (b'{"command": "timeouts", "active": 31536001}\n', "from 0.001 to 31536000"),
                        (b'{"command": "timeouts", "tcp-end": 0.0009}\n', "from 0.001 to 31536000"),
                        (b"[" * 60000 + b"\n", "no JSON"), (b'{"command":"x","command":"version"}\n', "no JSON")):
        got = p.ask(line)
        check(got["ok"] is False and words in got["error"], f"{line[:40]}: {got}")
    names = [row["command"] for row in p.ask({"command": "help"})["result"]]
    check("statistics" in names and len(set(names)) == len(names), f"{names}")
    with p.connect() as s:  # several in one go, in order
        s.sendall(b"".join(json.dumps({"command": "version", "id": i}).encode() + b"\n" for i in range(50)))
        lines = s.makefile()
        check([json.loads(lines.readline())["id"] for _ in range(50)] == list(range(50)), "order")
    p.process.send_signal(signal.SIGTERM)
    p.end(143)


def misbehaving():
    """One that never reads, one that never ends its line, and many at once: the others are served."""
    p = Running()
    silent = [p.connect() for _ in range(3)]
    deaf = p.connect()
    deaf.setblocking(False)
    asked = 0
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            asked += deaf.send(b'{"command": "help"}\n' * 100)
        except BlockingIOError:
            check(p.ask({"command": "version"})["ok"], "others wait for one that does not read")
        except OSError:
            break
    check(time.monotonic() < end, "one that never reads is never cut off")
    endless = p.connect()
    try:
        for _ in range(100):
            endless.sendall(b"x" * 4096)
        endless.settimeout(30)
        check(endless.recv(1) == b"", "a line without an end")
    except OSError:
        pass
    for _ in range(100):
        with p.connect() as s:
            s.sendall(b'{"command": "version"}\n')
            check(json.loads(s.makefile().readline())["ok"], "one of many")
    for s in (*silent, deaf, endless):
        s.close()
    p.feed()
    p.process.stdin.close()
    p.process.stdin = open(os.devnull, "wb")
    p.end()
    end = statistics(p.stats)
    check_ledger("after all that", end)
    check(end["control"]["cut_off"] >= 2 and end["control"]["requests"] > 100, f"the statistics tell of them: {end['control']}")


def who():
    if os.geteuid() != 0:
        skip_part("other users: needs root")
        return
    p = Running()
    check(os.stat(p.path).st_mode & 0o777 == 0o600, "mode")
    got = subprocess.run(["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", CTL, "-c", p.path,
                          "version"], capture_output=True, text=True, timeout=60, check=False)
    check(got.returncode == 1 and "you may not" in got.stderr, f"a stranger: {got}")
    os.chmod(p.path, 0o666)  # and where the mode lets one in, the credentials do not
    got = subprocess.run(["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", CTL, "-c", p.path,
                          "version"], capture_output=True, text=True, timeout=60, check=False)
    check(got.returncode == 1, f"a stranger: {got}")
    p.ctl("stop")
    p.end()
    check(statistics(p.stats)["control"]["refused"] == 1, "who was refused is counted")
    p = Running("--control-group", "daemon")
    check(os.stat(p.path).st_mode & 0o777 == 0o660, "mode with a group")
    got = subprocess.run(["setpriv", "--reuid", "12345", "--regid", "12345", "--groups", "1", CTL, "-c", p.path,
                          "version"], capture_output=True, text=True, timeout=60, check=False)
    check(got.returncode == 0, f"a member of the group: {got}")
    p.ctl("stop")
    p.end()


def starting():
    p = Running()
    second = subprocess.run([PITOT, "-r", str(DATA / "mixed.pcap"), "-c", p.path, "-q", "-n", "json:/dev/null"],
                            capture_output=True, text=True, timeout=60, check=False)
    check(second.returncode == 1 and "in use" in second.stderr, f"{second}")
    p.process.kill()
    p.process.wait()
    p.process.stdin.close()
    p.process.stderr.close()
    again = subprocess.run([PITOT, "-r", str(DATA / "mixed.pcap"), "-c", p.path, "-q", "-n", "json:/dev/null"],
                           capture_output=True, text=True, timeout=60, check=False)
    check(again.returncode == 0, f"after one that was killed: {again}")
    for args, words in ((["--control-group", "no-such-group", "-c", p.path + "2"], "no such group"),
                        (["--control-group", "no-such-group"], "--control-group no-such-group: there is no such group"),
                        (["-c", "/no/such/directory/socket"], "No such file"), (["-c", "x" * 200], "socket's path")):
        got = subprocess.run([PITOT, "-r", str(DATA / "mixed.pcap"), "-q", "-n", "json:/dev/null", *args],
                             capture_output=True, text=True, timeout=60, check=False)
        check(got.returncode == 1 and words in got.stderr, f"{args}: {got}")


def lines(p, *args):
    """Flows as JSON, and the sum behind them."""
    got = [json.loads(line) for line in p.ctl("--json", *args).stdout.splitlines()]
    return got[:-1], got[-1]


def flows():
    for workers in ("1", "3"):
        p = Running("-w", workers, "-t", "active=3600,inactive=3600,tcp-end=off")
        p.feed()
        wait(lambda: json.loads(p.ctl("--json", "statistics").stdout)["packets"]["metered"] == 75, "no packets")
        every, total = lines(p, "flows")
        check(len(every) == 67 and total == {"looked": 67, "selected": 67, "listed": 67}, f"all flows: {total}")
        check(sum(f["packets"] for f in every) == 75, "packets of all flows")
        check(len({json.dumps(f) for f in every}) == 67, "one twice")
        tcp, total = lines(p, "flows", "tcp and", "host 192.0.2.1", "and not port 443")
        check(len(tcp) == 2 and total["looked"] == 67 and all(f["protocol"] == 6 for f in tcp), f"{tcp} {total}")
        best, total = lines(p, "flows", "--top", "5", "udp", "--sort=packets")
        check(total["selected"] == 61 and [f["protocol"] for f in best] == [17] * 5, f"{best}")
        for key in ("octets", "packets", "rate", "age"):
            got, total = lines(p, "flows", "--sort", key)
            check(len(got) == 67 and [f[key] for f in got] == sorted((f[key] for f in got), reverse=True), f"by {key}")
        big = sorted((f["octets"] for f in every), reverse=True)[:3]
        check([f["octets"] for f in lines(p, "dump-flows", "--top", "3")[0]] == big, "the largest three")
        text = p.ctl("flows", "icmp").stdout
        check("198.51.100.2:8.0" in text and "1 selected" in text, f"for people: {text}")
        for args, status, words in ((["flows", "host"], 1, "ends where"), (["flows", "--sort", "size"], 1, "octets, packets"),
                                    (["flows", "--top", "0"], 2, "1 to 10000"), (["flows", "--tip", "0"], 2, "--sort KEY"),
                                    (["expire"], 2, "expire-all"), (["expire", "tpc"], 1, "no word"),
                                    (["stop-gather"], 1, "only interfaces")):
            check(words in p.ctl(*args, status=status).stderr, f"{args}: {words}")
        check(p.ctl("templates").stdout == "", "JSON has no templates")
        p.ctl("start-gather", status=1)
        check(p.ctl("expire", "udp").stdout == "ended=61\n", "expire")
        check(len(lines(p, "flows")[0]) == 6, "after expire")
        check(p.ctl("delete-all").stdout == "dropped=6\n" and lines(p, "flows")[0] == [], "delete-all")
        p.ctl("exit")
        p.end()
        end = statistics(p.stats)
        check_ledger("after expire and delete-all", end)
        check(end["flows"]["deleted"] == 6 == end["flows"]["not_sent"] and end["flows"]["exported"] == 61, f"{end['flows']}")


def ending():
    """softflowctl's exit drops what there is, and says so; expire-all hands all of it on."""
    for verb, dropped in (("exit", 67), ("expire-all", 0)):
        p = Running("-t", "active=3600,inactive=3600,tcp-end=off")
        p.feed()
        wait(lambda: json.loads(p.ctl("--json", "statistics").stdout)["packets"]["metered"] == 75, "no packets")
        p.ctl(verb)
        if verb != "exit":
            p.ctl("stop")
        p.end()
        end = statistics(p.stats)
        check_ledger(verb, end)
        check(end["flows"]["deleted"] == dropped == 67 - end["flows"]["exported"], f"{verb}: {end['flows']}")


def templates():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{sink.getsockname()[1]}"
        p = Running("-n", f"ipfix://{at}", "-n", f"netflow9://{at}", "-n", f"netflow5://{at}")
        got = json.loads(p.ctl("--json", "templates").stdout)
        check({t["collector"] for t in got} == {f"ipfix://{at}", f"netflow9://{at}"}, f"{got}")
        ids = [t["id"] for t in got if t["collector"].startswith("ipfix") and not t["options"]]
        check(ids == [256, 257], f"{ids}")
        v6 = next(t for t in got if t["id"] == 257)
        check({"name": "sourceIPv6Address", "id": 27, "length": 16} in v6["fields"], f"{v6}")
        check(any(t["options"] and t["scope_fields"] for t in got), "no options")
        check("sourceIPv6Address" in p.ctl("templates").stdout, "for people")
        p.process.kill()
        p.process.wait()


def many():
    """A long answer: in parts, with its id, while one that asked for it never reads and others come and go."""
    p = Running("-t", "active=3600,inactive=3600,tcp-end=off", "-q")
    packets = 20000
    data = b"".join(struct.pack("<IIII", 1700000000, 0, 42, 42) + bytes(12) + b"\x08\0" +
                    struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, b"\x0a" + struct.pack(">I", i)[1:],
                                b"\xc0\0\2\1") + struct.pack(">HHHH", 1, 2, 8, 0) for i in range(packets))
    feeder = threading.Thread(target=lambda: (p.process.stdin.write(data), p.process.stdin.flush()))
    feeder.start()
    deaf = [p.connect() for _ in range(3)]
    wait(lambda: json.loads(p.ctl("--json", "statistics").stdout)["packets"]["metered"] == packets, "no packets")
    feeder.join()
    for s in deaf:
        s.sendall(b'{"command": "flows"}\n')
    with p.connect() as s:
        s.sendall(b'{"command": "flows", "id": "x"}\n{"command": "version", "id": 2}\n')
        s.settimeout(120)
        stream, seen = s.makefile(), set()
        for line in stream:
            answer = json.loads(line)
            check(answer["id"] == "x" and answer["ok"], f"{line[:80]}")
            if not answer.get("more"):
                break
            seen.update(f["src"] for f in answer["result"])
            check(p.ask({"command": "version"})["ok"], "others wait") if len(seen) < 100 else None
        check(answer["result"] == {"looked": packets, "selected": packets, "listed": packets}, f"{answer}")
        check(len(seen) == packets, f"{len(seen)} flows")
        check(json.loads(stream.readline())["id"] == 2, "what was asked behind a long answer")
    for s in deaf:
        s.close()
    p.process.stdin.close()
    p.process.stdin = open(os.devnull, "wb")
    p.end()
    check_ledger("after long answers", statistics(p.stats))


def gathering(interval):
    """stop-gather on an interface: packets are counted, and by name, until start-gather."""
    if os.geteuid() != 0:
        skip_part("interfaces: needs root")
        return
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path, stats = os.path.join(folder, "socket"), os.path.join(folder, "stats")
        process = subprocess.Popen(["unshare", "-n", "sh", "-c", f"ip link set lo up && exec {PITOT} -i lo -q "
                                    f"-s {interval} -n json:/dev/null -c {path} --stats {stats}"], stderr=subprocess.DEVNULL)
        wait(lambda: is_served(path), "no control socket")

        def ctl(*args):
            got = subprocess.run([CTL, "-c", path, *args], capture_output=True, text=True, timeout=60, check=False)
            check(got.returncode == 0, f"pitotctl {args}: {got.stderr}")
            return got.stdout

        def send():
            subprocess.run(["nsenter", "-t", str(process.pid), "-n", sys.executable, "-c",
                            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
                            "[s.sendto(b'x', ('127.0.0.1', 9)) for _ in range(50)]"], check=True)

        def now():
            return json.loads(ctl("--json", "statistics"))["packets"]
        wait(lambda: now() is not None, "no answer")
        ctl("stop-gather")
        send()
        wait(lambda: now()["received"] >= 50 and now()["ignored"]["paused"] > 0, "not counted as paused")
        if interval > 1:  # the kernel may have drawn, and its counters are looked at now and then
            wait(lambda: now()["unselected"] > 0, "what sampling left out is not counted")
        n = now()
        check(n["metered"] == 0 and n["received"] == n["ignored"]["paused"] + n["unselected"] and
              (n["unselected"] > 0) == (interval > 1), f"measured all the same: {n}")
        ctl("start-gather")
        send()
        wait(lambda: now()["metered"] >= 50 / interval / 2, "not measured again")
        check(json.loads(ctl("--json", "interfaces"))[0]["name"] == "lo", "interfaces")
        ctl("stop")
        check(process.wait(60) == 0, "status")
        end = statistics(stats)
        check_ledger("gather", end)


if not os.path.exists(CTL):
    skip("this build has no pitotctl")
for part in (commands, every_number, protocol, misbehaving, flows, ending, templates, many, who, starting):
    part()
for interval in (1, 2):
    gathering(interval)
finish()
