"""Where samples are: profiles and sampled stacks, put into stages of the packet path by the names of functions.

Names are those of the kernel (net/core, net/ipv4, lib/checksum.c, kernel/locking), of Open vSwitch (lib/dpif-netdev.c,
lib/netdev-dpdk.c, lib/timeval.c) and of DPDK's drivers.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.perf import HotSymbol, SampledStack

TIMER = re.compile(
    r"(?:__)?(?:vdso|kernel|cvdso)?_*clock_gettime(?:64)?(?:_common)?(?:@|$)|__(?:vdso|kernel|cvdso)_clock_get|monotonic$"
    r"|time_(?:timespec__|usec|msec|usec__|now)|x?clock_gettime|(?:__)?pthread_once|rte_(?:rdtsc|get_tsc|get_timer)|read_tsc"
    r"|cycles_counter_update|pmd_thread_ctx_time_update"
)
POLLING = re.compile(
    r"dp_netdev_process_rxq_port|pmd_thread_main|netdev_rxq_recv|netdev_dpdk_(?:vhost_)?rxq_recv|rte_vhost_dequeue_burst|get_device$"
    r"|rte_eth_rx_burst|pkt_burst_\w+|run_pkt_fwd_on_lcore|eth_null_rx|eal_thread_loop|\w*_(?:recv_pkts|rx_burst)(?:_\w+)?(?:@|$)"
    r"|virtio_dev_tx|mlx5_rx_burst"
)
WORK = re.compile(
    r"dp_netdev_input|miniflow_extract|emc_|dfc_|smc_|dpcls_|dp_execute|odp_execute|packet_batch_per_flow|dp_packet_flow"
    r"|netdev_send|\w*_xmit|\w*tx_burst|rte_vhost_enqueue|conntrack_|rte_memcpy|\w*memcpy|\w*memmove"
)
CHECKSUM = re.compile(
    r"(?:do_)?csum_(?!ipv6_magic)|do_csum$|(?:__)?skb_checksum(?!_complete_unset)|skb_(?:copy_and_)?csum|__wsum|csum$"
)
LOCK = re.compile(
    r"(?:native_|__pv_)?queued_(?:spin|read|write)_lock_slowpath|osq_lock|do_raw_spin_lock|(?:mutex|rwsem)_spin_on_owner|ticket_spin_lock"
)
_STAGES = (
    ("locks", LOCK),
    ("checksums", CHECKSUM),
    ("copies", re.compile(
        r"(?:_?_?copy_(?:user|to_user|from_user|from_iter|to_iter|page)|copyin$|copyout$|rep_movs|memcpy|__memcpy|"
        r"memmove|__arch_copy|skb_copy_)")),
    ("buffers", re.compile(
        r"__(?:alloc|build|netdev_alloc|napi_alloc)_skb|alloc_skb|(?:__)?kfree_skb|consume_skb|skb_release|kmem_cache_|kmalloc"
        r"|kfree$|__slab|get_page_from_freelist|__alloc_pages|free_unref|page_frag_|page_pool_|napi_consume")),
    ("GRO", re.compile(r"(?:dev_gro|napi_gro|inet_gro|tcp_gro|tcp4_gro|tcp6_gro|udp_gro|skb_gro|gro_)")),
    ("Open vSwitch", re.compile(r"ovs_|masked_flow_lookup|flow_lookup|miniflow_|emc_|dpcls_|dp_netdev_")),
    ("netfilter", re.compile(r"nf_|nft_|ipt_|nf_hook|ip6?t_do_table|__nf_")),
    ("segmentation", re.compile(r"skb_segment|tcp_gso|__skb_gso|inet_gso|validate_xmit_skb|skb_mac_gso")),
    ("scheduling", re.compile(
        r"(?:__)?schedule|try_to_wake_up|ttwu|finish_task_switch|__wake_up|futex_|context_switch|pick_next|enqueue_task|"
        r"dequeue_task|(?:en|de)queue_entity|update_curr")),
    ("driver", re.compile(
        r"\w+_(?:poll|clean_rx_irq|clean_tx_irq|start_xmit|xmit_frame|rx_poll)$|net_rx_action|process_backlog|veth_|"
        r"virtnet_|loopback_xmit|dev_hard_start_xmit")),
    ("TCP/UDP and IP", re.compile(
        r"tcp_|__tcp|udp_|__udp|ip_|__ip_|ipv6_|ip6_|inet_|sock_|sk_|__sk_|netif_|__netif|dev_queue_xmit|__dev_queue|"
        r"skb_")),
    ("system calls", re.compile(r"(?:entry_)?(?:SYSCALL|syscall)|do_syscall|sys_|SYSC_|__x64_sys|vfs_|fget|fdget|__fget")),
)  # fmt: skip
"""Which stage a function belongs to; the first that fits, from the innermost function outwards."""
_IDLE = re.compile(r"(?:default_|native_|acpi_|mwait_|intel_)?(?:safe_halt|idle|cpu_idle|poll_idle|do_idle|idle_enter|swapper)")


@dataclass(slots=True)
class Share:
    """Samples of one kind."""

    percent: float = 0.0
    symbols: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    callers: dict[str, float] = field(default_factory=dict)

    def add(self, percent: float, symbol: str, at: Place, caller: str = "") -> None:
        """Add a symbol, of which the first ones are named."""
        self.percent += percent
        if symbol not in self.symbols:
            self.symbols.append(symbol)
        if len(self.places) < 6:
            self.places.append(at)
        if caller:
            self.callers[caller] = self.callers.get(caller, 0.0) + percent


def profiles(case: Case) -> dict[tuple[str, int], list[HotSymbol]]:
    """Return the symbols of each profile, in the order of the table."""
    found: dict[tuple[str, int], list[HotSymbol]] = {}
    for symbol in case.all(HotSymbol):
        found.setdefault((symbol.at.source, symbol.profile), []).append(symbol)
    return found


def share(symbols: list[HotSymbol], kind: re.Pattern[str]) -> Share:
    """Return what part of a profile is in functions of a kind."""
    part = Share()
    for symbol in symbols:
        if kind.match(symbol.symbol):
            part.add(symbol.percent, symbol.symbol, symbol.at)
    return part


def hot(case: Case, kind: re.Pattern[str]) -> Share:
    """Return the largest part that functions of a kind have in a profile, or innermost in the sampled stacks."""
    parts = [share(symbols, kind) for symbols in profiles(case).values()]
    stacks = busy_stacks(case)
    total = sum(stack.samples for stack in stacks)
    of_stacks = Share()
    for stack in stacks:
        for place, name in enumerate(reversed(stack.frames)):
            if kind.match(name):
                outer = next(
                    (frame for frame in reversed(stack.frames[: len(stack.frames) - place]) if not _LOCKING.match(frame)), ""
                )
                of_stacks.add(100.0 * stack.samples / total, name, stack.at, outer)
                break
            if place >= 2:
                break
    return max((*parts, of_stacks), key=lambda part: part.percent)


_LOCKING = re.compile(rf"{LOCK.pattern}|_raw_\w*lock\w*|(?:__)?mutex_lock\w*|{CHECKSUM.pattern}")


def busy_stacks(case: Case) -> list[SampledStack]:
    """Return the sampled stacks that are not those of an idle CPU."""
    return [
        stack
        for stack in case.all(SampledStack)
        if not stack.command.startswith("swapper") and not any(_IDLE.match(frame) for frame in stack.frames[-4:])
    ]


def stage(frames: tuple[str, ...]) -> str:
    """Return the stage of the packet path in which a stack is; `other` where no function of it is known."""
    return next((name for frame in reversed(frames) for name, kind in _STAGES if kind.match(frame)), "other")


def of_stages(stacks: list[SampledStack]) -> Iterator[tuple[str, int, SampledStack]]:
    """Return each stage with its samples and its most frequent stack, the largest first."""
    counts: dict[str, int] = {}
    first: dict[str, SampledStack] = {}
    for stack in stacks:
        name = stage(stack.frames)
        counts[name] = counts.get(name, 0) + stack.samples
        if name not in first or stack.samples > first[name].samples:
            first[name] = stack
    for name, samples in sorted(counts.items(), key=lambda item: -item[1]):
        yield name, samples, first[name]
