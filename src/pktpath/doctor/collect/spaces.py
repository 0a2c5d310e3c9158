"""Other network namespaces of this machine: what their devices are set to and count.

Where traffic goes through containers or virtual switches, what loses it often counts in another namespace than what causes it.
Sources: namespaces(7), network_namespaces(7), ip-netns(8).
"""

import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pktpath.doctor.collect.device import choose
from pktpath.doctor.collect.host import count_network, settle_network
from pktpath.doctor.collect.notebook import Notebook
from pktpath.doctor.collect.proc import field as status
from pktpath.doctor.collect.proc import link, numbers
from pktpath.errors import BadInput, Refused
from pktpath.host.netns import inside_of

MOST = 8
"""Namespaces that a look at the host looks into: some 30 ms of CPU each."""
_DEVICES = 16
"""Devices that are asked in each."""
_CAP_SYS_ADMIN = 21
"""Source: capability.h."""
_NAMED = "/run/netns"
_OURS = "/proc/thread-self/ns/net"


@dataclass(frozen=True, slots=True)
class Space:
    """A network namespace."""

    name: str
    """As `ip netns` has it; `pid-5` for one without a name, in which this process is."""
    path: str


def of_host() -> bool:
    """Whether we are where the machine's first process is: who looks from within another namespace has chosen that one."""
    # Not even root may ask every init; the kernel's own thread 2 is there too.
    first = link("/proc/1/ns/net") or link("/proc/2/ns/net")
    return not first or first == link(_OURS)


def others(pids: Iterable[int] = ()) -> list[Space]:
    """Return the namespaces but our own: those of these processes first, then those with names, then what is left."""
    try:
        names = sorted(os.listdir(_NAMED))  # noqa: PTH208  only names
    except OSError:
        names = []
    named = {_inode(f"{_NAMED}/{name}"): Space(name, f"{_NAMED}/{name}") for name in names}
    found: dict[tuple[int, int] | None, Space] = {}
    for space in (*_of(pids), *named.values(), *_of(numbers("/proc"))):
        inode = _inode(space.path)
        found.setdefault(inode, named.get(inode, space))
    # A name whose namespace went away is an ordinary file.
    device = (_inode(_OURS) or (0, 0))[0]
    return [space for inode, space in found.items() if inode and inode[0] == device and inode != _inode(_OURS)]


def _of(pids: Iterable[int]) -> list[Space]:
    return [Space(f"pid-{pid}", f"/proc/{pid}/ns/net") for pid in pids]


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        # Gone, or not ours to see.
        return None
    return found.st_dev, found.st_ino


@dataclass(slots=True)
class SpaceLook:
    """A look into another namespace in two halves, as at the host."""

    book: Notebook
    space: Space
    _devices: list[str] = field(default_factory=list)
    _works: bool = True

    def first(self) -> None:
        """Read the counters."""
        self._inside(self._choose, lambda: count_network(self.book, self._devices))

    def last(self) -> None:
        """Read the counters again, then the settings."""
        self._inside(lambda: count_network(self.book, self._devices), lambda: settle_network(self.book, self._devices))

    def _choose(self) -> None:
        self._devices = choose(self.book, [name for _, name in socket.if_nameindex()], (), most=_DEVICES)

    def _inside(self, *steps: Callable[[], None]) -> None:
        if not self._works:
            return
        self.book.progress(f"reading counters of the network namespace {self.space.name}")
        try:
            with inside_of(self.space.path, self.space.name):
                self.book.scope = self.space.name
                try:
                    for step in steps:
                        step()
                finally:
                    self.book.scope = ""
        except (BadInput, Refused) as error:
            self._works = False
            denied = "CAP_SYS_ADMIN" in str(error)
            why = "needs CAP_SYS_ADMIN" if denied else "it went away, or cannot be entered"
            self.book.lacks(
                f"devices and counters of the network namespace {self.space.name}", why, "run as root" if denied else ""
            )


def spaces_to_look_at(book: Notebook, pids: Iterable[int]) -> list[SpaceLook]:
    """Return the looks into other namespaces, those of these processes first, and take down which are left out."""
    if not of_host():
        return []
    found = others(pids)
    if found and not int(status(os.getpid(), "CapEff") or "0", 16) >> _CAP_SYS_ADMIN & 1:
        book.lacks(_some([space.name for space in found], ""), "needs CAP_SYS_ADMIN", "run as root")
        return []
    if left := [space.name for space in found[MOST:]]:
        remedy = "ip netns exec NAME pktpath doctor, or nsenter -t PID -n pktpath doctor"
        book.lacks(_some(left, "more "), f"only {MOST} are looked at", remedy)
    return [SpaceLook(book, space) for space in found[:MOST]]


def _some(names: list[str], more: str) -> str:
    some = ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
    return f"{len(names)} {more or 'other '}network namespace{'' if len(names) == 1 else 's'} ({some})"
