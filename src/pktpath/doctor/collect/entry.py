"""The look that `pktpath doctor` takes: the host, and the process or the processes that move packets on it."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pktpath.doctor.case import Case
from pktpath.doctor.collect.host import HostLook
from pktpath.doctor.collect.movers import Mover, find_packet_movers, process_named
from pktpath.doctor.collect.notebook import Notebook
from pktpath.doctor.collect.proc import alive, apart
from pktpath.doctor.collect.process import ProcessLook, plan_for
from pktpath.doctor.collect.spaces import MOST, SpaceLook, of_host, others, spaces_to_look_at
from pktpath.errors import BadInput, Refused

_MOST_MOVERS = 4
"""Processes that a look at the host looks at."""


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
        seconds: between two looks at counters; how long each tool watches the process.
        intrusive: also stop threads that are busy or poll, which makes them lose packets.
        save: a folder that gets all that was read, as files that `pktpath doctor FOLDER` reads.
        progress: gets a line about each step before it is done.

    Raises:
        BadInput: no such process or device.
        Refused: nothing at all could be looked at, or `save` cannot be written.

    """
    book = Notebook(progress)
    if pid is None and process is not None:
        pid = process_named(process)
    host = HostLook(book, devices)
    if pid is not None:
        _closely(book, host, pid, seconds, devices, intrusive=intrusive)
    else:
        _widely(book, host, seconds, devices)
    if not book.looks:
        reason = book.missing[0] if book.missing else None
        message = f"nothing could be looked at: {reason.what}: {reason.why}" if reason else "nothing could be looked at"
        raise Refused(message)
    if save is not None:
        from pktpath.doctor.collect.store import save as write

        write(book.looks, save)
    progress("reading what was seen")
    facts = list(book.facts())
    return Case(facts, book.missing, live=True)


def _closely(book: Notebook, host: HostLook, pid: int, seconds: float, devices: Sequence[str], *, intrusive: bool) -> None:
    one = ProcessLook.at(book, pid)
    spaces = [SpaceLook(book, space) for space in others([pid])[:1] if apart(pid, "net") and not devices]
    _first(host, spaces)
    one.classify()
    one.watch(seconds)
    one.count()
    _last(host, spaces)
    if not spaces:
        one.namespace()
    # What follows slows the process down: its counters would tell of us.
    one.close(seconds, intrusive=intrusive)


def _widely(book: Notebook, host: HostLook, seconds: float, devices: Sequence[str]) -> None:
    book.progress("looking for processes that move packets")
    found = find_packet_movers(book)
    looks = [one for mover in found[:_MOST_MOVERS] if (one := _begin(book, mover))]
    for mover in found[_MOST_MOVERS:]:
        book.lacks(f"process {mover.pid} {mover.name} ({mover.kind})", f"only {_MOST_MOVERS} are looked at", _closer(mover.pid))
    _one_switch(book, looks)
    # Devices that are named are those of this namespace.
    spaces = [] if devices else spaces_to_look_at(book, [one.pid for one in looks])
    if not spaces:
        for one in looks:
            one.namespace()
    _first(host, spaces)
    for one in looks:
        if one.switch is not None:
            one.switch.counters(book)
    time.sleep(seconds)
    for one in looks:
        one.count()
    _last(host, spaces)
    for one in looks:
        one.light()
        if alive(one.pid):
            book.lacks(f"system calls, call stacks and hot symbols of {one.name}", "only looked for closely", _closer(one.pid))


def _one_switch(book: Notebook, looks: Sequence[ProcessLook]) -> None:
    """Ask the first switch only: what two of them count has the same names, and would be taken for one."""
    for one in [one for one in looks if one.switch is not None][1:]:
        one.switch = None
        book.lacks(f"what the switch of {one.name} says of itself", "another switch is asked already", _closer(one.pid))


def _first(host: HostLook, spaces: Sequence[SpaceLook]) -> None:
    host.first()
    for space in spaces:
        space.first()


def _last(host: HostLook, spaces: Sequence[SpaceLook]) -> None:
    for space in spaces:
        space.last()
    host.last()


def _begin(book: Notebook, mover: Mover) -> ProcessLook | None:
    try:
        return ProcessLook.at(book, mover.pid)
    except BadInput:
        # It ended since it was found.
        return None


def _closer(pid: int) -> str:
    return f"pktpath doctor --pid {pid}"


def plan(
    *,
    pid: int | None = None,
    process: str | None = None,
    devices: Sequence[str] = (),
    seconds: float = 2.0,
    intrusive: bool = False,
) -> list[str]:
    """Say what `look` will do, for how long, with which tools and at what cost, a line each; raises as it does."""
    host = HostLook(Notebook(), devices)
    some = ", ".join(host.devices[:4]) + (f" and {len(host.devices) - 4} more" if len(host.devices) > 4 else "")
    what = f"Read the host's counters twice, {seconds:g} s or more apart, and the settings of {some} once (ip, tc, /proc, /sys)"
    lines = [f"{what}; change nothing. It takes less than 2 s of CPU."]
    if pid is None and process is not None:
        pid = process_named(process)
    if pid is not None:
        return lines + plan_for(pid, seconds=seconds, intrusive=intrusive)
    if not devices and of_host() and (found := [space.name for space in others()]):
        names = ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
        lines.append(f"Read the same of other network namespaces, {MOST} at most: {names}.")
    lines.append(f"Look for processes that move packets; read threads, descriptors and control sockets of up to {_MOST_MOVERS}.")
    return lines
