"""System calls made by a process that is running, as somebody would who has taken it over: by ptrace.

It works on any build.  Registers are those of x86-64 and AArch64.
"""
import contextlib
import ctypes
import errno
import os
import platform
import signal
import struct
import time

ATTACH, CONT, DETACH, SYSCALL, SETOPTIONS, GETREGSET, SETREGSET = 16, 7, 17, 24, 0x4200, 0x4204, 0x4205
NT_PRSTATUS, WALL = 1, 0x40000000
MACHINE = platform.machine()
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.restype = ctypes.c_long
LIBC.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)

# number, arguments, result, instruction, stack: places in the set of registers; the octets of the instruction of a
# call, and of one that goes round and round
REGISTERS = {
    "x86_64": (10, (14, 13, 12, 7, 9, 8), 10, 16, 19, b"\x0f\x05", b"\xeb\xfe"),
    "aarch64": (8, (0, 1, 2, 3, 4, 5), 0, 32, 31, b"\x01\x00\x00\xd4", b"\x00\x00\x00\x14"),
}
NUMBERS = {
    "x86_64": {"write": 1, "open": 2, "writev": 20, "pwrite64": 18, "sendfile": 40, "socket": 41, "connect": 42, "sendto": 44,
               "sendmsg": 46, "bind": 49, "clone": 56, "fork": 57, "execve": 59, "kill": 62, "ptrace": 101, "openat": 257,
               "splice": 275, "memfd_create": 319, "io_uring_setup": 425, "openat2": 437, "sendmmsg": 307, "getppid": 110,
               "process_vm_writev": 311, "getpid": 39, "pause": 34, "write of x32": 0x40000001},
    "aarch64": {"write": 64, "writev": 66, "pwrite64": 68, "sendfile": 71, "socket": 198, "connect": 203, "sendto": 206,
                "sendmsg": 211, "bind": 200, "clone": 220, "execve": 221, "kill": 129, "ptrace": 117, "openat": 56,
                "splice": 76, "memfd_create": 279, "io_uring_setup": 425, "openat2": 437, "sendmmsg": 269,
                "process_vm_writev": 271, "getpid": 172, "ppoll": 73},
}


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class Gone(Exception):
    """The process ended over it; the argument is the signal."""


def ptrace(request, tid, address=0, data=0):
    if LIBC.ptrace(request, tid, address, data) < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"ptrace {request}: {os.strerror(error)}")


def lacking():
    """Why it does not work here; None: it does."""
    if MACHINE not in REGISTERS:
        return f"no registers of {MACHINE} are known"
    parent, child = os.getpid(), os.fork()
    while child == 0:  # no call may last: the first one that it makes is waited for
        time.sleep(0.01)
        if os.getppid() != parent:
            os._exit(1)
    try:
        with Taken(child) as t:
            return None if t.call("getpid") == child else "a call that was made for another process did not come back"
    except OSError as error:
        return f"{error.strerror or error}"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def worker(pid):
    """The thread that works: the last one."""
    return max(int(tid) for tid in os.listdir(f"/proc/{pid}/task"))


class Taken:
    """A thread, stopped inside of a system call, whose registers and memory are ours."""

    def __init__(self, tid):
        self.tid = tid
        self.number, self.arguments, self.result, self.at, self.stack, self.instruction, self.loop = REGISTERS[MACHINE]
        ptrace(ATTACH, tid)
        self.wait()
        ptrace(SETOPTIONS, tid, 0, 1)  # stops at calls are told from those by signals
        self.registers = self.get()
        while self.read(self.registers[self.at] - len(self.instruction), len(self.instruction)) != self.instruction:
            self.to_call()  # into one, and behind it
            self.to_call()
            self.registers = self.get()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):  # it may be gone
            self.set(self.registers)
            ptrace(DETACH, self.tid)

    def wait(self):
        _, status = os.waitpid(self.tid, WALL)
        if os.WIFSIGNALED(status):
            raise Gone(os.WTERMSIG(status))
        if os.WIFEXITED(status):
            raise Gone(0)
        return os.WSTOPSIG(status)

    def to_call(self):
        """To where the next call begins, or where the one that has begun ends."""
        while True:
            ptrace(SYSCALL, self.tid)
            if self.wait() == signal.SIGTRAP | 0x80:
                return

    def get(self):
        room = ctypes.create_string_buffer(512)
        iov = Iovec(ctypes.addressof(room), len(room))
        ptrace(GETREGSET, self.tid, NT_PRSTATUS, ctypes.addressof(iov))
        return list(struct.unpack(f"={iov.size // 8}Q", room.raw[:iov.size]))

    def set(self, registers):
        room = ctypes.create_string_buffer(struct.pack(f"={len(registers)}Q", *registers))
        iov = Iovec(ctypes.addressof(room), 8 * len(registers))
        ptrace(SETREGSET, self.tid, NT_PRSTATUS, ctypes.addressof(iov))

    def read(self, address, size):
        with open(f"/proc/{self.tid}/mem", "rb", buffering=0) as memory:
            return os.pread(memory.fileno(), size, address)

    def write(self, address, data):
        with open(f"/proc/{self.tid}/mem", "r+b", buffering=0) as memory:
            os.pwrite(memory.fileno(), data, address)

    def prepare(self, name, *arguments):
        """Numbers as they are; octets are put where the stack is not used, and their address is the argument."""
        registers, room = list(self.registers), self.registers[self.stack] - 4096
        for place, value in zip(self.arguments, arguments):
            if isinstance(value, bytes):
                self.write(room, value)
                registers[place], room = room, room + (len(value) + 15) // 16 * 16
            else:
                registers[place] = value & (1 << 64) - 1
        registers[self.number] = NUMBERS[MACHINE][name]
        registers[self.at] -= len(self.instruction)
        if MACHINE == "x86_64":
            registers[15] = (1 << 64) - 1  # the call that it is in is not made again
        self.set(registers)

    def call(self, name, *arguments):
        """What the kernel says to it; raises Gone when it ends the process."""
        self.prepare(name, *arguments)
        self.to_call()
        self.to_call()
        value = self.get()[self.result]
        if value == NUMBERS[MACHINE][name]:  # rolled back: the kernel has not made it, and the signal comes now
            self.to_call()
        return value - (1 << 64) if value >> 63 else value

    def sleep(self):
        """It sleeps for ever from now on."""
        if MACHINE == "x86_64":
            self.prepare("pause")
        else:
            self.prepare("ppoll", 0, 0, 0, 0)
        ptrace(DETACH, self.tid)

    def spin(self):
        """It goes round and round from now on."""
        self.write(self.registers[self.at], self.loop)
        ptrace(DETACH, self.tid)


def outcome(pid, name, *arguments):
    """What comes of one call: a number, the name of an error, or the signal that ended the process."""
    try:
        with Taken(worker(pid)) as t:
            got = t.call(name, *arguments)
    except Gone as gone:
        return signal.Signals(gone.args[0]).name if gone.args[0] else "end"
    return errno.errorcode.get(-got, got) if got < 0 else got
