"""What a switch says of itself over its control socket: Open vSwitch's, and pktpath's, which knows the same commands.

Only commands that show something are given. Sources: ovs-vswitchd(8), ovs-appctl(8), dpctl(8).
"""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from pktpath.doctor.collect.notebook import Notebook, refusal
from pktpath.doctor.collect.proc import apart, command_line, descriptors, link
from pktpath.doctor.collect.tool import find
from pktpath.errors import BadInput, Refused

_TWICE = (
    "dpctl/show -s", "dpif-netdev/pmd-stats-show", "dpif-netdev/pmd-perf-show", "coverage/show", "memory/show", "upcall/show",
)  # fmt: skip
_ONCE = ("dpif-netdev/pmd-rxq-show",)
_ANSWER = 3.0
"""Seconds; the daemon's main thread answers, between its other work."""
_DATABASE = 2.0
"""Seconds."""
_LOG = 256 << 10
"""Bytes."""
_RECENT = 24 * 3600
"""Seconds."""
MOST_FLOWS = 50_000
"""Of a dump: it keeps the daemon's main thread for about a second then."""


@dataclass(slots=True)
class Switch:
    """A switch whose control socket is there."""

    pid: int
    socket: str
    known: frozenset[str]
    """Its commands."""
    works: bool = True

    @classmethod
    def of(cls, pid: int) -> "Switch | None":
        """Return the switch that a process is; None where it listens on no control socket or does not answer."""
        from pktpath.control.unixctl_client import call

        for path in _sockets(pid):
            try:
                listing = call(_inside(pid, path), "list-commands", timeout=_ANSWER)
            except (Refused, BadInput):
                continue
            known = frozenset(line.split()[0] for line in listing.splitlines() if line.startswith(" "))
            if "dpctl/show" in known or "dpif/show" in known:
                return cls(pid, path, known)
        return None

    @property
    def _tool(self) -> str:
        return f"ovs-appctl -t {self.socket}"

    def counters(self, book: Notebook) -> None:
        """Take down what it counts."""
        book.progress(f"asking {self.socket}")
        for command in _TWICE:
            self._ask(book, command, changing=True)

    def settings(self, book: Notebook) -> None:
        """Take down what is set, the flows of its datapaths and its database."""
        for command in _ONCE:
            self._ask(book, command)
        self._flows(book)
        self._database(book)
        self._log(book)

    def _ask(self, book: Notebook, command: str, *, changing: bool = False) -> str:
        from pktpath.control.unixctl_client import call

        name, *words = command.split()
        if not self.works or name not in self.known:
            return ""
        when = book.now() if changing else None
        try:
            text = call(_inside(self.pid, self.socket), name, words, timeout=_ANSWER)
        except (Refused, BadInput) as error:
            book.lacks(f"{self._tool} {command}", str(error))
            # One that hangs is not asked again and again.
            self.works = "no answer" not in str(error)
            return ""
        book.keep(f"{self._tool} {command}", text, when=when)
        return text

    def _flows(self, book: Notebook) -> None:
        shown = self._ask(book, "dpctl/show")
        datapaths = re.findall(r"^(\w+@[^\s:]+):.*?^\s+flows: (\d{1,10})", shown, re.MULTILINE | re.DOTALL)
        for name, flows in datapaths[:4]:
            if int(flows) > MOST_FLOWS:
                book.lacks(
                    f"flows of {name}", f"{flows} of them: a dump would keep the daemon busy", "ovs-appctl dpctl/dump-flows"
                )
            else:
                self._ask(book, f"dpctl/dump-flows -m {name}")

    def _database(self, book: Notebook) -> None:
        what = "the database of Open vSwitch"
        if "bridge/reconnect" not in self.known:
            # pktpath's own switch has a file instead.
            return
        if find("ovs-vsctl") is None:
            book.lacks(what, "ovs-vsctl is not installed", "apt install openvswitch-switch")
            return
        named = re.search(r"\s((?:unix|tcp|ssl):\S+)", command_line(self.pid))
        remote = named[1] if named else f"unix:{Path(self.socket).parent / 'db.sock'}"
        if remote.startswith("unix:"):
            remote = f"unix:{_inside(self.pid, remote.removeprefix('unix:'))}"
        first = ["ovs-vsctl", "--timeout=2", f"--db={remote}"]
        for words in (["show"], ["get", "Open_vSwitch", ".", "other_config"], ["list", "interface"]):
            if book.tool([*first, *words], what, limit=_DATABASE + 0.5).why:
                break

    def _log(self, book: Notebook) -> None:
        """Take down the last day of its log, as far as that stands at the end."""
        name = next((target for _, target in descriptors(self.pid) if re.search(r"/ovs-vswitchd[^/]*\.log$", target)), "")
        if not name:
            return
        try:
            with Path(_inside(self.pid, name)).open("rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - _LOG))
                lines = file.read(_LOG).decode(errors="replace").splitlines()
        except OSError as error:
            book.lacks(name, refusal(error), "run as root")
            return
        # Its lines begin with the time, in UTC, in the form that sorts.
        since = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - _RECENT))
        recent = [line for line in lines if line >= since]
        book.keep(f"tail -n {len(recent)} {name}", "\n".join(recent) + "\n")


def _sockets(pid: int) -> list[str]:
    """Return the paths of control sockets that a process listens on."""
    own = {target[8:-1] for _, target in descriptors(pid) if target.startswith("socket:[")}
    try:
        rows = Path(f"/proc/{pid}/net/unix").read_text(errors="replace").splitlines()[1:]
    except OSError:
        return []
    # Num RefCount Protocol Flags Type St Inode Path; the flag says that it accepts connections.
    split = (row.split(maxsplit=7) for row in rows if row.endswith(".ctl"))
    return sorted({fields[7] for fields in split if len(fields) == 8 and fields[6] in own and int(fields[3], 16) & 0x10000})


def _inside(pid: int, path: str) -> str:
    """Return a path as we reach it: the process may have a root of its own."""
    elsewhere = apart(pid, "mnt") or link(f"/proc/{pid}/root") not in ("", "/")
    return f"/proc/{pid}/root{path}" if elsewhere and path.startswith("/") else path
