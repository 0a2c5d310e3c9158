"""The words and sums by which a replay is shown, in text and in a page."""

from collections.abc import Mapping
from math import gcd
from typing import TYPE_CHECKING

from pktpath.control.plural import count_of
from pktpath.offload.rules import KERNEL_BUCKET_DEPTH, KERNEL_BUCKETS

if TYPE_CHECKING:
    from pktpath.path.replay_types import QueueReport, Replayed, ReplayOptions

STAGES = {
    "irq": ("interrupts", "interrupts of the card, timers"),
    "poll": ("polls", "calls of poll, threads woken"),
    "driver": ("driver", "frames out of the ring"),
    "offload": ("offload", "GRO or LRO, checksums in software"),
    "stack": ("stack", "IP, transport, socket, copy"),
    "steer": ("steering", "interrupts from other CPUs (RPS, RFS)"),
    "spin": ("spinning", "busy polling in vain"),
    "lost": ("lost", "frames that were dropped afterwards"),
}
"""Each stage of a CPU's time: its name and what is in it."""
DROPS = {
    "ring": ("ring full", "rx_missed_errors"),
    "no_buffer": ("no memory", "rx_no_buffer"),
    "backlog": ("backlog full", "softnet_stat, 2nd column"),
}
"""Each place where a frame may be dropped: why, and the counter of a real host that tells it."""
FEATURES = {"gro": "rx-gro", "lro": "rx-lro", "rx-checksum": "rx-checksum"}
_EDGES = (0, 1, 2, 4, 8, 16, 32, 64)
_EVICTED = 0.1
"""Share of the frames from which on evictions are worth a word."""
_ONE_EACH = 0.9
_LIVELOCK = 0.1
_NO_TIME_LEFT = 0.95
_UNEVEN = 2.0


def poll_groups(sizes: Mapping[int, int]) -> list[tuple[str, int]]:
    """Return polls by the frames that they took, in groups whose first is a power of two; empty ends are left out."""
    groups = []
    for k, least in enumerate(_EDGES):
        most = _EDGES[k + 1] - 1 if k + 1 < len(_EDGES) else None
        count = sum(polls for size, polls in sizes.items() if size >= least and (most is None or size <= most))
        name = f"{least}+" if most is None else str(least) if most == least else f"{least}-{most}"
        groups.append((name, count))
    while groups and groups[-1][1] == 0:
        groups.pop()
    while groups and groups[0][1] == 0:
        groups.pop(0)
    return groups


def imbalance(queues: "list[QueueReport]") -> float:
    """Return the frames of the fullest queue as a multiple of the mean; 0 without frames."""
    total = sum(queue.frames for queue in queues)
    return max(queue.frames for queue in queues) * len(queues) / total if total else 0.0


def dropped(done: "Replayed") -> int:
    """Return wire frames that did not reach the stack."""
    return sum(done.drops.values())


def span(seconds: float) -> str:
    """Return a time with three digits and its unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds / size < 1000 else f"{seconds / size:,.0f} {unit}"
    return f"{seconds * 1e9:.3g} ns" if seconds else "0 s"


def percent(share: float) -> str:
    """Return a share; small ones keep a digit that tells."""
    value = share * 100
    return f"{value:.1f} %" if value == 0 or value >= 0.1 else f"{value:.2g} %"


def rate(count: int, seconds: float) -> str:
    """Return how many there were in a second."""
    return f"{count / seconds:,.0f}/s" if seconds else "-"


def card_words(options: "ReplayOptions") -> str:
    """Return the card of a replay in one line."""
    card = options.settings
    from pktpath.features import names_of

    on = set(names_of(card.features.active))
    switches = ", ".join(f"{name} {'on' if kernel in on else 'off'}" for name, kernel in FEATURES.items())
    wait = "adaptive-rx on" if card.adaptive_rx else f"rx-usecs {card.rx_usecs}, rx-frames {card.rx_frames}"
    return f"{count_of(card.queues, 'queue')} with rings of {card.rx_ring:,}, {wait}; {switches}"


def host_words(options: "ReplayOptions") -> str:
    """Return the host of a replay in one line."""
    card, limits = options.settings, options.limits
    parts = [count_of(card.queues if options.cpus is None else options.cpus, "CPU")]
    if options.netif_rx:
        parts.append(f"netif_rx (backlog {limits.max_backlog:,})")
    else:
        parts.append(f"{'threaded ' if card.threaded else ''}NAPI (weight {options.weight}, budget {limits.budget})")
        if card.gro_flush_timeout:
            parts.append(f"gro_flush_timeout {card.gro_flush_timeout:,} ns, napi_defer_hard_irqs {card.napi_defer_hard_irqs}")
        if options.busy_poll:
            parts.append(f"busy poll {options.busy_poll // 1000} µs")
    if options.rps or options.rfs:
        parts.append("RFS" if options.rfs else "RPS")
    if options.speed != 1:
        parts.append(f"{options.speed} times as fast as captured")
    return ", ".join(parts)


def findings(done: "Replayed", options: "ReplayOptions") -> list[str]:
    """Return what the numbers say, a sentence each."""
    found = []
    taken = done.stack_segments + done.drops["backlog"]
    if not options.netif_rx and taken and done.interrupts >= _ONE_EACH * taken:
        found.append(
            "an interrupt a frame: each is served before the next arrives; bursts, rx-usecs, deferral or more load change that"
        )
    total = sum(done.seconds_by_stage.values())
    if total and done.seconds_by_stage["lost"] >= _LIVELOCK * total:
        share = percent(done.seconds_by_stage["lost"] / total)
        found.append(f"livelock: {share} of the CPU time went into frames that were then dropped")
    if done.drops["ring"] and options.netif_rx:
        found.append("the ring overflows as well: interrupts come faster than their handler serves them")
    elif done.drops["ring"] and done.busiest_cpu >= _NO_TIME_LEFT:
        found.append("overload: a CPU has no time left; what it cannot take is dropped at the ring, where it costs no CPU time")
    elif done.drops["ring"]:
        found.append("rings overflow although the CPUs have time left: bursts are longer than a ring, or its poll comes too late")
    busy = [queue for queue in done.queues if queue.frames]
    uneven = imbalance(done.queues)
    if busy and uneven >= _UNEVEN:
        found.append(
            f"{len(busy)} of {len(done.queues)} queues have frames, the fullest {uneven:.1f} times the mean: pktpath rss says why"
        )
    buckets = KERNEL_BUCKETS // gcd(len(done.queues), KERNEL_BUCKETS)
    if buckets < KERNEL_BUCKETS and done.reasons.get("evicted", 0) > _EVICTED * done.frames:
        found.append(
            f"{count_of(done.reasons['evicted'], 'frame')} evicted: the low bits of the hash choose queue and GRO bucket, so "
            f"of {len(done.queues)} queues each has room for {buckets * KERNEL_BUCKET_DEPTH} flows; an odd number of queues has "
            "64 (docs/rss.md)"
        )
    if done.waiting:
        found.append(f"{count_of(done.waiting, 'frame')} still in the rings at the end: no interrupt told of them")
    return found
