"""The first run of a command compiles kernels: say so, and how far it is."""

import sys
from typing import Any

from pktpath.cli.common import say, steps


def compile_kernels() -> None:
    """Compile what is not yet kept on disk: with a bar on a terminal, else with a line for each kernel that took long."""
    from pktpath.lab.warm import COMPILED_SECONDS, COUNT, warm

    with steps("compiling", COUNT, unit="kernels") as update:

        def report(name: str, number: int, seconds: float | None) -> None:
            if seconds is None:
                update(number - 1, f"compiling {name}")
            elif seconds > COMPILED_SECONDS and not sys.stderr.isatty():
                say(f"compiled {name} ({number} of {COUNT} kernels) in {seconds:.1f} s")

        took = warm(report)
    if took > COUNT * COMPILED_SECONDS:
        say(f"compiled {COUNT} kernels in {took:.0f} s; the next run loads them from disk")


def announce_compiling() -> None:
    """Name each kernel on standard error while it is compiled; what is loaded from disk is silent."""
    from numba.core import event

    import pktpath.jit  # noqa: F401  the cache directory must be set before numba compiles

    event.register("numba:compile", _Announcer())


class _Announcer:
    """A numba event listener: the outermost compilation is the one of a kernel."""

    def __init__(self) -> None:
        self.depth = 0
        self.announced = 0

    def notify(self, event: Any) -> None:
        """Take the start or the end of a compilation."""
        if event.is_start:
            if self.depth == 0:
                self._say(event.data["dispatcher"].py_func.__name__)
            self.depth += 1
        elif event.is_end:
            self.depth -= 1
            if self.depth == 0 and sys.stderr.isatty():
                sys.stderr.write("\r\x1b[K")

    def _say(self, name: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[Kcompiling {name} (this version's first run only)")
            sys.stderr.flush()
        elif not self.announced:
            say("compiling kernels: this version's first run takes about half a minute longer")
        self.announced += 1
