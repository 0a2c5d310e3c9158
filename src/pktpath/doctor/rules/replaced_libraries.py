"""Libraries of a running process were replaced on disk: it still runs the old ones.

A mapping `(deleted)` of a program or shared library says that its file was removed, or replaced by a new one, after the process
had loaded it. The process goes on with what it has; symbols that perf and gdb take from the new file may be wrong; a plug-in
that is loaded later may not fit; and the next start runs other code than today, perhaps in the middle of the night.

Speaks when an executable mapping or a file `*.so*` is marked `(deleted)`, by pmap or lsof (`DEL`). It is a warning for
programs that move packets (Open vSwitch, DPDK, libibverbs), one note for all others together.
Silent for files that are deleted on purpose: memfd, huge pages, SysV and POSIX shared memory, /tmp.
Sources: proc(5) /proc/PID/maps, lsof(8) DEL.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.process import Mapping, OpenFile
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.rules._threads import begin, moves_packets, process_name

_ON_PURPOSE = re.compile(r"/?memfd:|/dev/|/SYSV|/tmp/|/var/tmp/|/run/|/proc/|\[|/anon_hugepage|.*(?:rtemap_|hugepages)")
_LIBRARY = re.compile(r"[^\s]*\.so(?:\.[\w.-]+)?$")
_PACKETS = re.compile(r".*/(?:librte_|libdpdk|libopenvswitch|libofproto|libovn|libmlx\d|libibverbs|libxdp|libvpp|vpp|ovs-|dpdk-)")


@rule(
    Mapping | OpenFile,
    ask="pmap -x PID",
    well="Programs and libraries are on disk as they run.",
    topic="processes",
)
def replaced_libraries(case: Case) -> Iterator[Finding]:
    """One finding a process."""
    gone: dict[int, dict[str, Place]] = {}
    for mapping in case.latest(Mapping):
        path, deleted, _ = mapping.name.partition(" (deleted)")
        if deleted and ("x" in mapping.mode or _LIBRARY.match(path)):
            _add(gone, mapping.pid, path, mapping.at)
    for file in case.latest(OpenFile):
        path, deleted, _ = file.name.partition(" (deleted)")
        if (file.fd.startswith("DEL") or (deleted and file.fd in ("txt", "mem"))) and (file.fd == "txt" or _LIBRARY.match(path)):
            _add(gone, file.pid, path, file.at)
    others: dict[int, dict[str, Place]] = {}
    for pid, paths in gone.items():
        who = process_name(case, pid)
        if moves_packets(who) or any(_PACKETS.match(path) for path in paths):
            yield _finding(Severity.WARNING, who, paths, _restart(who))
        else:
            others[pid] = paths
    if others:
        names = list(dict.fromkeys(process_name(case, pid) for pid in others))
        who = names[0] if len(names) == 1 else f"{len(names)} other processes ({', '.join(names[:3])}, …)"
        yield _finding(Severity.NOTE, who, {path: at for paths in others.values() for path, at in paths.items()}, _restart(""))


def _finding(severity: Severity, who: str, paths: dict[str, Place], remedy: Remedy) -> Finding:
    names = [path.rsplit("/", 1)[-1] for path in paths]
    some = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    what = f"{len(names)} libraries or programs that were" if len(names) > 1 else "a library or program that was"
    return Finding(
        severity=severity,
        confidence=Confidence.CERTAIN,
        summary=f"{begin(who)} still run{'' if 'processes' in who else 's'} {what} replaced or deleted on disk ({some}).",
        evidence=tuple(paths.values())[:6],
        why="The files are marked (deleted): an installation removed or replaced them under the running process. It goes on with "
        "the old code, perf and gdb may show wrong symbols for it, and its next start runs something else.",
        about=who,
        remedies=(remedy,),
    )


def _add(gone: dict[int, dict[str, Place]], pid: int, path: str, at: Place) -> None:
    if path.startswith("/") and not path.endswith("/") and not _ON_PURPOSE.match(path):
        gone.setdefault(pid, {}).setdefault(path, at)


def _restart(who: str) -> Remedy:
    unit = "openvswitch-switch" if "ovs" in who else "UNIT"
    return Remedy(
        command=f"systemctl restart {unit}",
        effect="The process starts with the files that are on disk now."
        + (" (The unit is called openvswitch on RHEL, CentOS and Fedora.)" if "ovs" in who else ""),
        cost="Its connections break and its packets stop until it is back; ovs-vswitchd loses the flows of its cache.",
        undo=f"apt install PACKAGE=OLD && systemctl restart {unit}  # dnf downgrade PACKAGE; ldd of the program shows its files",
        verify="pmap -x of the new process shows no library with (deleted)",
    )
