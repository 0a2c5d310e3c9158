"""Network namespaces of a test's own."""

import contextlib
import ctypes
import os
import subprocess
from pathlib import Path

_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), "network namespace")


@contextlib.contextmanager
def own_network():
    """Put this thread into an empty network namespace, with everything that it starts, and bring it back."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _checked(_libc.unshare(_NEWNET))
        try:
            yield
        finally:
            _checked(_libc.setns(home, _NEWNET))
    finally:
        os.close(home)


@contextlib.contextmanager
def named_networks(*names: str):
    """Make named namespaces and delete them."""
    made = []
    try:
        for name in names:
            run("ip", "netns", "add", name)
            made.append(name)
        yield
    finally:
        for name in made:
            run("ip", "netns", "del", name)


def run(*words: str, check: bool = True) -> str:
    return subprocess.run(words, check=check, capture_output=True, text=True).stdout


def inside(name: str, *words: str) -> list[str]:
    return ["ip", "netns", "exec", name, *words]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
