"""The commands that tell of a datapath: dpctl/*, dpif/*, dpif-netdev/pmd-*, and pktpath/view.

The daemon gives functions that return values; each command calls the ones that it needs when it is asked. What cannot
be asked here is refused by name.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pktpath.control import dp_text, dpctl_text, pmd_text, view_json
from pktpath.control.commands import Commands
from pktpath.errors import BadInput
from pktpath.switch.views import DatapathView, FlowView, WorkerView

View = Callable[[], DatapathView]
Flows = Callable[[], Sequence[FlowView]]
ParseMatch = Callable[[str], tuple[int, int]]
"""Takes a match in the syntax of flows; returns key and mask."""
_TYPES = {
    "all": True,
    "ovs": True,
    "non-offloaded": True,
    "dpdk": False,
    "tc": False,
    "offloaded": False,
    "partially-offloaded": False,
}
"""Words of `type=`, and whether the flows of this datapath are of that type."""
_MIN_SECONDS, _MAX_SECONDS, _STEP = 5, 60, 5


def datapath_commands(
    commands: Commands,
    view: View,
    flows: Flows,
    *,
    workers: Callable[[int], DatapathView] | None = None,
    clear: Callable[[int | None], None] | None = None,
    delete_flows: Callable[[], None] | None = None,
    rebalance: Callable[[], None] | None = None,
    parse_match: ParseMatch | None = None,
    clock: Callable[[], float] = time.time,
) -> None:
    """Register the commands of a datapath.

    Args:
        commands: where.
        view: the datapath now.
        flows: its megaflows now.
        workers: the datapath with the load of its queues in the last so many seconds (5, 10 … 60); without it
            `pmd-rxq-show -secs` is refused.
        clear: set the counters of the thread on a core, or of all (None), to zero; without it there is no `pmd-stats-clear`.
        delete_flows: forget all megaflows; without it there is no `dpctl/del-flows`.
        rebalance: give the queues to the threads anew, by their load; without it there is no `pmd-rxq-rebalance`.
        parse_match: for `dump-flows filter=…`, refused without it.
        clock: time of day.

    """
    own = _Datapath(view, flows, workers, clear, delete_flows, parse_match, clock)
    for name, usage, least, most, handler in (
        ("dpctl/dump-dps", "", 0, 0, lambda _words: dpctl_text.dump_dps(view())),
        ("dpctl/show", "[-s] [--masks] [dp...]", 0, None, own.show),
        ("dpctl/dump-flows", "[-m] [--names] [dp] [filter=..] [type=..] [pmd=..]", 0, 6, own.dump_flows),
        ("dpif/dump-dps", "", 0, 0, lambda _words: dpctl_text.dpif_dump_dps(view())),
        ("dpif/show", "", 0, 0, lambda _words: dpctl_text.dpif_show(view())),
        ("dpif/dump-flows", "[-m] [--names | --no-names] bridge", 1, 3, own.dump_bridge),
        ("dpif-netdev/pmd-stats-show", "[-pmd core] [dp]", 0, 3, own.stats_show),
        ("dpif-netdev/pmd-rxq-show", "[-pmd core] [-secs secs] [dp]", 0, 5, own.rxq_show),
        ("dpif-netdev/pmd-perf-show", "[-nh] [-pmd core] [dp]", 0, 8, own.perf_show),
        ("pktpath/view", "[flows]", 0, 1, own.view),
    ):
        commands.register(name, usage, least, most, handler)
    if clear is not None:
        commands.register("dpif-netdev/pmd-stats-clear", "[-pmd core] [dp]", 0, 3, own.stats_clear)
    if rebalance is not None:
        commands.register("dpif-netdev/pmd-rxq-rebalance", "[dp]", 0, 1, lambda words: own.rebalance(words, rebalance))
    if delete_flows is not None:
        commands.register("dpctl/del-flows", "[dp]", 0, 1, own.del_flows)


def _core(word: str) -> int:
    if not word.isascii() or not word.isdigit():
        message = f"-pmd {word}: a core is a number"
        raise BadInput(message)
    return int(word)


class _Datapath(NamedTuple):
    """The commands; each takes the words behind its name."""

    get: View
    flows: Flows
    workers: Callable[[int], DatapathView] | None
    clear: Callable[[int | None], None] | None
    delete: Callable[[], None] | None
    parse_match: ParseMatch | None
    clock: Callable[[], float]

    def _named(self, view: DatapathView, word: str) -> None:
        """Refuse a datapath that is not this one."""
        if word not in {view.name, view.name.partition("@")[2]}:
            message = f"{word}: there is no such datapath, there is {view.name}"
            raise BadInput(message)

    def show(self, words: list[str]) -> str:
        view = self.get()
        options = {word for word in words if word.startswith("-")}
        if unknown := options - {"-s", "--statistics", "--masks"}:
            message = f"Unrecognized option {min(unknown)}"
            raise BadInput(message)
        names = [word for word in words if word not in options]
        for name in names:
            self._named(view, name)
        text = dpctl_text.show(view, statistics=bool(options & {"-s", "--statistics"}), masks="--masks" in options)
        return text * max(1, len(names))

    def dump_flows(self, words: list[str]) -> str:
        view, more, names = self.get(), False, None
        chosen = list(self.flows())
        for word in words:
            name, equals, value = word.partition("=")
            if word in {"-m", "--more"}:
                more = True
            elif word in {"--names", "--no-names"}:
                names = word == "--names"
            elif word.startswith("-"):
                message = f"Unrecognized option {word}"
                raise BadInput(message)
            elif equals and name == "filter":
                chosen = self._filtered(chosen, value)
            elif equals and name == "type":
                chosen = chosen if self._type(value) else []
            elif equals and name == "pmd":
                chosen = _of_thread(chosen, value)
            else:
                self._named(view, word)
        # As in ovs-appctl, long text has names unless they are refused.
        table = {port.number: port.name for port in view.ports} if names or (names is None and more) else None
        return dp_text.flow_dump(chosen, table, more=more)

    def _filtered(self, flows: list[FlowView], text: str) -> list[FlowView]:
        if self.parse_match is None:
            message = "filter= is not supported"
            raise BadInput(message)
        try:
            key, mask = self.parse_match(text)
        except BadInput as error:
            message = f"Failed to parse filter ({error})"
            raise BadInput(message) from None
        # Flows that such a packet could have: they agree with it in all that they look at.
        return [flow for flow in flows if not (flow.key ^ key) & mask & flow.mask]

    def _type(self, word: str) -> bool:
        if word not in _TYPES:
            message = f"Failed to parse type ({word}): {', '.join(_TYPES)}"
            raise BadInput(message)
        return _TYPES[word]

    def dump_bridge(self, words: list[str]) -> str:
        *options, bridge = words
        for option in options:
            if option not in {"-m", "--names", "--no-names"}:
                message = f"Unrecognized option {option}"
                raise BadInput(message)
        view = self.get()
        ports = {port.number for port in view.ports if port.bridge == bridge}
        if not ports:
            message = "no such bridge"
            raise BadInput(message)
        names = {port.number: port.name for port in view.ports}
        wanted = "--names" in options or ("-m" in options and "--no-names" not in options)
        chosen = [flow for flow in self.flows() if dp_text.in_port(flow) in ports]
        return dp_text.bridge_flow_dump(chosen, names if wanted else None, more="-m" in options)

    def _threads(self, words: list[str], *known: str) -> tuple[list[WorkerView], dict[str, str]]:
        """Return the threads that `-pmd` names, all without it, and the values of other options."""
        view, core = self.get(), None
        values: dict[str, str] = {}
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if word == "-nh" and word in known:
                continue
            if word == "-pmd" or word in known:
                if not rest:
                    message = f"{word} needs a number"
                    raise BadInput(message)
                values[word] = rest.pop(0)
            elif word.startswith("-"):
                message = f"Unrecognized option {word}"
                raise BadInput(message)
            else:
                self._named(view, word)
        core = _core(values["-pmd"]) if "-pmd" in values else None
        if "-secs" in values and self.workers is not None:
            view = self.workers(_seconds(values["-secs"]))
        return [worker for worker in view.workers if core is None or worker.core == core], values

    def stats_show(self, words: list[str]) -> str:
        return pmd_text.stats_show(self._threads(words)[0])

    def rxq_show(self, words: list[str]) -> str:
        known = ("-secs",) if self.workers is not None else ()
        threads, values = self._threads(words, *known)
        return pmd_text.rxq_show(threads, _seconds(values["-secs"]) if "-secs" in values else _MAX_SECONDS)

    def perf_show(self, words: list[str]) -> str:
        return pmd_text.perf_show(self._threads(words, "-nh")[0], self.clock())

    def stats_clear(self, words: list[str]) -> str:
        _, values = self._threads(words)
        if self.clear is not None:
            self.clear(_core(values["-pmd"]) if "-pmd" in values else None)
        return ""

    def rebalance(self, words: list[str], act: Callable[[], None]) -> str:
        for word in words:
            self._named(self.get(), word)
        act()
        return "pmd rxq rebalance requested.\n"

    def del_flows(self, words: list[str]) -> str:
        for word in words:
            self._named(self.get(), word)
        if self.delete is not None:
            self.delete()
        return ""

    def view(self, words: list[str]) -> str:
        if words and words != ["flows"]:
            message = f"pktpath/view takes flows, not {words[0]}"
            raise BadInput(message)
        return view_json.view_json(self.get(), self.flows() if words else None)


def _seconds(word: str) -> int:
    """Return a time of `-secs` as Open vSwitch takes it: whole steps of five seconds, up to a minute."""
    if not word.isascii() or not word.isdigit():
        message = f"-secs {word}: a number of seconds, {_MIN_SECONDS} to {_MAX_SECONDS}"
        raise BadInput(message)
    return min(max(-(-int(word) // _STEP) * _STEP, _MIN_SECONDS), _MAX_SECONDS)


def _of_thread(flows: list[FlowView], word: str) -> list[FlowView]:
    """Return the flows of the thread that `pmd=` names; -1 is the main thread."""
    try:
        core = int(word)
    except ValueError:
        message = f"pmd={word}: a core is a number, -1 the main thread"
        raise BadInput(message) from None
    return [flow for flow in flows if flow.core == (None if core == -1 else core)]
