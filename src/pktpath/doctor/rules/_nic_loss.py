"""Counters by which cards and their drivers say that they lost frames, and what each tells.

Source: the drivers' own tables of strings (drivers/net/ethernet/*), include/uapi/linux/if_link.h for those of the link, the
ENA driver's documentation for allowances. Names that only look like loss are left out: XDP_DROP is a program's wish, filtered
and unknown frames are nobody's (mlx5 counts them in rx_steer_missed_packets), `rx_dropped` of the link counts those too.
igb and virtio_net have the same name, rx_queue_N_drops, for different things: want of descriptors, and frames that the driver
could not use. What the host of a virtual machine drops for want of descriptors no counter of the guest shows.
"""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pktpath.doctor.case import Case, Change, took
from pktpath.doctor.facts.base import Place
from pktpath.doctor.rules._devices import Device

_WORDS = {
    "ring": r"rx_no_buffer(_count)?|rx_no_dma_resources|rx_out_of_buffer|(port_)?rx_nodesc_drops?(_cnt)?|rx_drops_no_frags|"
    r"rx_no_bufs?|no_buff_discards|rx_missed(_errors)?|rx_fifo_errors|rx_over_errors|rx_discards|rx_total_discard_pkts|"
    r"pkts rx OOB|rx_queue_N_drops|rxN_drops|port\.rx_dropped|rx_dropped\.nic|rx_no_desc(_drop)?s?|rx_fw_discards|"
    r"rx_drops_no_erx_descr|rx_drops|rx_overruns|rx_queue_drop_cnt(\[N\])?|hc_rx_discards_no_wqe",
    "port": r"rx_discards_phy|rx_prioN_(buf_)?discards?|rxpp_fifo_overflow_drop|rx_input_fifo_overflow_drop|"
    r"pmem_fifo_overflow_drop|rx_drops_no_pbuf|rx_brb_discard|dev_out_of_buffer",
    "memory": r"(rx_)?alloc_rx_(page|buff)(_failed|_failures)?|rx_alloc_(failed|fail)|rx buf alloc fail|rx_drops_no_skbs|"
    r"rx_no_memory|rx_buff_alloc_err|rx_page_alloc_fail|rx_skb_alloc_fail|rx_skb_alloc_discard",
    "allowance": r"(bw_in|bw_out|pps|conntrack|linklocal)_allowance_exceeded",
    "transmit": r"tx_timeout(_count)?s?|tx_dropped|tx_queue_dropped|tx_fifo_errors",
}  # fmt: skip
_KNOWN = {kind: re.compile(rf"(?:^|.*[ .:_\]])(?:{words})$") for kind, words in _WORDS.items()}
MEANING = {
    "ring": "the card had no free descriptor to put them in, as the CPU that serves the queue came too late",
    "port": "the card's own buffer ran over before they reached a ring, as the bus or the memory took them too slowly",
    "driver": "the driver could not use them: it got no memory for them, or they did not fit its buffers",
    "memory": "the driver got no memory for new buffers",
    "allowance": "the cloud provider's limit for this size of machine was reached: they were held back or dropped there",
    "transmit": "the driver could not send them",
}
_VIRTIO = re.compile(r"rx_queue_[0-9]{1,4}_(?:kicks|xdp_drops)$")
_RECEIVED = re.compile(
    r"(?:^|.*[ .:_\]])(?:rx_packets|rx_pkts|rx_ucast_packets|rx_unicast|rx_queue_N_packets|rxN_packets|ucast pkts rx)$"
)
FEW = 1e-3
"""One look: fewer of a device's frames than this are not worth a word."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What one family of counters of a device says."""

    device: Device
    kind: str
    """A key of `MEANING`."""
    name: str
    """As printed; queues' numbers as N."""
    rise: int
    seconds: float | None
    twice: bool
    received: int
    """Frames that the device received in the same time; 0 where nobody said."""
    places: tuple[Place, ...]

    @property
    def share(self) -> float | None:
        """Return which part of all frames it lost."""
        return self.rise / (self.rise + self.received) if self.received else None

    def __str__(self) -> str:
        """Return the rise in words."""
        share = f", {self.share:.2%} of what came" if self.share is not None and self.kind != "transmit" else ""
        if not self.twice:
            return f"{self.name} {self.rise:,} since it began to count{share}"
        if not self.seconds:
            return f"{self.name} rose by {self.rise:,} between two looks{share}"
        return f"{self.name} rose by {self.rise:,} in {took(self.seconds)} ({self.rise / self.seconds:,.1f}/s{share})"


