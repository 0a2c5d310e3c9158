"""The one loop of the daemon: descriptors, timers, and calls from other threads. Nothing in it may block."""

import contextlib
import heapq
import itertools
import logging
import os
import queue
import selectors
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from pktpath.errors import BadInput, Refused

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_log = logging.getLogger("pktpath.loop")
Value = TypeVar("Value")


class Timer:
    """A call to come; `cancel` takes it back."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        """Never call it."""
        self.callback = None


class Loop:
    """Runs callbacks in the thread that runs it. One that raises is logged, and the loop goes on."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.get_ident()
        self._running = False
        self.on_wake: Callable[[], None] = lambda: None
        """Called whenever the loop was woken: signals."""
        self.watch(self._wake_read, self._woken)

    # Descriptors

    @property
    def selector(self) -> selectors.BaseSelector:
        """Where who has many descriptors registers them itself, with a function of the events as data."""
        return self._selector

    def watch(self, fd: int, read: Callable[[], object] | None, write: Callable[[], object] | None = None) -> None:
        """Call `read` when a descriptor is readable, and `write` when it is writable; replaces what was there."""
        events = (_READ if read else 0) | (_WRITE if write else 0)
        if not events:
            self.forget(fd)
            return

        def happened(events: int) -> None:
            if events & _READ and read:
                read()
            # The callback before it may have closed the descriptor.
            if events & _WRITE and write and fd in self._selector.get_map():
                write()

        if fd in self._selector.get_map():
            self._selector.modify(fd, events, happened)
        else:
            self._selector.register(fd, events, happened)

    def forget(self, fd: int) -> None:
        """Watch it no more."""
        with contextlib.suppress(KeyError, ValueError, OSError):
            self._selector.unregister(fd)

    # Timers

    def after(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call something once, after so many seconds."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def every(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call something again and again; a call that is late moves those after it."""
        timer = Timer(callback)

        def due() -> None:
            if timer.callback is not None:
                try:
                    timer.callback()
                finally:
                    self.after(seconds, due)

        self.after(seconds, due)
        return timer

    # Other threads

    def call(self, function: Callable[[], Value], seconds: float = 5.0) -> Value:
        """Run a function in the loop's thread and return its value; for other threads.

        Raises:
            TimeoutError: the loop did not come to it in time.

        """
        if threading.get_ident() == self._thread:
            return function()
        done: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

        def run() -> None:
            try:
                done.put((True, function()))
            except Exception as error:  # noqa: BLE001  it is raised where it belongs
                done.put((False, error))

        self._calls.put(run)
        self.wake()
        try:
            good, value = done.get(timeout=seconds)
        except queue.Empty:
            message = f"the switch did not answer in {seconds:g} s"
            raise TimeoutError(message) from None
        if not good:
            raise value
        found: Value = value
        return found

    def wake(self) -> None:
        """Make the loop look at its calls; for other threads and signal handlers."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")

    def _woken(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        while not self._calls.empty():
            self._calls.get()()
        self.on_wake()

    # Running

    def run(self) -> None:
        """Run until `stop`."""
        self._thread = threading.get_ident()
        self._running = True
        while self._running:
            self.step()

    def stop(self) -> None:
        """End `run` after this callback."""
        self._running = False

    def step(self, most: float | None = None) -> None:
        """Wait for the next thing, or `most` seconds, and do it."""
        for key, events in self._selector.select(self._wait(most)):
            self._guarded(lambda key=key, events=events: key.data(events))  # type: ignore[misc]
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                self._guarded(timer.callback)

    def _wait(self, most: float | None) -> float | None:
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        waits = [] if most is None else [most]
        if self._timers:
            waits.append(max(0.0, self._timers[0][0] - time.monotonic()))
        return min(waits, default=None)

    def _guarded(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except (BadInput, Refused) as error:
            _log.error("%s", error)
        except Exception:  # noqa: BLE001  one fault must not stop the frames of all others
            _log.exception("a fault of pktpath's own; the switch goes on")

    def close(self) -> None:
        """Give the descriptors back."""
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
