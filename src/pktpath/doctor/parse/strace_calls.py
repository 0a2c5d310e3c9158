"""Counts the lines of strace: calls and errors of each thread, and what the calls after a poll got from the descriptors it named.

A long trace has some hundred thousand lines a second of reading: each is searched for its last ` = ` and its first bracket, and
regular expressions see only what polls and what is odd. What stands before a bracket is remembered, as it is the same again and
again where no time is printed.
"""

import re
from collections.abc import Iterator
from itertools import islice

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.process import ReadyDescriptor, Syscall
from pktpath.doctor.parse.section import Line, Section

MAX_KINDS = 8192
"""Pairs of thread and call that are told apart, and descriptors; those after them are put together."""
_HEAD = re.compile(
    r"(?:\[pid\s{1,8}(\d{1,10})\] |(\d{1,10}) {1,4}(?=\D|\d{1,10}\.\d|\d\d:))?"
    r"(\d\d:\d\d:\d\d(?:\.\d{1,9})? |\s{0,6}\d{1,10}\.\d{6,9} )?([a-z_]\w{0,40})$"
)
_RESUMED = re.compile(
    r"(?:\[pid\s{1,8}(\d{1,10})\] |(\d{1,10}) {1,4}(?=\D|\d{1,10}\.\d|\d\d:))?"
    r"(\d\d:\d\d:\d\d(?:\.\d{1,9})? |\s{0,6}\d{1,10}\.\d{6,9} )?<\.\.\. ([a-z_]\w{0,40}) resumed>"
)
_SECONDS = re.compile(r"\d{1,9}\.\d{1,9}$")
_POLLS = frozenset(("poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2"))
_READS = frozenset(("read", "readv", "recvfrom", "recvmsg", "recvmmsg", "recv", "accept", "accept4", "pread64"))
_MOVES = frozenset(("recvfrom", "recvmsg", "recv", "sendto", "sendmsg", "send"))
_DESCRIPTOR = re.compile(r"\((\d{1,7})(?=[,<)])")
_REVENTS = re.compile(r"fd=(\d{1,7})(?:<[^>]{0,200}>)?, revents=([A-Z|]{1,80})")
_EPOLL = re.compile(r"EPOLLIN[A-Z|]{0,80}, (?:data=)?\{u32=(\d{1,7}), u64=(\d{1,7})\}")
_SELECT = re.compile(r"\(in \[([\d ]{1,4000})\]")


class _Call:
    """One system call of one thread."""

    __slots__ = ("calls", "errnos", "errors", "first", "moved", "name", "polls", "reads", "seconds", "tid", "timed")

    def __init__(self, tid: int, name: str, first: Line) -> None:
        self.tid, self.name, self.first = tid, name, first
        self.calls = self.errors = 0
        self.errnos: dict[str, int] = {}
        self.seconds, self.timed = 0.0, False
        self.moved: int | None = 0 if name in _MOVES else None
        self.polls, self.reads = name in _POLLS, name in _READS


class _Ready:
    """A descriptor that poll named."""

    __slots__ = ("at", "delivered", "empty", "reported")

    def __init__(self, at: Line) -> None:
        self.at = at
        self.reported = self.delivered = self.empty = 0


