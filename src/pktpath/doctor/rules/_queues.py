"""Interrupts of receive queues, by the device that they belong to.

Drivers name them as they like: `eth0-TxRx-3` (Intel), `eth0-Tx-Rx-3` (ena), `eth0-rx-3`, `eth0-fp-3` (bnx2x), `eth0-3`,
`virtio0-input.3`, `mlx5_comp3@pci:0000:03:00.0`, `gve-ntfy-blk3@pci:…`. Interrupts that only complete sending, or tell of links,
are left out, and so is `virtio3-rx`, which is a vsock.
"""

import re
from dataclasses import dataclass, field

from pktpath.doctor.case import Case, Pair
from pktpath.doctor.facts.device import Driver
from pktpath.doctor.facts.host import Interrupt, Setting

_NAMES = (
    re.compile(r"(?:i40e|ice|iavf|ixgbe|idpf|mlx4|qede|nfp|bnxt_en)-(?P<dev>[\w.]+)-(?:TxRx|rx|rxtx|fp)?-?(?P<queue>\d+)$"),
    re.compile(r"(?P<dev>(?!nvme|virtio)[a-zA-Z][\w.]*?)-(?:TxRx|Tx-Rx|rx|Rx|rxtx|fp|rx_tx|q)-?(?P<queue>\d+)(?:-rx)?$"),
    re.compile(r"(?P<dev>(?:eth|en[opsx]|em|p\d+p)[\w.]*)-(?P<queue>\d+)$"),
    re.compile(r"(?P<dev>virtio\d+)-input\.(?P<queue>\d+)$"),
    re.compile(r"(?P<dev>(?:mlx[45]_comp|gve-ntfy-blk|mana_q))(?P<queue>\d+)@(?:pci:)?(?P<bus>[\da-f:.]+)$"),
)
_BUS = re.compile(r"\b([\da-f]{4}:[\da-f]{2}:[\da-f]{2}\.\d)\b")


@dataclass(frozen=True, slots=True)
class Device:
    """Interrupts of a device's receive queues between the looks; since the start where there was one."""

    dev: str
    """Its name where the interrupts or `ethtool -i` tell it, else what the interrupts call it."""
    known: bool
    """Whether `dev` is the name of a network device."""
    queues: list[Pair[Interrupt]] = field(default_factory=list)

    def by_cpu(self) -> dict[int, int]:
        """Return how many each CPU served."""
        counts: dict[int, int] = {}
        for pair in self.queues:
            for cpu, count in delivered(pair).items():
                counts[cpu] = counts.get(cpu, 0) + count
        return counts

    @property
    def twice(self) -> bool:
        """Whether there were two looks."""
        return any(pair.twice for pair in self.queues)

    @property
    def seconds(self) -> float | None:
        """Return the time between the looks."""
        return next((pair.seconds for pair in self.queues if pair.seconds), None)

    @property
    def rate(self) -> float | None:
        """Return the interrupts a second; None where that is not known."""
        return sum(self.by_cpu().values()) / self.seconds if self.seconds else None


def delivered(pair: Pair[Interrupt]) -> dict[int, int]:
    """Return how many interrupts each CPU served between the looks."""
    last = dict(zip(pair.last.cpus, pair.last.counts, strict=True))
    if not pair.twice:
        return last
    first = dict(zip(pair.first.cpus, pair.first.counts, strict=True))
    return {cpu: max(0, count - first.get(cpu, 0)) for cpu, count in last.items()}


def devices(case: Case) -> list[Device]:
    """Return the devices that have receive queues with interrupts of their own."""
    by_bus = {driver.bus: driver.dev for driver in case.latest(Driver) if driver.bus}
    found: dict[str, Device] = {}
    for pair in case.pairs(Interrupt):
        for pattern in _NAMES:
            if named := pattern.match(pair.last.label):
                # virtio interrupts carry the bus address of their device in the controller's words.
                bus = named.groupdict().get("bus") or next(iter(_BUS.findall(pair.last.chip)), "")
                told = by_bus.get(bus) or (named["dev"] if "bus" not in named.groupdict() else "")
                own = not told.startswith("virtio") and told != ""
                name = told or f"{named['dev']}@{bus}"
                found.setdefault(name, Device(name, own)).queues.append(pair)
                break
    return list(found.values())


def kept_free(case: Case) -> Setting | None:
    """Return the setting by which somebody keeps interrupts away from CPUs on purpose."""
    return next(
        (
            setting
            for setting in case.latest(Setting)
            if setting.where == "cmdline" and setting.name in ("isolcpus", "nohz_full", "irqaffinity")
        ),
        None,
    )


def cpu_count(case: Case) -> int:
    """Return how many CPUs the table of interrupts has."""
    return max((len(interrupt.cpus) for interrupt in case.latest(Interrupt)), default=0)
