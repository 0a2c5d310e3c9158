"""What several rules about Open vSwitch ask of a case."""

from collections.abc import Iterable
from dataclasses import dataclass

from pktpath.doctor.case import Case
from pktpath.doctor.facts.base import Place
from pktpath.doctor.facts.host import LogMessage, Setting
from pktpath.doctor.facts.ovs import CoverageEvent, DatapathPort
from pktpath.doctor.finding import Remedy


def setting(case: Case, name: str) -> Setting | None:
    """Return the last look at a key of other_config; None where it is not set or was not seen."""
    found = [one for one in case.latest(Setting) if one.where == "other_config" and one.name == name]
    return found[-1] if found else None


def value_of(case: Case, name: str) -> str:
    """Return what a key of other_config is set to; empty where it is not."""
    found = setting(case, name)
    return found.value if found else ""


def own_switch(case: Case) -> bool:
    """Whether it is pktpath's own switch that prints these texts: its ports have kinds that Open vSwitch does not know."""
    return any(port.kind in {"packet", "xdp", "pcap", "memory"} for port in case.latest(DatapathPort))


def in_file(key: str, value: str, before: str, *, effect: str, cost: str, verify: str) -> Remedy:
    """Return the remedy that pktpath's own switch has: a key of `[switch]` in its file."""
    return Remedy(
        command=f"pktpath switch stop  # then write {key} = {value} under [switch] of its file, and start it again",
        effect=effect,
        cost=f"{cost} Traffic stops while the switch starts again.",
        undo=f"{key} = {before} in the file, and start it again",
        verify=verify,
    )


def version(case: Case) -> tuple[int, int] | None:
    """Return the version of Open vSwitch, as (3, 1); None where nothing says it."""
    for one in case.latest(Setting):
        if one.where == "ovs" and one.name == "ovs_version":
            numbers = [int(word) for word in one.value.split(".")[:2] if word.isdigit() and len(word) < 4]
            if len(numbers) == 2:
                return numbers[0], numbers[1]
    return None


@dataclass(frozen=True, slots=True)
class Happening:
    """How often an event of `coverage/show` happens."""

    event: CoverageEvent
    rate: float
    """Times a second: in the last five seconds, or in the last minute where that is more."""
    now: bool
    """Whether it happened in the last five seconds, or between two looks."""

    @property
    def span(self) -> str:
        """Return which span the rate is of, in words."""
        return "in the last 5 s" if self.now else "in the last minute"


def happening(case: Case, *names: str) -> list[Happening]:
    """Return the events with these names that happen, or did in the last minute, the most frequent first."""
    found = []
    for pair in case.pairs(CoverageEvent):
        event = pair.last
        if event.name in names:
            rate = event.five_seconds or event.minute
            # What did not rise between two looks is over, whatever the mean of the minute says.
            if rate > 0 and not (pair.twice and event.total == pair.first.total):
                found.append(Happening(event, rate, event.five_seconds > 0))
    return sorted(found, key=lambda one: -one.rate)


def logged(case: Case, *words: str) -> list[LogMessage]:
    """Return the messages of ovs-vswitchd that have all these words in them."""
    return [one for one in case.all(LogMessage) if one.program == "ovs-vswitchd" and all(word in one.message for word in words)]


def some(places: Iterable[Place | None], most: int = 6) -> tuple[Place, ...]:
    """Return the first few of these places, each once."""
    found: list[Place] = []
    for place in places:
        if place is not None and place not in found and len(found) < most:
            found.append(place)
    return tuple(found)


def cores_of(mask: str) -> set[int]:
    """Return the cores of a mask as pmd-cpu-mask has it: hexadecimal, with or without 0x; none where it is no number."""
    try:
        bits = int(mask, 16) if len(mask) <= 258 else 0
    except ValueError:
        return set()
    return {core for core in range(bits.bit_length()) if bits >> core & 1}


def mask_of(cores: Iterable[int]) -> str:
    """Return the mask of these cores."""
    return hex(sum(1 << core for core in set(cores) if 0 <= core < 1024))