class Calls:
    """What a trace's lines tell."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.seen = 0
        """Calls."""
        self._calls: dict[tuple[int, str], _Call] = {}
        self._heads: dict[str, _Call] = {}
        self._timed: dict[tuple[str, str], _Call] = {}
        self._ready: dict[tuple[int, int], _Ready] = {}
        self._named: dict[int, set[int]] = {}
        """Of each thread, the descriptors that its last poll named and nothing was asked of yet."""
        self._open: dict[int, str] = {}
        """Of each thread, the beginning of the call that another one interrupted."""
        self._partial: tuple[Line, _Call, str, int] | None = None
        """A wrapped line that waits for its result."""
        self._first_time = self._last_time = ""
        self._relative = 0.0

    @property
    def threads(self) -> int:
        """Return how many threads the lines name."""
        return len({call.tid for call in self._calls.values()} - {0}) or (1 if self._calls else 0)

    @property
    def seconds(self) -> float | None:
        """Return how long the lines took, by their times; None without."""
        if self._relative:
            return self._relative
        before, after = _clock(self._first_time), _clock(self._last_time)
        # A trace over midnight says nothing.
        return after - before if before is not None and after is not None and after > before else None

    def take(self, line: Line) -> bool:
        """Count a line; False for one that is no call."""
        text = line.text
        end = text.find("(")
        head = text[:end]
        call = self._heads.get(head) if end > 0 else None
        if call is None and self._first_time and len(words := head.rsplit(" ", 2)) > 1:
            # With times no two heads are equal; what stands around the time is.
            call = self._timed.get((words[0] if len(words) > 2 else "", words[-1]))
            if call is not None:
                if ":" in words[-2]:
                    self._last_time = words[-2]
                else:
                    self._time(words[-2])
        if call is None:
            if self._partial is not None and not (end > 0 and _HEAD.match(head)):
                return self._join(line)
            if end < 0 or (call := self._call(head, line)) is None:
                return self._resume(line) if "<... " in text[:60] else False
        if self._partial is not None:
            self.end()
        at = text.rfind(" = ")
        if at < end:
            if text.endswith("<unfinished ...>"):
                if len(self._open) < MAX_KINDS:
                    self._open[call.tid] = text[end : end + 400]
                return True
            self._partial = (line, call, text, end)
            return True
        self._count(call, text, end, text[at + 3 :], line)
        return True

    def end(self) -> None:
        """Count a call whose result is missing: the trace ends, or goes on with another call."""
        if self._partial is not None:
            line, call, text, end = self._partial
            self._partial = None
            self._count(call, text, end, "", line)

    def facts(self, section: Section, pid: int, many: bool) -> Iterator[Fact]:
        """Return what was counted; calls without a number are those of the thread that was watched, if it was one."""
        for call in self._calls.values():
            yield Syscall(
                at=section.place(call.first), pid=pid, tid=call.tid or (0 if many else pid), name=call.name, calls=call.calls,
                errors=call.errors, seconds=call.seconds if call.timed else None,
                errnos=tuple(sorted(call.errnos.items(), key=lambda item: -item[1])),
                bytes=call.moved,
            )  # fmt: skip
        for (tid, fd), ready in self._ready.items():
            yield ReadyDescriptor(
                at=section.place(ready.at), pid=pid, tid=tid or (0 if many else pid), fd=fd, reported=ready.reported,
                delivered=ready.delivered, empty=ready.empty,
            )  # fmt: skip

    def _call(self, head: str, line: Line) -> _Call | None:
        if len(head) > 120 or not (found := _HEAD.match(head)):
            return None
        if found[3]:
            self._time(found[3])
        call = self._kind(int(found[1] or found[2] or 0), found[4], line)
        if len(self._heads) + len(self._timed) < MAX_KINDS:
            if found[3]:
                words = head.rsplit(" ", 2)
                self._timed[words[0] if len(words) > 2 else "", words[-1]] = call
            else:
                self._heads[head] = call
        return call

    def _kind(self, tid: int, name: str, line: Line) -> _Call:
        call = self._calls.get((tid, name))
        if call is None:
            if len(self._calls) >= MAX_KINDS:
                tid, name = 0, "(others)"
            call = self._calls.setdefault((tid, name), _Call(tid, name, line))
        return call

    def _time(self, text: str) -> None:
        word = text.strip()
        if ":" not in word and len(word) < 16 and word.find(".") < 8:
            # -r: seconds since the call before.
            self._relative += float(word) if _SECONDS.match(word) else 0.0
        self._first_time = self._first_time or word
        self._last_time = word

    def _count(self, call: _Call, text: str, end: int, result: str, line: Line) -> None:
        self.seen += 1
        call.calls += 1
        failed = ""
        if result[:3] == "-1 ":
            failed = result[3 : result.find(" ", 4)]
            call.errors += 1
            if failed in call.errnos:
                call.errnos[failed] += 1
            elif len(call.errnos) < 64 and failed[:1] == "E" and len(failed) < 24:
                if call.errors == 1:
                    call.first = line
                call.errnos[failed] = 1
        elif call.moved is not None and (word := result.partition(" ")[0]).isdecimal() and len(word) < 10:
            call.moved += int(word)
        if result[-1:] == ">":
            call.timed = True
            call.seconds += _spent(result)
        if call.polls:
            self._poll(call, text, result, line)
        elif call.reads and (named := self._named.get(call.tid)) and (fd := _DESCRIPTOR.match(text, end)):
            self._read(call.tid, int(fd[1]), named, failed, result, line)

    def _poll(self, call: _Call, text: str, result: str, line: Line) -> None:
        named: set[int] = set()
        if result[:1] in "123456789" and result:
            if call.name in ("poll", "ppoll"):
                named = {int(fd) for fd, events in islice(_REVENTS.findall(result[:65536]), 1024) if "IN" in events}
            elif call.name.startswith("epoll"):
                pairs = islice(_EPOLL.findall(text[:65536]), 1024)
                named = {int(small) for small, large in pairs if small == large}
            elif found := _SELECT.search(result):
                named = {int(fd) for fd in found[1].split()[:1024] if len(fd) < 8}
        if len(self._named) < MAX_KINDS or call.tid in self._named:
            self._named[call.tid] = named
        for fd in named:
            if (ready := self._ready.get((call.tid, fd))) is None:
                if len(self._ready) >= MAX_KINDS:
                    continue
                ready = self._ready[call.tid, fd] = _Ready(line)
            ready.reported += 1

    def _read(self, tid: int, fd: int, named: set[int], failed: str, result: str, line: Line) -> None:
        if fd not in named:
            return
        named.discard(fd)
        if ready := self._ready.get((tid, fd)):
            if failed == "EAGAIN":
                if not ready.empty:
                    ready.at = line
                ready.empty += 1
            elif not failed and result[:1].isdigit():
                if not ready.delivered and not ready.empty:
                    ready.at = line
                ready.delivered += 1

    def _resume(self, line: Line) -> bool:
        found = _RESUMED.match(line.text)
        if not found:
            return False
        if found[3]:
            self._time(found[3])
        tid = int(found[1] or found[2] or 0)
        begun = self._open.pop(tid, "(")
        text = begun.removesuffix("<unfinished ...>") + line.text[found.end() :]
        at = text.rfind(" = ")
        if at < 0:
            return True
        self._count(self._kind(tid, found[4], line), text, 0, text[at + 3 :], line)
        return True

    def _join(self, line: Line) -> bool:
        """Put a wrapped line behind the call that waits for its result."""
        assert self._partial is not None
        first, call, text, end = self._partial
        text += line.text
        at = text.rfind(" = ")
        if at < end:
            if line.text and len(text) < 1 << 16 and line.number - first.number < 16:
                self._partial = (first, call, text, end)
                return True
            self.end()
            return False
        self._partial = None
        self._count(call, text, end, text[at + 3 :], first)
        return True


def _spent(result: str) -> float:
    """Return the seconds in angle brackets (-T)."""
    word = result[result.rfind("<") + 1 : -1]
    return float(word) if _SECONDS.match(word) else 0.0


def _clock(word: str) -> float | None:
    if found := re.fullmatch(r"(\d\d):(\d\d):(\d\d(?:\.\d{1,9})?)", word):
        return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])
    return float(word) if re.fullmatch(r"\d{1,12}\.\d{6,9}", word) else None
