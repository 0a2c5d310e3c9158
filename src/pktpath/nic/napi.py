"""NAPI: who may poll a queue, and when its interrupt may come again.

An instance is *scheduled* by the interrupt of its queue, which stays masked from then on; a softirq
round or a thread of its own polls it until a poll finds less than its weight; `napi_complete_done` gives
it free and says whether the interrupt may be unmasked. What asks for a poll meanwhile leaves MISSED
behind, and the instance is polled once more: no wake-up is lost. One thread owns a CPU's instances, so
nothing here is atomic. Sources: net/core/dev.c, Documentation/networking/napi.rst.
"""

from typing import Any

import numpy as np

from pktpath.jit import inlined
from pktpath.nic.clock import NEVER
from pktpath.nic.lists import push

NAPI_POLL_WEIGHT = 64
BUSY_POLL_BUDGET = 8

SCHED, MISSED, DISABLE, NPSVC, IN_BUSY_POLL, THREADED, SCHED_THREADED = (1 << bit for bit in range(7))
"""NAPI_STATE_*: to be polled; asked for while it was; on the way to be disabled; not to be completed by
a poll (disabled, or netpoll); a busy poller owns it; a thread of its own polls it, and is awake."""

NAPI = np.dtype(
    [
        ("timer", "i8"),
        ("gro_flush_timeout", "i8"),
        ("state", "i4"),
        ("weight", "i4"),
        ("cpu", "i4"),
        ("next", "i4"),
        ("on_list", "i4"),
        ("defer_hard_irqs", "i4"),
        ("defer_hard_irqs_count", "i4"),
        ("spare", "i4"),
    ]
)
"""timer: nanoseconds at which the watchdog schedules the instance, NEVER while it is off; gro_flush_timeout:
nanoseconds; weight: frames in a poll; cpu: whose lists it goes to; next, on_list: in a list of `nic.lists`;
defer_hard_irqs: empty polls that keep the interrupt masked, and how many are left."""


def make_napis(count: int, cpus: int, *, weight: int = NAPI_POLL_WEIGHT) -> Any:
    """Return `count` instances, all disabled as after netif_napi_add, on the CPUs in turn."""
    napis = np.zeros(count, NAPI).view(np.recarray)
    napis.state = SCHED | NPSVC
    napis.weight = weight
    napis.cpu = np.arange(count) % cpus
    napis.timer = NEVER
    return napis


@inlined
def napi_enable(napi, threaded):
    """Let an instance be scheduled. It must be disabled."""
    napi.state = np.int64(napi.state) & ~(SCHED | NPSVC) | (THREADED if threaded else 0)


@inlined
def napi_disable(napi):
    """Stop an enabled instance; False while it is scheduled: call again after its poll. It is not scheduled anew in between."""
    state = np.int64(napi.state) | DISABLE
    if state & (SCHED | NPSVC):
        napi.state = state
        return False
    napi.state = state & ~(DISABLE | THREADED | SCHED_THREADED | MISSED) | SCHED | NPSVC
    napi.timer = NEVER
    return True


@inlined
def napi_schedule_prep(napi):
    """Claim an instance for a poll; False when it is claimed already, which leaves MISSED, or is being disabled."""
    state = np.int64(napi.state)
    if state & DISABLE:
        return False
    if state & SCHED:
        napi.state = state | MISSED
        return False
    napi.state = state | SCHED
    return True


@inlined
def napi_schedule(napis, number, lists):
    """Schedule an instance unless it is scheduled; True when this call did it.

    `lists` are the poll lists (see `nic.lists`): the softirq of the instance's CPU, or its thread, finds it there.
    """
    claimed = napi_schedule_prep(napis[number])
    if claimed:
        to_poller(napis, number, lists)
    return claimed


@inlined
def to_poller(napis, number, lists):
    """Tell whoever polls an instance that it is scheduled."""
    napi = napis[number]
    push(lists, np.int64(napi.cpu) + (len(lists) // 2 if napi.state & THREADED else 0), napis, number)


@inlined
def napi_complete_prepare(napi, work, held):
    """First half of `napi_complete_done`, before held frames are flushed.

    Args:
        work: frames that the poll took.
        held: whether GRO holds frames.

    Returns:
        (timeout, unmask): nanoseconds until the watchdog polls again, 0 without: then nothing may stay held,
        else what is old is flushed only; and whether the interrupt may come again, if nobody else asks for a poll.

    """
    timeout = np.int64(0)
    unmask = True
    if work > 0:
        if held:
            timeout = np.int64(napi.gro_flush_timeout)
        napi.defer_hard_irqs_count = napi.defer_hard_irqs
    if napi.defer_hard_irqs_count > 0:
        napi.defer_hard_irqs_count -= 1
        timeout = np.int64(napi.gro_flush_timeout)
        if timeout > 0:
            unmask = False
    return timeout, unmask


@inlined
def napi_complete_done(napis, number, lists, now, timeout, unmask):
    """Second half: free the instance, or leave it scheduled because someone missed it.

    Returns:
        whether the driver may unmask the interrupt.

    """
    napi = napis[number]
    state = np.int64(napi.state)
    napi.state = state & ~(MISSED | SCHED | SCHED_THREADED) | (SCHED if state & MISSED else 0)
    if state & MISSED:
        to_poller(napis, number, lists)
        return False
    if timeout > 0:
        napi.timer = now + timeout
    return unmask


@inlined
def napi_may_complete(napi):
    """Whether a poll may complete the instance: not while a busy poller or netpoll owns it."""
    return not napi.state & (NPSVC | IN_BUSY_POLL)


@inlined
def napi_watchdog(napis, number, lists):
    """The timer of an instance fired: poll it, unless someone does or it is being disabled."""
    napi = napis[number]
    napi.timer = NEVER
    state = np.int64(napi.state)
    if state & (DISABLE | SCHED):
        return False
    napi.state = state | SCHED
    to_poller(napis, number, lists)
    return True


@inlined
def napi_budget(napi):
    """Return how many frames one poll of an instance may take."""
    return min(np.int64(napi.weight), BUSY_POLL_BUDGET) if napi.state & IN_BUSY_POLL else np.int64(napi.weight)


@inlined
def busy_poll_begin(napi):
    """A reader wants to poll an instance itself; False when someone owns it."""
    state = np.int64(napi.state)
    if state & (DISABLE | SCHED | IN_BUSY_POLL):
        return False
    napi.state = state | SCHED | IN_BUSY_POLL
    return True


@inlined
def busy_poll_end(napi):
    """The reader stops (`busy_poll_stop`): the caller polls once more, which completes the instance.

    Interrupts that found it owned need no poll of their own after that one.
    """
    napi.state = np.int64(napi.state) & ~(IN_BUSY_POLL | MISSED)
