"""The process that measures: alone on its CPU, and alone in its network namespace from the middle on.

Whoever starts it gives the number of a descriptor to write to, and its own process number. One line of JSON
is a step that begins (a label), a figure (five values) or a cost that keeps its default (two).
"""

import gc
import json
import signal
import sys
from collections.abc import Callable
from typing import Any

from pktpath.lab.calibrate_clock import measure_ipi, measure_irq, measure_wake
from pktpath.lab.calibrate_copy import measure_byte
from pktpath.lab.calibrate_figures import BLOCKS, Figure, Missing, Unmeasurable, figure
from pktpath.lab.calibrate_frames import HOW, Frames
from pktpath.lab.calibrate_process import die_with_parent, idlest_cpus, pin, write_all

_INTERRUPTS, _IPI_SECONDS, _WAKES, _COPIES = 10_000, 1.0, 4000, 45
Tell = Callable[[Any], object]


def work(tell: Tell) -> None:
    """Measure everything; a cost that cannot be measured is told too."""
    gc.disable()
    cpu, *others = idlest_cpus()
    other = others[0] if others else None
    tell("interrupts")
    _try(tell, ("irq",), lambda: [measure_irq(cpu, _INTERRUPTS)])
    tell("interrupts between CPUs")
    _try(tell, ("ipi",), lambda: [measure_ipi(cpu, other, _IPI_SECONDS)])
    tell("wake-ups")
    _try(tell, ("wake",), lambda: [measure_wake(cpu, _WAKES)])
    tell("copying")
    _try(tell, ("byte",), lambda: [measure_byte(cpu, _COPIES)])
    tell("devices in a network namespace")
    _try(tell, tuple(HOW), lambda: _frames(cpu, tell))


def _try(tell: Tell, costs: tuple[str, ...], measure: Callable[[], list[Figure | Missing]]) -> None:
    found: list[Figure | Missing]
    try:
        found = measure()
    except Unmeasurable as why:
        found = [Missing(cost, str(why)) for cost in costs]
    except OSError as error:
        found = [Missing(cost, f"the kernel refused ({error.strerror or error})") for cost in costs]
    for one in found:
        tell(one)


def _frames(cpu: int, tell: Tell) -> list[Figure | Missing]:
    pin(cpu)
    frames = Frames()
    blocks = []
    for number in range(BLOCKS):
        tell(f"polls, GRO and TCP, {number + 1} of {BLOCKS}")
        blocks.append(frames.block())
    return [figure(cost, [block[cost] for block in blocks], how) for cost, how in HOW.items()]


def main(descriptor: int, parent: int) -> None:
    """Work for a parent process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(parent)
    work(lambda message: write_all(descriptor, json.dumps(message).encode() + b"\n"))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
