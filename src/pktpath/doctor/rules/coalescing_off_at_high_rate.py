"""A card interrupts for each frame or two, many thousand times a second.

Interrupt moderation (coalescing) lets a card wait some microseconds, or for some frames, before it interrupts. Off, a CPU is
interrupted as often as frames come; NAPI polls instead only while frames keep coming without a gap.

Speaks when `ethtool -c` shows rx-usecs 0 and adaptive moderation off, and two looks at /proc/interrupts show at least 50,000
interrupts a second on one line of the card. ixgbe's `rx-usecs: 1` means adaptive, so 1 is not off.
Silent without that rate: off is right for the lowest latency; and about virtio, whose host decides.
Source: ethtool(8) -C, Documentation/networking/net_dim.rst; at some 2 µs each, 50,000 interrupts are a tenth of a core.
"""

from collections.abc import Iterator

from pktpath.doctor.case import Case
from pktpath.doctor.facts.device import Coalesce
from pktpath.doctor.facts.host import Interrupt
from pktpath.doctor.finding import Confidence, Finding, Remedy, Severity, rule
from pktpath.doctor.rules._devices import kinds_of, places

OFTEN = 50_000


@rule(
    Coalesce,
    Interrupt,
    ask="ethtool -c DEV, /proc/interrupts twice",
    well="No card without interrupt moderation interrupts very often.",
    topic="moderation",
)
def coalescing_off_at_high_rate(case: Case) -> Iterator[Finding]:
    """One finding a device."""
    kinds = kinds_of(case)
    devices: dict[tuple[str, str], dict[str, Coalesce]] = {}
    for value in case.latest(Coalesce):
        devices.setdefault((value.at.scope, value.dev), {})[value.name] = value
    for (scope, dev), known in devices.items():
        wait, adaptive = known.get("rx-usecs"), known.get("adaptive-rx")
        if wait is None or wait.value != "0" or (adaptive and adaptive.value == "on") or kinds.get((scope, dev)) == "virtio_net":
            continue
        often = sorted(
            (
                ((sum(pair.last.counts) - sum(pair.first.counts)) / pair.seconds, pair)
                for pair in case.pairs(Interrupt)
                if pair.twice and pair.seconds and (pair.last.label == dev or pair.last.label.startswith(f"{dev}-"))
            ),
            key=lambda found: -found[0],
        )
        if not often or often[0][0] < OFTEN:
            continue
        rate, pair = often[0]
        adapts = adaptive is not None and adaptive.value == "off"
        switch, undo = ("adaptive-rx on", "adaptive-rx off rx-usecs 0") if adapts else ("rx-usecs 20", "rx-usecs 0")
        yield Finding(
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            summary=f"{dev} interrupts {rate:,.0f} times a second ({pair.last.label}) with interrupt moderation off (rx-usecs "
            "0).",
            evidence=places(pair.first.at, pair.last.at, wait.at, adaptive.at if adaptive else None),
            why="Without moderation each gap between frames ends in an interrupt of a microsecond or two, and NAPI's batches "
            "stay small.",
            about=dev,
            remedies=(
                Remedy(
                    command=f"ethtool -C {dev} {switch}",
                    effect="The card waits some microseconds for more frames before it interrupts.",
                    cost="As many microseconds more latency for single frames; some cards take the link down for a moment.",
                    undo=f"ethtool -C {dev} {undo}",
                    verify=f"/proc/interrupts: {pair.last.label} rises by less a second, and mpstat shows less irq and soft",
                    lasting=(
                        ("udev", f'ACTION=="add", SUBSYSTEM=="net", NAME=="{dev}", RUN+="/usr/sbin/ethtool -C {dev} {switch}"'),
                        (
                            "NetworkManager",
                            f"nmcli connection modify CONNECTION ethtool.coalesce-{'adaptive-rx 1' if adapts else 'rx-usecs 20'}",
                        ),
                        ("TuneD", f"[net]\ndevices={dev}\ncoalesce={switch}"),
                    ),
                ),
            ),
            proof="mpstat -P ALL 1: how much irq and soft has the CPU of that line? Is the lowest latency wanted here?",
        )
