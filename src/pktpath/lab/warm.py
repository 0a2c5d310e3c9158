"""Compile every kernel that the commands need, one after the other, and say so.

Numba compiles a kernel when it is first called with arguments of these types, and keeps the code
on disk; a later process loads it in milliseconds. So each step here is a small call.
"""

from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter
from typing import NamedTuple

COMPILED_SECONDS = 0.7
"""A step that takes longer than this has compiled something; loading from disk takes less."""


class Step(NamedTuple):
    """One kernel: its name and a call that compiles it."""

    name: str
    call: Callable[[], object]


def steps() -> Iterator[Step]:
    """Yield the kernels in an order in which each is called on what the one before has left.

    Importing and preparing happen between the steps, so that a bar moves when a kernel is ready.
    """
    from pktpath.batch import release
    from pktpath.features import Feature
    from pktpath.lab import demo, traffic
    from pktpath.lab.same import first_difference
    from pktpath.path.forward import make_way, receive, send, transmit
    from pktpath.pool import make_pool
    from pktpath.port import memory

    frame = bytes(60)
    yield Step("parse", lambda: memory.load([frame]))
    plan = traffic.bulk(1, 2)
    yield Step("traffic", lambda: traffic.frames(plan))
    batch = traffic.frames(plan, header=16, normal=4)
    way = make_way(batch.pool, 4, Feature.GRO)
    yield Step("gro", lambda: receive(way, batch))
    yield Step("gso", partial(send, way))
    transmit(way)
    yield Step("release", lambda: release(way.wire))
    one, other = memory.load([frame], pool=make_pool(window=64)), memory.load([frame])
    yield Step("compare", lambda: first_difference(one, other))
    yield Step("the way", partial(demo.run, next(demo.cases(4))))


COUNT = 7
"""Steps that `steps` yields."""


def warm(report: Callable[[str, int, float | None], object]) -> float:
    """Run every step and return the seconds that all took.

    `report(name, number, seconds)` is called before each step, with None, and after it.
    """
    begin = perf_counter()
    for number, step in enumerate(steps(), 1):
        report(step.name, number, None)
        before = perf_counter()
        step.call()
        report(step.name, number, perf_counter() - before)
    return perf_counter() - begin
