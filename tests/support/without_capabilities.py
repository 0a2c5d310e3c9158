"""A program for tests: run code without some capabilities, or without any.

    python without_capabilities.py all|NUMBER,... CODE

Numbers are those of linux/capability.h. Root stays the owner of its files, which another user may not be able to read.
"""

import ctypes
import struct
import sys
from pathlib import Path

_PR_SET_SECUREBITS, _NOROOT_LOCKED = 28, 3
_VERSION_3 = 0x20080522


def drop(which: str) -> None:
    """Give capabilities up, for this process and all that it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    held = int(status["CapPrm"], 16)
    if held == 0:
        return
    # Otherwise root gets them back when it starts a program.
    if libc.prctl(_PR_SET_SECUREBITS, _NOROOT_LOCKED, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    held = 0 if which == "all" else held & ~sum(1 << int(number) for number in which.split(","))
    low, high = held & 0xFFFFFFFF, held >> 32
    header = ctypes.create_string_buffer(struct.pack("=Ii", _VERSION_3, 0))
    sets = ctypes.create_string_buffer(struct.pack("=6I", low, low, low, high, high, high))
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


if __name__ == "__main__":
    drop(sys.argv[1])
    exec(sys.argv[2])
