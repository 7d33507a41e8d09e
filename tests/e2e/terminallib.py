"""A shell in a terminal (tmux), whose keys are typed and whose screen is read."""
import os
import subprocess

from e2elib import check, wait


class Terminal:
    """A shell in a tmux of its own.  It is in the network namespace of whoever makes it."""

    def __init__(self, folder, width, height, *environment):
        self.socket = os.path.join(folder, f"tmux-{width}-{len(environment)}")
        self.asked = 0
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height),
                  "env " + " ".join(("PS1='ready '", "HISTFILE=", *environment)) + " sh")
        self.see("ready")

    def tmux(self, *args):
        got = subprocess.run(["tmux", "-S", self.socket, *args], capture_output=True, text=True, timeout=30, check=False,
                             env={**os.environ, "LC_ALL": "C.UTF-8"})
        check(got.returncode == 0, f"tmux {args}: {got.stderr}")
        return got.stdout

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def see(self, text, gone=None):
        wait(lambda: text in self.screen() and (gone is None or gone not in self.screen()),
             lambda: f"{text!r} is not there, or {gone!r} is still:\n{self.screen()}")

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def settings(self):
        """What stty says of the terminal; the screen is cleared before."""
        self.asked += 1  # what an earlier call has left on the screen is another answer
        self.keys(f"clear; stty -g; echo 'that was' {self.asked}.", "Enter")
        self.see(f"\nthat was {self.asked}.")
        return self.tmux("capture-pane", "-p", "-J").splitlines()[0]

    def clean(self, before):
        """The shell answers, and its terminal is what it was."""
        now = self.settings()
        check(now == before, f"the terminal is not what it was: {before}, now {now}\n{self.screen()}")

    def end(self):
        self.tmux("kill-server")
