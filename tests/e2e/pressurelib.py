"""Staged pressure: a file like the kernel's /proc/pressure/cpu, whose total grows as fast as is wanted."""
import os
import threading
import time

# --polite yield=YIELD finds these bad, neither and good: the part of the time that somebody waits for a processor
YIELD = 50
BAD, HOLD, GOOD = 3.0, 0.35, 0.0


class Pressure(threading.Thread):
    """Rewrites a file in place, as long as all others have to wait for a processor for that part of the time."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        self.total = 0.0
        self.level = GOOD
        self.ending = False
        self.write()
        self.start()

    def write(self):
        os.pwrite(self.fd, f"some avg10=0.00 avg60=0.00 avg300=0.00 total={int(self.total * 1e6):020d}\n".encode(), 0)

    def run(self):
        last = time.monotonic()
        while not self.ending:
            time.sleep(0.01)
            now = time.monotonic()
            self.total += (now - last) * self.level
            last = now
            self.write()
