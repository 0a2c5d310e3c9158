"""Processes of a measurement: on one CPU, and gone with who started them, however that ends."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep
from typing import NoReturn

from pktpath.lab.calibrate_figures import Unmeasurable

_NUMBERS = {
    "x86_64": {"membarrier": 324},
    "aarch64": {"membarrier": 283},
    "riscv64": {"membarrier": 283},
}
"""System calls that libc has no function for."""
_PR_SET_PDEATHSIG = 1
_PIECE, _MOST = 1 << 16, 1 << 30
libc = ctypes.CDLL(None, use_errno=True)


def last_error() -> OSError:
    """Return the error of the libc call that just failed in this thread."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def system_call(name: str, *arguments: int) -> int:
    """Make a system call by its number; the interpreter lock is free meanwhile.

    Raises:
        OSError: the kernel refuses.
        Unmeasurable: its number on this machine is not known.

    """
    machine = os.uname().machine
    if machine not in _NUMBERS:
        message = f"the number of {name}(2) on {machine} is not known"
        raise Unmeasurable(message)
    result = libc.syscall(_NUMBERS[machine][name], *(ctypes.c_long(argument) for argument in arguments))
    if result < 0:
        raise last_error()
    return int(result)


def pin(cpu: int) -> None:
    """Stay on one CPU."""
    os.sched_setaffinity(0, {cpu})


def idlest_cpus() -> list[int]:
    """Return the CPUs that this process may use, those with least work of others first."""
    before = _busy()
    sleep(0.1)
    after = _busy()
    return sorted(os.sched_getaffinity(0), key=lambda cpu: (after.get(cpu, 0) - before.get(cpu, 0), -cpu))


def _busy() -> dict[int, int]:
    """Return the ticks that each CPU spent on something, /proc/stat."""
    busy = {}
    with contextlib.suppress(OSError, ValueError, IndexError):
        for row in Path("/proc/stat").read_text().splitlines():
            name, *times = row.split()
            if name.startswith("cpu") and name != "cpu":
                # The fourth and fifth are idle, and waiting for a disk.
                busy[int(name[3:])] = sum(int(value) for value in times[:8]) - int(times[3]) - int(times[4])
    return busy


def die_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when its parent, whose number is given, ends."""
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


class Child:
    """What a child writes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, length: int) -> bytes:
        """Return so many bytes, or less if the child has ended."""
        found = b""
        while len(found) < length and (piece := os.read(self._descriptor, min(length - len(found), _PIECE))):
            found += piece
        return found

    def read_all(self) -> bytes:
        """Return all that it writes until it ends."""
        return self.read(_MOST)


@contextlib.contextmanager
def child(work: Callable[[Callable[[bytes], object]], object]) -> Iterator[Child]:
    """Let a child process work, which is given a function to write with; it is ended at the end of the block.

    Only for a process with one thread.
    """
    parent = os.getpid()
    read_end, write_end = os.pipe()
    number = os.fork()
    if number == 0:
        _live(parent, work, write_end)
    os.close(write_end)
    try:
        yield Child(read_end)
    finally:
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
        os.close(read_end)


def _live(parent: int, work: Callable[[Callable[[bytes], object]], object], write_end: int) -> NoReturn:
    status = 1
    try:
        die_with_parent(parent)
        work(lambda data: write_all(write_end, data))
        status = 0
    finally:
        os._exit(status)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it, however much a pipe takes at a time."""
    while data:
        data = data[os.write(descriptor, data) :]
