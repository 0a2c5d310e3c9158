"""The first run of a command compiles kernels: say so, and how far it is."""

import sys

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
    from pktpath.jit import on_compile

    announced: list[str] = []

    def start(name: str) -> None:
        announced.append(name)
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[Kcompiling {name} (this version's first run only)")
            sys.stderr.flush()
        elif len(announced) == 1:
            say("compiling kernels: this version's first run takes about half a minute longer")

    def end() -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")

    on_compile(start, end)
