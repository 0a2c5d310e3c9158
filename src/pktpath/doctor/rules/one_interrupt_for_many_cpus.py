"""A device with a single receive queue keeps one CPU of many busy.

With one queue there is one interrupt, and one CPU serves all that the device receives. More queues (`ethtool -L`, or more of them
given to a virtual machine) spread flows in the device; receive packet steering spreads them in software behind the driver's poll.
Source: Documentation/networking/scaling.rst.

Speaks when, between two looks, the only receive queue of a device interrupted 1,000 times a second or more, all at one CPU, this
CPU spent half of its time or more in softirqs, and another idled half of its time or more. A CPU with too much to do is hardly
interrupted, as NAPI polls on: 50 times are enough, with less confidence, where the CPU took 5,000 frames a second or more
(/proc/net/softnet_stat) and no other device's queue interrupted it as often. Silent when steering is on
already (`rps_cpus` is not 0), and without the CPUs' times.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import Channels
from pktpath.doctor.facts.host import CpuTime, Interrupt, Setting
from pktpath.doctor.finding import Confidence, Finding, Severity, rule
from pktpath.doctor.remedy import channels
from pktpath.doctor.rules._cpus import cpu_shares
from pktpath.doctor.rules._queues import Device, cpu_count, devices
from pktpath.doctor.rules._softnet import frames
from pktpath.doctor.rules._steering import rps

_MOST, _RATE, _BUSY, _IDLE = 0.9, 1_000, 0.5, 0.5
_POLLED, _FRAMES = 50, 5_000


@rule(
    Interrupt, CpuTime, ask="cat /proc/interrupts /proc/net/softnet_stat /proc/stat twice, some seconds apart",
    well="No device with a single queue keeps one CPU busy while others idle.", topic="rss",
)  # fmt: skip
def one_interrupt_for_many_cpus(case: Case) -> Iterator[Finding]:
    """One finding a device."""
    shares = cpu_shares(case)
    for device in devices(case):
        counts = device.by_cpu()
        total = sum(counts.values())
        if len(device.queues) != 1 or device.rate is None or not total:
            continue
        cpu = max(counts, key=lambda one: counts[one])
        if device.rate < _RATE and not _polled(case, device, cpu):
            continue
        idle = [share for share in shares.values() if share.cpu != cpu and share.idle >= _IDLE]
        if (
            counts[cpu] < _MOST * total
            or cpu not in shares
            or shares[cpu].softirq < _BUSY
            or not idle
            or _steered(case, device.dev)
        ):
            continue
        more = [
            channels(
                one.dev, one.which, min(one.maximum, cpu_count(case)), one.current,
                effect="The device spreads flows over that many queues.", cost="The link goes down for a moment.",
            )
            for one in case.latest(Channels)
            if one.dev == device.dev and one.which in ("combined", "rx") and one.current and (one.maximum or 0) > one.current
            if one.maximum
        ]  # fmt: skip
        yield Finding(
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY if device.rate >= _RATE else Confidence.POSSIBLE,
            summary=f"{device.dev} has one receive queue, whose {device.rate:,.0f} interrupts a second"
            f"{' and the polls that follow' if device.rate < _RATE else ''} keep CPU {cpu} "
            f"{100 * shares[cpu].softirq:.0f} % busy with softirqs while {len(idle)} other CPUs idle.",
            evidence=(device.queues[0].last.at, shares[cpu].place, idle[0].place),
            why="One queue has one interrupt, and one CPU serves all that arrives.",
            about=device.dev,
            remedies=(*more, *((rps(device.dev, cpu_count(case)),) if device.known else (rps("DEV", cpu_count(case)),))),
            proof="mpstat -P ALL 5 1 under load, and ip -s link twice: does this device receive? One flow alone cannot be spread",
        )


def _polled(case: Case, device: Device, cpu: int) -> bool:
    """Return whether the CPU takes many frames with few interrupts, and this device's are the most of them."""
    taken = frames(case).get(cpu)
    most = max(other.by_cpu().get(cpu, 0) for other in devices(case))
    return (device.rate or 0) >= _POLLED and device.by_cpu()[cpu] >= most and taken is not None and (taken.rate or 0) >= _FRAMES


def _steered(case: Case, dev: str) -> bool:
    return any(
        one.where == "sysfs"
        and one.name.startswith(f"{dev}/queues/rx-")
        and one.name.endswith("/rps_cpus")
        and one.value.strip("0,")
        for one in case.latest(Setting)
    )
