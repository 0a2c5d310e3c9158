"""Named network namespaces: do something in one of them, and come back.

A namespace belongs to a thread; sockets made inside stay there. Source: setns(2), ip-netns(8).
"""

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator

from pktpath.errors import BadInput, Refused

_CLONE_NEWNET = 0x40000000
_DIRECTORY = "/run/netns"
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(netns: str | None) -> Iterator[None]:
    """Run a block of this thread in a namespace that `ip netns` knows; None stays where the thread is.

    Raises:
        BadInput: there is none of this name.
        Refused: CAP_SYS_ADMIN is missing.

    """
    if netns is None:
        yield
        return
    if not netns or "/" in netns or netns in (".", ".."):
        message = f"{netns}: no name of a network namespace"
        raise BadInput(message)
    with inside_of(f"{_DIRECTORY}/{netns}", netns):
        yield


@contextlib.contextmanager
def inside_of(path: str, name: str) -> Iterator[None]:
    """Run a block of this thread in the namespace of a file such as /proc/5/ns/net, which errors call `name`.

    Raises:
        BadInput: there is no such file.
        Refused: CAP_SYS_ADMIN is missing, or it is no namespace any more.

    """
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            message = f"{name}: no such network namespace: 'ip netns' lists them ({error.strerror})"
            raise BadInput(message) from None
        try:
            _enter(there, name)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _enter(here, "the one that we came from")
    finally:
        os.close(here)


def _enter(fd: int, name: str) -> None:
    if _libc.setns(fd, _CLONE_NEWNET):
        code = ctypes.get_errno()
        what = "needs CAP_SYS_ADMIN: run as root" if code == errno.EPERM else f"the kernel refused: {os.strerror(code)}"
        message = f"{name}: entering this network namespace: {what}"
        raise Refused(message)
