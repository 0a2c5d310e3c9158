"""The commands that tell of bridges: fdb/*, ofproto/*, and what the daemon as a whole counts."""

import time
from collections.abc import Callable
from typing import NamedTuple

from pktpath.control.commands import Commands
from pktpath.control.coverage import Coverage, totals
from pktpath.control.other_text import (
    FdbStatistics,
    Learned,
    UpcallView,
    coverage_show,
    fdb_show,
    fdb_stats_show,
    memory_show,
    upcall_show,
)
from pktpath.control.trace_text import trace_text
from pktpath.control.trace_tree import parse_packet, trace
from pktpath.errors import BadInput
from pktpath.switch.bridge import Bridge
from pktpath.switch.views import DatapathView
from pktpath.switch.xlate import Slow


def bridge_commands(
    commands: Commands,
    slow: Slow,
    view: Callable[[], DatapathView],
    now: Callable[[], float] = time.monotonic,
    *,
    upcalls: Callable[[], UpcallView] | None = None,
) -> Callable[[], None]:
    """Register the commands of bridges.

    Args:
        commands: where.
        slow: the bridges.
        view: the datapath now.
        now: monotonic seconds.
        upcalls: what the revalidator does; without it there is no `upcall/show`.

    Returns:
        What wants to be called once every five seconds, for the rates of `coverage/show`.

    """
    coverage = Coverage(lambda: totals(view(), slow.bridges.values()), now)
    own = _Bridges(slow, view)
    for name, usage, least, most, handler in (
        ("fdb/show", "bridge", 1, 1, own.fdb_show),
        ("fdb/flush", "[bridge]", 0, 1, own.fdb_flush),
        ("fdb/stats-show", "bridge", 1, 1, own.fdb_stats_show),
        ("ofproto/list", "", 0, 0, own.names),
        ("ofproto/trace", "bridge flow", 1, None, own.trace),
        ("coverage/show", "", 0, 0, lambda _words: coverage_show(coverage.events())),
        ("memory/show", "", 0, 0, own.memory_show),
    ):
        commands.register(name, usage, least, most, handler)
    if upcalls is not None:
        commands.register("upcall/show", "", 0, 0, lambda _words: upcall_show(view(), upcalls()))
    return coverage.sample


def find_bridge(slow: Slow, name: str) -> Bridge:
    """Return a bridge by name; raises BadInput where there is none."""
    bridge = slow.bridges.get(name)
    if bridge is None:
        there = f"bridges here: {', '.join(sorted(slow.bridges))}" if slow.bridges else "there are no bridges"
        message = f"{name}: no such bridge; {there}"
        raise BadInput(message)
    return bridge


class _Bridges(NamedTuple):
    """The commands; each takes the words behind its name."""

    slow: Slow
    view: Callable[[], DatapathView]

    def fdb_show(self, words: list[str]) -> str:
        rows = find_bridge(self.slow, words[0]).macs.rows()
        return fdb_show([Learned(row.port, row.vlan, row.mac, int(row.age)) for row in rows])

    def fdb_flush(self, words: list[str]) -> str:
        for bridge in [find_bridge(self.slow, words[0])] if words else list(self.slow.bridges.values()):
            if bridge.macs.forget():
                bridge.changed()
        return "table successfully flushed\n"

    def fdb_stats_show(self, words: list[str]) -> str:
        bridge = find_bridge(self.slow, words[0])
        macs = bridge.macs
        counts = FdbStatistics(len(macs), macs.limit, 0, macs.learned, macs.expired, macs.evicted, macs.moved)
        return fdb_stats_show(bridge.name, counts)

    def names(self, _words: list[str]) -> str:
        return "".join(f"{name}\n" for name in self.slow.bridges)

    def trace(self, words: list[str]) -> str:
        first, *rest = words
        if "(" in first:
            message = f"{first}: a flow of the datapath is not understood here; give a bridge and in_port=1,tcp,tp_dst=80"
            raise BadInput(message)
        bridge = find_bridge(self.slow, first)
        if not rest:
            message = f"ofproto/trace {first}: a flow is missing, as in_port=1,tcp,tp_dst=80"
            raise BadInput(message)
        flow, *options = rest
        if "(" in flow.partition("=")[0]:
            message = f"{flow}: a flow of the datapath is not understood here; say in_port=1,tcp,tp_dst=80"
            raise BadInput(message)
        if options:
            what = "is not there: a trace changes nothing" if options[0] == "-generate" else "may not follow the flow"
            message = f"{options[0]}: {what}; ofproto/trace takes a bridge and a flow"
            raise BadInput(message)
        return trace_text(trace(self.slow, bridge.name, parse_packet(flow, bridge.numbers())))

    def memory_show(self, _words: list[str]) -> str:
        view, bridges = self.view(), self.slow.bridges.values()
        return memory_show(
            {
                "bridges": len(bridges),
                "groups": sum(len(list(bridge.groups)) for bridge in bridges),
                "macs": sum(len(bridge.macs) for bridge in bridges),
                "masks": view.masks,
                "megaflows": view.flows,
                "meters": sum(len(list(bridge.meters)) for bridge in bridges),
                "ports": len(view.ports),
                "rules": sum(len(bridge.tables) for bridge in bridges),
                "workers": len(view.workers),
            }
        )
