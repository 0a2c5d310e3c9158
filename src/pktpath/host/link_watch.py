"""A descriptor that becomes readable when an interface of a network namespace comes, goes or changes.

What happened is not read: messages can be lost when there are many, so whoever is woken looks at the interfaces that matter.
Source: rtnetlink(7).
"""

import contextlib
import errno
import socket

from pktpath.host.netns import inside

_RTMGRP_LINK = 1
_ROOM = 1 << 16


class LinkWatch:
    """Wakes about the links of one namespace."""

    def __init__(self, netns: str | None = None) -> None:
        """Begin to listen.

        Raises:
            BadInput: there is no such namespace.
            Refused: it may not be entered.

        """
        with inside(netns):
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
            )
        self._socket.bind((0, _RTMGRP_LINK))

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def drain(self) -> bool:
        """Take what has come; return whether there was anything."""
        found = False
        while True:
            try:
                self._socket.recv(_ROOM)
            except BlockingIOError:
                return found
            except OSError as error:
                # Some were lost, so something happened.
                if error.errno != errno.ENOBUFS:
                    raise
            found = True

    def close(self) -> None:
        """Listen no more."""
        with contextlib.suppress(OSError):
            self._socket.close()
