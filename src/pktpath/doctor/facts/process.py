"""Facts about a process: its threads, memory, files, system calls and call stacks."""

from dataclasses import dataclass

from pktpath.doctor.facts.base import Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Process(Fact):
    """A process, of which the other facts tell."""

    identity = ("pid",)
    pid: int
    name: str
    """What runs: `ovs-vswitchd`."""
    command: str = ""
    """With its arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread(Fact):
    """A thread of `ps -L` or `top -H`."""

    identity = ("tid",)
    pid: int
    """0 where the table does not say (top -H shows the thread's number only)."""
    tid: int
    name: str
    """The kernel's 15 letters, fewer where top cut them (`pmd-c01/i+`)."""
    state: str
    """R, S, D, T, t, Z, I."""
    cpu: float
    """Per cent of a core: of its whole life (ps) or of the last interval (top, a live look)."""
    recent: bool = False
    """Whether `cpu` is of an interval rather than of its life."""
    processor: int | None = None
    policy: str = ""
    """`TS`, `FF`, `RR`, where shown."""
    voluntary: int | None = None
    involuntary: int | None = None
    """Context switches so far (/proc/PID/task/TID/status)."""
    delayed: float | None = None
    """Per cent of the interval that it was ready to run and another thread had the CPU (schedstat)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping(Fact):
    """A line of `pmap -x`: a range of the address space. Sizes in KiB."""

    identity = ("pid", "address")
    pid: int
    address: int
    size: int
    resident: int
    dirty: int
    mode: str
    """`r-x--`, `rw-s-`."""
    name: str
    """File, `[ anon ]`, `[ stack ]`; with ` (deleted)` where it says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFile(Fact):
    """A line of `lsof`."""

    identity = ("pid", "fd", "name")
    pid: int
    fd: str
    """`15u`, `mem`, `txt`, `DEL`, `cwd`."""
    kind: str
    """lsof's TYPE: `REG`, `CHR`, `unix`, `netlink`, `a_inode`, `IPv4`, `sock`, `pack`."""
    name: str
    """`/dev/net/tun`, `[eventpoll]`, `ROUTE`, a path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace(Fact):
    """A run of strace: whom it watched."""

    identity = ("pid", "summary")
    pid: int
    threads: int
    """Threads that it attached to."""
    followed: bool
    """Whether all threads (-f) were watched; without, it is one thread of perhaps many."""
    summary: bool
    """Whether it counted (-c) instead of printing calls."""
    seconds: float | None = None
    """How long it watched, where known."""
    calls: int = 0
    """System calls seen in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Syscall(Fact):
    """A system call of `strace -c`, or counted from the lines of strace."""

    identity = ("pid", "tid", "name")
    pid: int
    """Process or thread that strace was told to watch; 0 where the table does not say."""
    tid: int
    """The thread, from lines of `strace -f`; 0 for all together."""
    name: str
    calls: int
    errors: int
    seconds: float | None = None
    """In the call, as -c says; None from lines without -T."""
    errnos: tuple[tuple[str, int], ...] = ()
    """How often each, most frequent first: (`EAGAIN`, 639); empty from -c."""
    bytes: int | None = None
    """What calls that send or receive returned, together; None from -c and for others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyDescriptor(Fact):
    """A descriptor that poll or epoll reported, in the lines of strace, and what the calls that followed got from it."""

    identity = ("pid", "tid", "fd")
    pid: int
    tid: int
    fd: int
    reported: int
    """Times that poll, ppoll, select or epoll_wait named it as ready."""
    delivered: int
    """Times that a read, recv or accept on it then succeeded before the next poll."""
    empty: int
    """Times that such a call failed with EAGAIN although it was reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack(Fact):
    """A call stack of pstack, gdb or eu-stack, innermost function first; `??` where symbols are missing."""

    identity = ("tid",)
    pid: int
    tid: int
    name: str
    """The thread's name where the tool says it."""
    frames: tuple[str, ...]
    """Names of functions."""
