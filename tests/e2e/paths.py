#!/usr/bin/env python3
"""Links that somebody else planted lead nowhere; those of the administrator do: paths.py PITOT SRCROOT [-v]

As root, in directories of a hostile user, who has symbolic and hard links to a file of root's at every name that
pitot opens, makes, renames, gives away or removes, before it starts and while it runs.
"""
import contextlib
import os
import signal
import stat
import subprocess
from pathlib import Path

import e2elib as e

HOSTILE = 54321
WEB = e.DATA / "web.pcap"
SECRET = "what only root may write\n"


class Place:
    """A victim of root's, and a directory of the hostile user."""

    def __init__(self, d):
        os.chmod(d, 0o755)
        self.victim, self.victim_folder, self.theirs = Path(d) / "victim", Path(d) / "folder", Path(d) / "theirs"
        self.victim.write_text(SECRET)
        self.victim.chmod(0o600)
        self.victim_folder.mkdir(0o700)
        self.theirs.mkdir(0o755)
        os.chown(self.theirs, HOSTILE, HOSTILE)

    def symlink(self, name, target=None):
        path = self.theirs / name
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        path.symlink_to(target or self.victim)
        os.lchown(path, HOSTILE, HOSTILE)
        return path

    def hardlink(self, name):
        path = self.theirs / name
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        os.link(self.victim, path)
        return path

    def untouched(self, where):
        for path, mode in ((self.victim, 0o600), (self.victim_folder, 0o700)):
            s = path.lstat()
            e.check((s.st_uid, s.st_gid, stat.S_IMODE(s.st_mode)) == (0, 0, mode), f"{where}: {path}: {s}")
        e.check(self.victim.read_bytes() == SECRET.encode(), f"{where}: the victim holds {self.victim.read_bytes()[:80]!r}")
        e.check(not os.listdir(self.victim_folder), f"{where}: {os.listdir(self.victim_folder)} in root's directory")


def refused(where, place, *args):
    """Exit status 1, one sentence with the option and the path, and nothing happened."""
    got = e.run("-q", "-r", WEB, *args)
    lines = [line for line in got.stderr.decode().splitlines() if "warning:" not in line]
    e.check(got.returncode == 1 and len(lines) == 1, f"{where}: status {got.returncode}, {got.stderr!r}")
    e.check(all(str(place.theirs) in line for line in lines), f"{where}: {got.stderr!r} does not name the path")
    place.untouched(where)


def before():
    """The start is refused."""
    with e.workdir() as d:
        place = Place(d)
        theirs = place.theirs
        for plant in (place.symlink, place.hardlink):
            how = plant.__name__
            plant("x.json.part")
            refused(f"json, .part is a {how}", place, "-n", f"json:{theirs}/x.json")
            refused(f"ipfix+file, .part is a {how}", place, "-n", f"ipfix+file:{theirs}/x.json")
            for option in ("--stats", "--pidfile"):
                refused(f"{option} is a {how}", place, "-n", "json:/dev/null", option, plant("file"))
        place.symlink("x.json")
        refused("json is a symbolic link", place, "-n", f"json:{theirs}/x.json")
        refused("--config is a symbolic link", place, "--config", place.symlink("conf"))
        tls = ("-n", "ipfix+tls://127.0.0.1:9")
        for option in ("--tls-ca", "--tls-cert"):
            refused(f"{option} is a symbolic link", place, *tls, option, place.symlink("pem"))
        link = place.symlink("link", place.victim_folder)
        tcp = f"ipfix+tcp://127.0.0.1:{e.free_port()}"
        for args in (("-n", f"json:{link}/x"), ("-n", "json:/dev/null", "--stats", f"{link}/x"),
                     ("-n", "json:/dev/null", "-p", f"{link}/x"), ("-n", tcp, "--spool", link),
                     ("-n", tcp, "--spool", f"{link}/new"), ("--config", f"{link}/x"),
                     (*tls, "--tls-ca", f"{link}/x"), ("-n", "json:/dev/null", "--control", f"{link}/x")):
            refused(f"a directory on the way is a symbolic link: {args}", place, *args)


def spool():
    """The spool's own files."""
    with e.workdir() as d:
        place = Place(d)
        args = ("-n", f"ipfix+tcp://127.0.0.1:{e.free_port()}", "--stop-timeout", "0", "--spool", place.theirs)
        e.run("-q", "-r", WEB, *args)
        found = list(place.theirs.glob("*/position"))
        e.check(len(found) == 1, f"spool: {os.listdir(place.theirs)}")
        for position in found:
            for plant in (place.symlink, place.hardlink):
                plant(position.relative_to(place.theirs))
                refused(f"the spool's position is a {plant.__name__}", place, *args)


