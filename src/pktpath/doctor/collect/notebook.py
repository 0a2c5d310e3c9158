"""What was seen, as text with the command that shows it, and what could not be seen."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pktpath.doctor.case import Missing
from pktpath.doctor.collect.tool import Ran, package_of, run
from pktpath.doctor.facts.base import Fact
from pktpath.doctor.parse.prompt import plain
from pktpath.doctor.remedy import inside

_LONGEST = 64
"""Letters of the name of a look."""
_ORDERS = 10_000
"""Sections that one look may have before its orders meet those of the next."""


@dataclass(frozen=True, slots=True)
class Look:
    """One thing that was looked at once."""

    command: str
    """What shows it to anybody: `ethtool -S e1`, or the path of a file of the kernel: `/proc/net/softnet_stat`."""
    text: str
    when: float | None
    """Seconds since the first look; None for what does not change meanwhile."""
    scope: str = ""

    @property
    def of_file(self) -> bool:
        """Whether it is what a file says."""
        return self.command.startswith("/")

    @property
    def source(self) -> str:
        """Return the name that places carry: what a reader would type, without sockets, time limits and long lists."""
        command = self.command if self.of_file else plain(self.command)[0]
        return f"live: {command if len(command) <= _LONGEST else f'{command[: _LONGEST - 1]}…'}"

    @property
    def document(self) -> str:
        """Return it as people save it: a file of the kernel as it is, anything else below its command."""
        return self.text if self.of_file else f"$ {inside(self.scope, self.command)}\n{self.text}"


class Notebook:
    """Takes looks down, in their order."""

    def __init__(self, progress: Callable[[str], None] = lambda _: None) -> None:
        self.looks: list[Look] = []
        self.missing: list[Missing] = []
        self.progress = progress
        self.scope = ""
        """The network namespace that is looked at; empty for the one that the doctor was started in."""
        self._began = time.monotonic()

    def now(self) -> float:
        """Return the seconds since the first look."""
        return round(time.monotonic() - self._began, 2)

    def keep(self, command: str, text: str, *, changing: bool = False, when: float | None = None) -> None:
        """Take down what a command or file says; `changing` says that it was read now and will say something else later."""
        if text.strip():
            self.looks.append(Look(command, text, self.now() if changing and when is None else when, self.scope))

    def lacks(self, what: str, why: str, remedy: str = "") -> None:
        """Take down what could not be looked at; once is enough."""
        missing = Missing(f"{what} in {self.scope}" if self.scope else what, why, remedy)
        if missing not in self.missing:
            self.missing.append(missing)

    def file(self, path: str, what: str = "", *, changing: bool = False) -> str:
        """Take down a file of the kernel and return what it says; nothing where it cannot be read."""
        try:
            # /proc/net is that of the main thread, whatever namespace this one is in.
            text = Path(path.replace("/proc/net/", "/proc/thread-self/net/")).read_text(errors="replace")
        except OSError as error:
            self.lacks(what or path, refusal(error), "run as root" if isinstance(error, PermissionError) else "")
            return ""
        self.keep(path, text, changing=changing)
        return text

    def tool(self, words: Sequence[str], what: str, *, changing: bool = False, limit: float = 5.0) -> Ran:
        """Run a tool and take down what it prints; a failure is taken down as missing."""
        when = self.now() if changing else None
        ran = run(words, limit=limit)
        if ran.why:
            self.lacks(what, ran.why, package_of(words[0]) if ran.absent else "")
        if ran.text and not ran.failed:
            self.keep(" ".join(words), ran.text, when=when)
        return ran

    def facts(self) -> Iterable[Fact]:
        """Read all looks; what the parsers could not read is taken down as missing."""
        from pktpath.doctor.parse.transcript import Transcript

        for number, look in enumerate(self.looks, 1):
            document = Transcript(
                look.document.splitlines(), look.source, scope=look.scope, when=look.when, order=_ORDERS * number
            )
            yield from document.facts()
            self.missing += document.missing


def refusal(error: OSError) -> str:
    """Return why a file cannot be read."""
    if isinstance(error, PermissionError):
        return "permission denied: only root may read it"
    if isinstance(error, FileNotFoundError):
        return "this kernel has no such file"
    return error.strerror or str(error)
