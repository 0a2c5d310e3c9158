"""What a process has open and what it has mapped."""

import os
from pathlib import Path

from pktpath.doctor.collect.notebook import Notebook, refusal
from pktpath.doctor.collect.proc import command_line
from pktpath.doctor.collect.tool import find

_LIMIT = 10.0
"""Seconds: lsof and pmap walk all page tables and tables of sockets."""


def open_files(book: Notebook, pid: int) -> None:
    """Take down `lsof`, or what /proc says where that is missing."""
    book.progress(f"reading the open files of process {pid}")
    if find("lsof"):
        book.tool(["lsof", "-n", "-P", "-p", str(pid)], f"open files of process {pid}", limit=_LIMIT)
    else:
        descriptors(book, pid)


def descriptors(book: Notebook, pid: int) -> None:
    """Take down `ls -l /proc/PID/fd`: it names no peers, and costs next to nothing."""
    if os.access(f"/proc/{pid}/fd", os.R_OK | os.X_OK):
        book.tool(["ls", "-l", f"/proc/{pid}/fd"], f"open files of process {pid}")
    else:
        book.lacks(f"open files of process {pid}", "permission denied: only its user or root may see them", "run as root")


def memory(book: Notebook, pid: int) -> None:
    """Take down the address space as `pmap -x` shows it."""
    book.progress(f"reading the address space of process {pid}")
    try:
        # It may be seen by whoever may trace the process, whatever the file's mode says.
        with Path(f"/proc/{pid}/smaps").open("rb") as file:
            file.read(1)
    except PermissionError:
        book.lacks(f"address space of process {pid}", "permission denied: only its user or root may see it", "run as root")
        return
    except OSError:
        pass
    if find("pmap"):
        book.tool(["pmap", "-x", str(pid)], f"address space of process {pid}", limit=_LIMIT)
        return
    try:
        text = Path(f"/proc/{pid}/smaps").read_text(errors="replace")
    except OSError as error:
        book.lacks(f"address space of process {pid}", refusal(error), "run as root")
        return
    book.keep(f"pmap -x {pid}", _pmap(pid, command_line(pid), text))


def _pmap(pid: int, command: str, smaps: str) -> str:
    rows = [f"{pid}:   {command}", f"{'Address':<16} {'Kbytes':>7} {'RSS':>7} {'Dirty':>7} Mode  Mapping"]
    totals = [0, 0, 0]
    begin, mode, name = "", "", ""
    sizes: dict[str, int] = {}
    for line in [*smaps.splitlines(), "0-0 end"]:
        key, _, rest = line.partition(" ")
        if key.endswith(":"):
            if rest.endswith(" kB"):
                sizes[key] = int(rest[:-3])
            continue
        if begin:
            row = (sizes.get("Size:", 0), sizes.get("Rss:", 0), sizes.get("Private_Dirty:", 0) + sizes.get("Shared_Dirty:", 0))
            totals = [total + value for total, value in zip(totals, row, strict=True)]
            rows.append(f"{begin.zfill(16)} {row[0]:>7} {row[1]:>7} {row[2]:>7} {mode} {name}")
        fields = rest.split(maxsplit=4)
        begin, sizes = key.partition("-")[0], {}
        if len(fields) >= 4:
            # pmap leaves out which mappings are private, and the folders of files.
            mode = fields[0].replace("p", "-") + "-"
            path = fields[4] if len(fields) > 4 else "[ anon ]"
            name = path.rsplit("/", 1)[-1] if path.startswith("/") else "[ stack ]" if path == "[stack]" else path
    rows += ["---------------- ------- ------- ------- ", f"total kB {' '.join(map(str, totals))}"]
    return "\n".join(rows) + "\n"
