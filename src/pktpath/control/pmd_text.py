"""Datapath threads as `dpif-netdev/pmd-*` of Open vSwitch 3.1 tell of them.

Counters are those of `WorkerView`: `upcalls` are those that were answered, `lost` those that were not; a hit is
either of the exact-match cache or of a megaflow. Cycles are told of poll-mode threads only.
"""

from collections.abc import Mapping, Sequence

from pktpath.switch.views import WorkerView

_NOT_AVAILABLE = "NOT AVAIL"


def _ratio(over: float, under: float) -> float:
    return over / under if under else 0.0


def _name(worker: WorkerView) -> str:
    return "main thread:" if worker.core is None else f"pmd thread numa_id {worker.numa} core_id {worker.core}:"


def _in_order(workers: Sequence[WorkerView]) -> list[WorkerView]:
    return sorted(workers, key=lambda worker: (worker.core is None, worker.core or 0))


class _Counters:
    """Counters of a worker by name, zero where one is missing."""

    def __init__(self, counters: Mapping[str, int]) -> None:
        self._counters = counters

    def __getattr__(self, name: str) -> int:
        return self._counters.get(name, 0)


def stats_show(workers: Sequence[WorkerView]) -> str:
    """Return the text of `dpif-netdev/pmd-stats-show`."""
    return "".join(f"{row}\n" for worker in _in_order(workers) for row in _stats(worker))


def _stats(worker: WorkerView) -> list[str]:
    got = _Counters(worker.counters)
    passes = got.passes or got.packets
    rows = [
        _name(worker),
        f"  packets received: {got.packets}",
        f"  packet recirculations: {passes - got.packets}",
        f"  avg. datapath passes per packet: {_ratio(passes, got.packets):.2f}",
        "  phwol hits: 0",
        "  mfex opt hits: 0",
        "  simple match hits: 0",
        f"  emc hits: {got.emc_hits}",
        "  smc hits: 0",
        f"  megaflow hits: {got.megaflow_hits}",
        f"  avg. subtable lookups per megaflow hit: {_ratio(got.subtable_lookups, got.megaflow_hits):.2f}",
        f"  miss with success upcall: {got.upcalls}",
        f"  miss with failed upcall: {got.lost}",
        f"  avg. packets per output batch: {_ratio(got.tx_packets, got.tx_batches):.2f}",
    ]
    cycles = got.idle_cycles + got.busy_cycles
    if worker.core is None or not cycles:
        return rows
    rows += [
        f"  idle cycles: {got.idle_cycles} ({_ratio(got.idle_cycles, cycles) * 100:.2f}%)",
        f"  processing cycles: {got.busy_cycles} ({_ratio(got.busy_cycles, cycles) * 100:.2f}%)",
    ]
    if got.packets:
        rows += [
            f"  avg cycles per packet: {cycles / got.packets:.2f} ({cycles}/{got.packets})",
            f"  avg processing cycles per packet: {got.busy_cycles / got.packets:.2f} ({got.busy_cycles}/{got.packets})",
        ]
    return rows


def rxq_show(workers: Sequence[WorkerView], seconds: int = 60) -> str:
    """Return the text of `dpif-netdev/pmd-rxq-show`; `seconds` is the time that `usage` is of."""
    rows = [f"Displaying last {seconds} seconds pmd usage %"]
    for worker in _in_order(workers):
        if worker.core is None:
            continue
        rows += [_name(worker), f"  isolated : {'true' if worker.isolated else 'false'}"]
        for queue in sorted(worker.queues, key=lambda queue: (queue.port, queue.queue)):
            state = "(enabled) " if queue.enabled else "(disabled)"
            rows.append(f"  port: {queue.port:<16}  queue-id: {queue.queue:2d} {state}  pmd usage: {_share(queue.usage)}")
        if worker.queues:
            rows.append(f"  overhead: {_share(worker.overhead)}")
    return "".join(f"{row}\n" for row in rows)


