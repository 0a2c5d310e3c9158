"""One CPU serves nearly all received frames while others idle.

The NET_RX softirq runs where the interrupt arrived, so a device with one queue, or whose queues all interrupt one CPU, keeps one
CPU busy with receiving, and this CPU's speed is the host's. Receive side scaling (more queues), interrupt affinity or receive
packet steering spread it, flow by flow. Source: Documentation/networking/scaling.rst.

Speaks when, between two looks, one CPU took 90 % or more of at least 5,000 frames a second (/proc/net/softnet_stat; without it,
did that part of 5,000 NET_RX softirqs, of which a busy CPU needs fewer: one serves up to 300 frames), spent half of its time or
more in softirqs, and another CPU idled half of its time or more. All three must be known (/proc/stat twice as well, or mpstat):
where programs on the same host talk to each other, softirqs run beside the program that sends, and one CPU is right. Silent
without the times.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case, Change
from pktpath.doctor.facts.host import Counter, CpuTime
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.rules._cpus import cpu_shares
from pktpath.doctor.rules._protocols import evidence
from pktpath.doctor.rules._queues import devices
from pktpath.doctor.rules._softnet import frames
from pktpath.doctor.rules._steering import rps

_MOST, _RATE, _BUSY, _IDLE = 0.9, 5_000, 0.5, 0.5


@rule(
    Counter, CpuTime, ask="cat /proc/softirqs /proc/net/softnet_stat /proc/stat twice, some seconds apart",
    well="No CPU is busy with received frames while others idle.", topic="rps",
)  # fmt: skip
def softirq_on_one_cpu(case: Case) -> Iterator[Finding]:
    """One finding."""
    softirqs = [change for change in case.changes("softirq", "NET_RX", scope="") if change.twice and change.rate is not None]
    taken = list(frames(case).values())
    changes, what = (taken, "frames") if _rate(taken) >= _RATE else (softirqs, "NET_RX softirqs")
    shares = cpu_shares(case)
    total = sum(change.rise for change in changes)
    if len(changes) < 2 or _rate(changes) < _RATE:
        return
    top = max(changes, key=lambda change: change.rise)
    cpu = int(top.counter.owner.removeprefix("cpu"))
    idle = [share for share in shares.values() if share.cpu != cpu and share.idle >= _IDLE]
    if top.rise < _MOST * total or cpu not in shares or shares[cpu].softirq < _BUSY or not idle:
        return
    single = [device for device in devices(case) if device.known and len(device.queues) == 1]
    yield Finding(
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        summary=f"CPU {cpu} serves {100 * top.rise / total:.0f} % of all received frames ({top.rate or 0:,.0f} {what} "
        f"a second) and is {100 * shares[cpu].softirq:.0f} % busy with softirqs, while CPU {idle[0].cpu} idles "
        f"{100 * idle[0].idle:.0f} % of its time.",
        evidence=(*evidence(top), shares[cpu].place, idle[0].place),
        why="Frames are served by the CPU that took their interrupt. The host receives no faster than this one CPU.",
        about=f"CPU {cpu}",
        remedies=tuple(rps(device.dev, len(changes)) for device in single[:1]),
        proof="mpstat -P ALL 5 1 and /proc/interrupts twice, under load: which interrupts does this CPU take? One flow alone "
        "cannot be spread.",
    )  # fmt: skip


def _rate(changes: list[Change]) -> float:
    return sum(change.rate or 0 for change in changes)
