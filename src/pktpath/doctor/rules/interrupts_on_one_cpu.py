"""All queues of a device interrupt the same CPU.

A device with several receive queues sorts flows into them so that several CPUs can serve them. That comes to nothing when the
interrupts of all queues are delivered to one CPU: without irqbalance and without a driver that spreads them itself, the kernel
leaves them where it put them first. Source: Documentation/networking/scaling.rst, Documentation/core-api/irq/irq-affinity.rst.

Speaks when two or more queues of a device were interrupted, 95 % or more of that at one CPU of several, at 1,000 a second or more
between two looks; for one look, when there were at least a million since the start. Below, one CPU serves them with ease.
A note only where the kernel was started with isolcpus, nohz_full or irqaffinity: then somebody wants it so.
Silent for devices with one queue, and where only one queue is used.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.host import Interrupt, Setting
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._queues import cpu_count, delivered, devices, kept_free
from pktpath.doctor.rules._steering import irq_affinity

_MOST, _RATE, _TOTAL = 0.95, 1_000, 1_000_000


@rule(
    Interrupt,
    ask="cat /proc/interrupts twice, some seconds apart",
    well="The queues of each device interrupt several CPUs.",
    topic="rss",
)
def interrupts_on_one_cpu(case: Case) -> Iterator[Finding]:
    """One finding a device."""
    wanted = kept_free(case)
    for device in devices(case):
        # A queue with one frame in a thousand takes no part.
        counts = device.by_cpu()
        total = sum(counts.values())
        used = [pair for pair in device.queues if sum(delivered(pair).values()) * 1000 > total]
        if len(used) < 2 or cpu_count(case) < 2 or not total:
            continue
        cpu = max(counts, key=lambda one: counts[one])
        enough = device.rate >= _RATE if device.rate is not None else total >= (10_000 if device.twice else _TOTAL)
        if counts[cpu] < _MOST * total or not enough:
            continue
        span = f"{device.rate:,.0f} a second" if device.rate is not None else (
            f"{total:,} between two looks" if device.twice else f"{total:,} since the start"
        )  # fmt: skip
        moved = used[1].last
        other = next(one for one in moved.cpus if one != cpu)
        before = next((one.value for one in case.latest(Setting) if one.where == "irq" and one.name == moved.irq), "")
        yield Finding(
            severity=Severity.NOTE if wanted else Severity.WARNING,
            confidence=Confidence.CERTAIN if device.twice else Confidence.POSSIBLE,
            summary=f"{len(used)} queues of {device.dev} deliver {100 * counts[cpu] / total:.1f} % of their interrupts to CPU "
            f"{cpu} ({span}), so one CPU of {cpu_count(case)} does the work of all queues."
            + (f" {wanted.name}={wanted.value} asks for that." if wanted else ""),
            evidence=tuple(pair.last.at for pair in used[:5]) + ((wanted.at,) if wanted else ()),
            why="The device spreads flows over its queues, but each queue is served where its interrupt arrives.",
            about=device.dev,
            remedies=()
            if wanted
            else (
                irq_affinity(
                    moved.irq, str(other), before, f"Queue {moved.label} is served by CPU {other}; do the same for the others.",
                ),
            ),
            proof="" if device.twice else "grep . /proc/irq/*/smp_affinity_list; and /proc/interrupts twice, 10 s apart",
        )  # fmt: skip