def _share(part: float | None) -> str:
    return _NOT_AVAILABLE if part is None else f"{part * 100:2.0f} %"


def perf_show(workers: Sequence[WorkerView], clock: float) -> str:
    """Return the text of `dpif-netdev/pmd-perf-show`; `clock` is the time of day, in seconds since 1970."""
    return "".join(row for worker in _in_order(workers) if worker.core is not None for row in _perf(worker, clock))


def _perf(worker: WorkerView, clock: float) -> list[str]:
    got = _Counters(worker.counters)
    seconds = got.ns / 1e9
    cycles = got.idle_cycles + got.busy_cycles
    share = 100.0
    passes = got.passes or got.packets
    hits = (
        ("- PHWOL hits:", 0, ""),
        ("- MFEX Opt hits:", 0, ""),
        ("- Simple Match hits:", 0, ""),
        ("- EMC hits:", got.emc_hits, ""),
        ("- SMC hits:", 0, ""),
        ("- Megaflow hits:", got.megaflow_hits, f", {_ratio(got.subtable_lookups, got.megaflow_hits):.2f} subtbl lookups/hit"),
        ("- Upcalls:", got.upcalls, f", {_ratio(got.upcall_ns, got.upcalls) / 1e3:.1f} us/upcall"),
        ("- Lost upcalls:", got.lost, ""),
    )
    rows = [
        "",
        f"Time: {_time_of_day(clock)}",
        f"Measurement duration: {seconds:.3f} s",
        "",
        _name(worker),
        "",
        _row("Iterations:", got.iterations, f"{_ratio(cycles / worker.hertz * 1e6, got.iterations):.2f} us/it"),
        _row("- Used TSC cycles:", cycles, f"{_ratio(cycles, seconds * worker.hertz) * share:5.1f} % of total cycles"),
        _row("- idle iterations:", got.idle_iterations, f"{_ratio(got.idle_cycles, cycles) * share:5.1f} % of used cycles"),
        _row("- busy iterations:", got.busy_iterations, f"{_ratio(got.busy_cycles, cycles) * share:5.1f} % of used cycles"),
        _row(
            "- sleep iterations:",
            got.sleep_iterations,
            f"{_ratio(got.sleep_iterations, got.iterations) * share:5.1f} % of iterations",
        ),
        _row(
            "Sleep time (us):", round(got.sleep_ns / 1e3), f"{_ratio(got.sleep_ns / 1e3, got.iterations):3.0f} us/iteration avg."
        ),
    ]
    if not got.packets:
        rows.append(_row("Rx packets:", 0))
    else:
        rate = f"{_ratio(got.packets, seconds) / 1e3:.0f} Kpps, {_ratio(got.busy_cycles, got.packets):.0f} cycles/pkt"
        rows.append(_row("Rx packets:", got.packets, rate))
        rows.append(_row("Datapath passes:", passes, f"{_ratio(passes, got.packets):.2f} passes/pkt"))
        rows += [_row(name, count, f"{_ratio(count, passes) * share:5.1f} %{more}") for name, count, more in hits]
    if not got.tx_packets:
        # Only here an empty line follows.
        rows += [_row("Tx packets:", 0), ""]
    else:
        rows.append(_row("Tx packets:", got.tx_packets, f"{_ratio(got.tx_packets, seconds) / 1e3:.0f} Kpps"))
        rows.append(_row("Tx batches:", got.tx_batches, f"{_ratio(got.tx_packets, got.tx_batches):.2f} pkts/batch"))
    return [f"{row}\n" for row in rows]


def _row(name: str, value: int, more: str = "") -> str:
    # Names are padded so that all numbers end in one column.
    return f"  {name:<20}{value:>12}" + (f"  ({more})" if more else "")


def _time_of_day(clock: float) -> str:
    import time

    seconds, milliseconds = divmod(round(clock * 1000), 1000)
    return f"{time.strftime('%H:%M:%S', time.gmtime(seconds))}.{milliseconds:03d}"
