"""The look that `pktpath doctor` takes: the host, and the process or the processes that move packets on it."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pktpath.doctor.case import Case
from pktpath.doctor.collect.host import HostLook
from pktpath.doctor.collect.notebook import Notebook


def look(
    *,
    pid: int | None = None,
    process: str | None = None,
    devices: Sequence[str] = (),
    seconds: float = 2.0,
    intrusive: bool = False,
    save: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Case:
    """Look at this host, and closely at one process where one is named.

    Args:
        pid: the process.
        process: its name instead, such as `ovs-vswitchd`.
        devices: whose features, queues and counters to read; all without.
        seconds: between two looks at counters; how long tools watch the process.
        intrusive: also stop threads that are busy or poll, which makes them lose packets.
        save: a folder that gets all that was read, as files that `pktpath doctor FOLDER` reads.
        progress: gets a line about each step before it is done.

    Raises:
        BadInput: no such process or device.
        Refused: nothing at all could be looked at.

    """
    book = Notebook(progress)
    host = HostLook(book, devices)
    host.first()
    time.sleep(seconds)
    host.last()
    facts = list(book.facts())
    return Case(facts, book.missing, live=True)


def plan(
    *,
    pid: int | None = None,
    process: str | None = None,
    devices: Sequence[str] = (),
    seconds: float = 2.0,
    intrusive: bool = False,
) -> list[str]:
    """Say what `look` will do, for how long, with which tools and at what cost, a line each; raises as it does."""
    return [f"Read counters of the kernel twice, {seconds:g} s apart, and settings of devices once."]