def during(plant_name):
    """What is planted while it runs is not followed, and that is said."""
    with e.workdir() as d:
        place = Place(d)
        plant, theirs = getattr(place, plant_name), place.theirs
        p = subprocess.Popen([e.PITOT, "-q", "-r", "-", "-n", f"json:{theirs}/x", "--stats", f"{theirs}/stats", "-p",
                              f"{theirs}/pid"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        p.stdin.write(WEB.read_bytes())
        p.stdin.flush()
        pid = theirs / "pid"
        e.wait(lambda: pid.exists() and pid.read_text() == f"{p.pid}\n", f"{plant_name}: does not start")
        for name in ("x", "x.part", "stats", "pid"):
            plant(name)
        p.send_signal(signal.SIGUSR1)
        err = p.communicate(timeout=60)[1].decode()
        place.untouched(f"{plant_name} while it runs")
        e.check(p.returncode == 1, f"{plant_name}: status {p.returncode}: {err!r}")
        lines = set(err.splitlines())
        for word in ("x.part", "stats"):
            told = [line for line in lines if f"{theirs}/{word}" in line and "remove it" in line]
            e.check(len(told) == 1, f"{plant_name} {word}: {told} of {lines}")


def of_the_administrator():
    """A link of root's in a directory of root's is a path like any other."""
    with e.workdir() as d:
        real, link = Path(d) / "real", Path(d) / "link"
        os.chmod(d, 0o755)
        real.mkdir(0o755)
        link.symlink_to("real")
        (real / "conf").write_text(f"read = {WEB}\nquiet = yes\ncollector = json:{link}/x\nstats = {link}/stats\n"
                                   f"pidfile = {link}/pid\n")
        os.symlink(real / "conf", link / "pitot.conf")
        got = e.run("--config", link / "pitot.conf")
        e.check(got.returncode == 0 and not got.stderr, f"the administrator's links: {got.returncode}, {got.stderr!r}")
        e.check(sorted(os.listdir(real)) == ["conf", "pitot.conf", "stats", "x"], f"{sorted(os.listdir(real))}")
        got = e.run("-q", "-r", WEB, "-n", "json:/dev/stdout", "--stats", "/dev/stderr")
        e.check(got.returncode == 0 and got.stdout.count(b"\n") == 27 and got.stderr.startswith(b"{"),
                f"/dev/stdout: {got.returncode}, {got.stderr!r}")
        # a spool there is given away only if it was made now: what a link leads to may be empty by chance
        (Path(d) / "spool").mkdir(0o700)
        os.symlink("spool", Path(d) / "to-spool")
        tcp = f"ipfix+tcp://127.0.0.1:{e.free_port()}"
        e.run("-q", "-r", WEB, "-n", tcp, "--stop-timeout", "0", "--spool", f"{d}/to-spool")
        e.check(os.stat(f"{d}/spool").st_uid == 0, "a directory behind a link was given away")


def new_files():
    """Whatever the umask: for the owner and the group; and they belong to whom the directory belongs to, also those
    that are made when it has no privileges any more: statistics, and files of a series."""
    with e.workdir() as d:
        place = Place(d)
        mask = os.umask(0)
        try:
            for folder, owner in ((place.theirs, HOSTILE), (Path(d), 0)):
                p = subprocess.Popen([e.PITOT, "-q", "-r", "-", "-n", f"json:{folder}/x", "-n",
                                      f"csv:{folder}/hour?rotate=1h", "--stats", f"{folder}/stats", "-p",
                                      f"{folder}/pid"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
                p.stdin.write(WEB.read_bytes())
                p.stdin.flush()
                pid = folder / "pid"
                e.wait(lambda: pid.exists() and pid.read_text(), "does not start")
                modes = {"pid": stat.S_IMODE(pid.stat().st_mode)}
                err = p.communicate(timeout=60)[1]
                e.check(p.returncode == 0, f"new files: {p.returncode}, {err!r}")
                made = [folder / "x", folder / "stats", *folder.glob("hour-*")]
                e.check(len(made) == 3, f"{made}")
                for path in made:
                    modes[path.name] = stat.S_IMODE(path.stat().st_mode)
                    e.check(path.stat().st_uid == owner, f"{path.name} belongs to {path.stat().st_uid}, not to {owner}")
                e.check(all(m == 0o640 for m in modes.values()), f"modes: { {k: oct(m) for k, m in modes.items()} }")
        finally:
            os.umask(mask)


def main():
    if os.geteuid() != 0 or subprocess.run(["true"], user=HOSTILE, check=False).returncode:
        e.skip("links of another user need root")
    before()
    spool()
    during("symlink")
    during("hardlink")
    of_the_administrator()
    new_files()
    e.finish()


main()
