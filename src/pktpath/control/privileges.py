"""Becoming another user with the few capabilities that a running switch needs.

Capabilities belong to threads: the one that calls keeps them, the workers have none from then on and need none.
Source: capabilities(7), capset(2), PR_SET_KEEPCAPS in prctl(2).
"""

import ctypes
import os
import pwd
import struct
from collections.abc import Iterable

from pktpath.errors import Refused

CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_IPC_LOCK": 14, "CAP_BPF": 39}
"""Kept: to open an interface again, to restore it, to lock memory of rings, to load the program of AF_XDP."""
NAMESPACES = {"CAP_SYS_ADMIN": 21}
"""Kept too where a port is in another network namespace: without it, it could not be opened again."""
_PR_SET_KEEPCAPS = 8
_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


def become(user: str, owned: Iterable[str], *, namespaces: bool = False) -> None:
    """Become a user and keep `CAPABILITIES`.

    Args:
        user: the name.
        owned: paths that the user must be able to write, which become theirs.
        namespaces: keep `NAMESPACES` too.

    Raises:
        Refused: not allowed.

    """
    found = pwd.getpwnam(user)
    kept = list((CAPABILITIES | NAMESPACES if namespaces else CAPABILITIES).values())
    try:
        for path in owned:
            os.chown(path, found.pw_uid, found.pw_gid, follow_symlinks=False)
        if _libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0):
            raise _fault()
        os.setgroups([])
        os.setresgid(found.pw_gid, found.pw_gid, found.pw_gid)
        os.setresuid(found.pw_uid, found.pw_uid, found.pw_uid)
        _set_capabilities(kept)
    except OSError as error:
        message = f"becoming user {user} needs CAP_SETUID, CAP_SETGID and CAP_CHOWN: {error.strerror}"
        raise Refused(message) from error


def _set_capabilities(kept: Iterable[int]) -> None:
    low = high = 0
    for number in kept:
        low |= 1 << number & 0xFFFFFFFF if number < 32 else 0
        high |= 1 << number - 32 if number >= 32 else 0
    header = struct.pack("=Ii", _VERSION_3, 0)
    data = struct.pack("=6I", low, low, 0, high, high, 0)
    if _libc.capset(header, data):
        # A kernel before 5.8 has no CAP_BPF.
        raise _fault()


def _fault() -> OSError:
    return OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
