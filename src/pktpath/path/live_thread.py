"""One datapath thread from Python's side: start, pause, wake, and what the compiled loop needs around it."""

import ctypes
import os
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pktpath.path.live_loop import link, run
from pktpath.path.live_types import Context, Control, Setting
from pktpath.path.live_upcall import settle

_PR_SET_TIMERSLACK, _SLACK_NS = 29, 1000
_NEWS = (1).to_bytes(8, "little")


class LiveThread:
    """A worker and the thread that runs it: all compiled, without the interpreter lock."""

    def __init__(self, context: Context, *, core: int | None, poll: bool) -> None:
        """Make it ready; `core` pins it, `poll` lets it never sleep in epoll."""
        self.context = context
        worker = self.worker = context.worker
        self.core = core
        self.poll = poll
        self.event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.epoll = select.epoll()
        self.epoll.register(self.event, select.EPOLLIN)
        worker.settings[Setting.EVENT] = self.event
        self._fds: set[int] = set()
        self._restless = 0
        self._go = threading.Semaphore(0)
        """One turn of `_main` each; a pause that follows a resume at once finds the thread on its way, not forgotten."""
        self._rests = threading.Event()
        self._rests.set()
        self._ended = False
        self.counted_since = time.monotonic_ns()
        """When its counters began at zero."""
        self.upcall_ns = 0
        """What the slow path spent on its upcalls."""
        self._paused = 1
        self.failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._linked = False

    def start(self) -> None:
        """Start the thread and let it run; what is not compiled yet is compiled first."""
        self._link()
        # A turn here, so that the loop itself is compiled too before anybody believes that frames are forwarded.
        self.worker.control[Control.STOP] = 1
        run(self.context)
        self._thread = threading.Thread(target=self._main, name=f"pmd-{self.core}" if self.poll else "datapath", daemon=True)
        self._thread.start()
        self.resume()

    def _link(self) -> None:
        if not self._linked:
            link(self.context)
            self._linked = True

    def turn(self) -> None:
        """Serve in the caller's thread until a turn brings nothing more: for a worker that was not started."""
        self._link()
        self.worker.control[Control.STOP] = 1
        run(self.context)

    def _main(self) -> None:
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, _SLACK_NS, 0, 0, 0)
        if self.core is not None:
            os.sched_setaffinity(0, {self.core})
        while True:
            self._go.acquire()
            if self._ended:
                return
            try:
                run(self.context)
            except BaseException as failure:  # noqa: BLE001  told by whoever looks; a thread has nobody to raise to
                self.failure = failure
            self._rests.set()

    def wake(self) -> None:
        """Make it look again if it sleeps."""
        settle()
        if self.worker.control[Control.ASLEEP]:
            os.write(self.event, _NEWS)

    def pause(self) -> None:
        """Make it finish what it has in hand and wait; calls nest."""
        self._paused += 1
        if self._paused > 1:
            return
        self.worker.control[Control.STOP] = 1
        os.write(self.event, _NEWS)
        self._rests.wait()

    def resume(self) -> None:
        """Let it run again after as many calls as it was paused."""
        self._paused -= 1
        if self._paused or self._thread is None:
            return
        self.worker.control[Control.STOP] = 0
        sleeps = not self.poll and not self._restless
        self.worker.settings[Setting.EPOLL] = self.epoll.fileno() if sleeps else -1
        self._rests.clear()
        self._go.release()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pause for a while."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    @property
    def epoch(self) -> int:
        """What changes with every turn; -1 while no turn is under way."""
        if self._paused or self.worker.control[Control.ASLEEP]:
            return -1
        return int(self.worker.control[Control.ITERATIONS])

    def watch(self, fd: int) -> None:
        """Let it sleep only as long as this queue has nothing; -1 is a queue that always has something."""
        if fd < 0:
            self._restless += 1
        elif fd not in self._fds:
            self.epoll.register(fd, select.EPOLLIN)
            self._fds.add(fd)

    def forget(self, fd: int) -> None:
        """Watch a queue no more."""
        if fd < 0:
            self._restless -= 1
        elif fd in self._fds:
            self._fds.discard(fd)
            # A deleted interface or a closed file has left the epoll already.
            try:
                self.epoll.unregister(fd)
            except OSError:
                return

    def end(self) -> None:
        """End the thread for good."""
        if self._thread is not None:
            self.pause()
            self._ended = True
            self._go.release()
            self._thread.join()
            self._thread = None
        self.epoll.close()
        os.close(self.event)