@functools.lru_cache(maxsize=1)
def losses(case: Case) -> list[Loss]:
    """Return what cards lost, the most telling family of each kind: two names may count the same frames."""
    families: dict[tuple[Device, str, str], list[Change]] = {}
    counted = case.changes("nic")
    # Only virtio_net counts kicks of its queues, and XDP beside the drops of each.
    virtio = {(one.counter.at.scope, one.counter.owner) for one in counted if _VIRTIO.match(one.counter.name)}
    for change in (*counted, *case.changes("link")):
        device = (change.counter.at.scope, change.counter.owner)
        name = f"virtio {change.counter.name}" if device in virtio else change.counter.name
        if change.rise and (kind := kind_of(name, change.counter.group) or kind_of(change.counter.name, change.counter.group)):
            families.setdefault((device, kind, _family(change.counter.name)), []).append(change)
    best: dict[tuple[Device, str], Loss] = {}
    for (device, kind, name), changes in families.items():
        looks = [change for change in changes if change.twice] or changes
        twice = looks[0].twice
        rise = sum(change.rise for change in looks)
        if name.endswith("N_drops") and (rise := rise - _wished(case, device, twice)) <= 0:
            continue
        known = [place for change in sorted(looks, key=lambda change: -change.rise) for place in change.places]
        loss = Loss(device, kind, name, rise, looks[0].seconds, twice, received(case, device, twice), tuple(known[:4]))
        before = best.get((device, kind))
        if before is None or (loss.twice, loss.rise) > (before.twice, before.rise):
            best[device, kind] = loss
    return list(best.values())


def kind_of(name: str, group: str = "nic") -> str:
    """Return which kind of loss a counter means; empty for none."""
    if group == "link" and name not in {"rx_missed_errors", "rx_fifo_errors", "rx_over_errors"}:
        return ""
    if "xdp" in name:
        return ""
    family = _family(name)
    if family.startswith(("veb.", "virtio rx_queue_")):
        return "driver" if family == "virtio rx_queue_N_drops" else ""
    return next((kind for kind, known in _KNOWN.items() if known.match(family)), "")


def weighty(found: Iterable[Loss]) -> list[Loss]:
    """Return those that are worth a word: what rises, and of one look only what is not a mere remainder of long ago."""
    return [loss for loss in found if loss.twice or (loss.share is not None and loss.share >= FEW and loss.rise >= 1000)]


def _family(name: str) -> str:
    return re.sub(r"[0-9]{1,4}", "N", name) if len(name) < 200 else name


def received(case: Case, device: Device, twice: bool) -> int:
    """Return the frames that a device received in the same time, by whichever counter says most; 0 where none does."""
    sums: dict[str, int] = {}
    for change in (*case.changes("link", "rx_packets", scope=device[0]), *case.changes("nic", scope=device[0])):
        counter = change.counter
        if counter.owner == device[1] and change.twice == twice and _RECEIVED.match(family := _family(counter.name)):
            sums[counter.group + family] = sums.get(counter.group + family, 0) + change.rise
    return max(sums.values(), default=0)


def _wished(case: Case, device: Device, twice: bool) -> int:
    """Return what XDP programs dropped: virtio_net counts that among its queues' drops."""
    dropped = [change for change in case.changes("nic", scope=device[0]) if change.counter.name.endswith("xdp_drops")]
    return sum(change.rise for change in dropped if change.counter.owner == device[1] and change.twice == twice)
