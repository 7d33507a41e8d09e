"""Counters that processes of a test share."""
import ctypes
import mmap


class SharedCounters:
    """Numbers that a child process counts and its parent reads: each is stored and loaded as 8 octets at once.
    (struct.pack_into() writes octet by octet; whoever reads meanwhile may see 0.)"""

    def __init__(self, n):
        self._numbers = (ctypes.c_uint64 * n).from_buffer(mmap.mmap(-1, 8 * n))

    def __getitem__(self, i):
        return self._numbers[i]

    def __setitem__(self, i, value):
        self._numbers[i] = value
