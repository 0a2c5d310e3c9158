"""What /proc says of a process. A process may end at any time: then there is nothing, and no error. Source: proc(5)."""

import os
from collections.abc import Iterator
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether there is a process of this number, still at work."""
    found = field(pid, "State")
    return bool(found) and found[0] not in "ZX"


def command_line(pid: int) -> str:
    """Return what a process was started with; its name in brackets for one of the kernel; nothing where it is gone."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").split()
        return " ".join(words) or f"[{Path(f'/proc/{pid}/comm').read_text(errors='replace').strip()}]"
    except OSError:
        return ""


def field(pid: int, name: str) -> str:
    """Return a line of its status."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(f"{name}:")), "")


def numbers(folder: str) -> list[int]:
    """Return the entries of a folder that are numbers: threads, descriptors.

    Raises:
        OSError: it is not there, or not ours to see.

    """
    with os.scandir(folder) as entries:
        return sorted(int(entry.name) for entry in entries if entry.name.isdigit())


def link(path: str) -> str:
    """Return where a link leads; nothing where that cannot be seen."""
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def descriptors(pid: int, most: int = 1 << 20) -> Iterator[tuple[int, str]]:
    """Give each descriptor and what it leads to; none where they are not ours to see."""
    try:
        found = numbers(f"/proc/{pid}/fd")
    except OSError:
        return
    for fd in found[:most]:
        if target := link(f"/proc/{pid}/fd/{fd}"):
            yield fd, target


def apart(pid: int, kind: str) -> bool:
    """Whether a process has a namespace of its own of a kind (`net`, `mnt`); no where that cannot be seen."""
    theirs, ours = link(f"/proc/{pid}/ns/{kind}"), link(f"/proc/thread-self/ns/{kind}")
    return bool(theirs and ours) and theirs != ours
