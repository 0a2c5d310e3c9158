"""Readable cases: packets in, frames out, as text.

    == name
    A sentence that says what the case shows.
    family 4 6
    with max_aggr=3
    in
    tcp len=100 flags=AP
    tcp len=100 seq=300 x3
    pause
    udp len=50
    out
    len=200 segs=2 reason=psh
    out 6.12
    len=100
    len=100

A line of `in` is a packet: its protocol, then fields of `support.craft.Packet`. `len` is its payload,
`seq` goes on from the packet before unless given, `flags` are letters, byte fields are
hexadecimal, `pad` fills the frame with zeros up to that length, `xN` repeats the packet (of TCP,
the stream goes on). `pause` ends a poll. A line of `out` is a frame: only the fields given
are checked. An `out` with rules versions holds for those, one without for the rest. `with` gives the engine
its limits, `counters` says what it counted.
"""

from dataclasses import dataclass, field, fields
from pathlib import Path

from support.craft import Packet, flag_bits

CASES = Path(__file__).parent.parent / "cases"
_FIELD_TYPES = {item.name: item.type for item in fields(Packet)}


@dataclass
class Case:
    """One case of a file."""

    name: str
    families: tuple[int, ...] = (4, 6)
    text: str = ""
    packets: list[str] = field(default_factory=list)
    frames: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)

    def polls(self, family: int) -> list[list[bytes]]:
        """Return the frames of each poll."""
        polls: list[list[bytes]] = [[]]
        seq = 100
        for line in self.packets:
            if line == "pause":
                polls.append([])
                continue
            for packet, least in _packets(line, family, seq):
                seq = packet.seq + len(packet.payload)
                polls[-1].append(packet.frame().ljust(least, b"\0"))
        return polls

    def expected(self, version: str) -> list[dict[str, str]]:
        """Return the fields of each frame that comes out under the rules of a version."""
        return self.frames.get(version) or self.frames["other"]


def _packets(line: str, family: int, seq: int) -> list[tuple[Packet, int]]:
    protocol, *words = line.split()
    changes: dict[str, object] = {}
    repeat = 1
    least = 0
    length = 0
    for word in words:
        name, _, text = word.partition("=")
        if not text and name[0] == "x":
            repeat = int(name[1:])
        elif name == "len":
            length = int(text, 0)
        elif name == "pad":
            least = int(text, 0)
        elif name == "flags":
            changes[name] = flag_bits(text)
        elif name in ("tags", "extensions"):
            pairs = [pair.split(":") for pair in text.split(",")]
            changes[name] = tuple(
                (int(kind, 0), bytes.fromhex(rest) if name == "extensions" else int(rest, 0)) for kind, rest in pairs
            )
        elif _FIELD_TYPES[name] in ("bytes", bytes):
            changes[name] = bytes.fromhex(text)
        else:
            changes[name] = bool(int(text)) if _FIELD_TYPES[name] in ("bool", bool) else int(text, 0)
    packet = Packet(family=family, protocol=protocol, payload=b"a" * length, ttl=8).but(**{"seq": seq, **changes})
    advance = length if protocol == "tcp" else 0
    return [(packet.but(seq=packet.seq + k * advance), least) for k in range(repeat)]


def read_cases(name: str) -> list[Case]:
    """Return the cases of `tests/cases/NAME.case`.

    Raises:
        ValueError: a line that belongs to nothing.

    """
    cases: list[Case] = []
    section: list | None = None
    for number, raw in enumerate((CASES / f"{name}.case").read_text().splitlines(), 1):
        line = raw.split("#")[0].strip()
        word, *rest = line.split() or [""]
        if not word:
            continue
        if word == "==":
            cases.append(Case(rest[0]))
            section = None
        elif not cases:
            message = f"{name}.case:{number}: a case starts with =="
            raise ValueError(message)
        elif word == "family":
            cases[-1].families = tuple(map(int, rest))
        elif word in ("with", "counters"):
            numbers = cases[-1].limits if word == "with" else cases[-1].counters
            numbers.update((name, int(value)) for name, _, value in (item.partition("=") for item in rest))
        elif word == "in":
            section = cases[-1].packets
        elif word == "out":
            section = []
            for version in rest or ["other"]:
                cases[-1].frames[version] = section
        elif section is None:
            cases[-1].text += line + " "
        elif section is cases[-1].packets:
            section.append(line)
        else:
            section.append(dict(item.split("=") for item in line.split()))
    return cases
