"""Traffic for a replay by its rate and frame size, where there is no capture: `80M,1500,burst=16,flows=4`.

Enters: the words of a command line. Leaves: batches of frames with arrival times. Everything follows from the
words. Frames are IPv4 TCP with timestamps, or UDP, of one size; a burst belongs to one flow and comes at the
rate of the link, flows take turns burst by burst, and bursts are as far apart as the rate asks for.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, NoReturn

from pktpath.errors import BadInput

if TYPE_CHECKING:
    from pktpath.batch import Batch

_TCP_HEADERS, _UDP_HEADERS = 66, 42
_LEAST = {"tcp": _TCP_HEADERS, "udp": 60}
"""Bytes of the shortest frame: headers with the timestamp option, or Ethernet's minimum."""
_MOST_BYTES = 9014
_BETWEEN = 24
"""Bytes of preamble, frame check sequence and gap on a link."""
_LEAST_RATE, _MOST_RATE = 1000, 400_000_000_000
_MOST = {"frames": 20_000_000, "burst": 65536, "flows": 50_000}
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_STEP = 4096
_WRITE_SEGMENTS = 45
"""Segments of one application write: the last one has PSH."""
_SPREAD, _NUMBERS = 40_503, _MOST["flows"]
"""Flow k is number k * _SPREAD % _NUMBERS, each once: RSS is linear, and neighbours could all hash alike."""
_TICK = 1_000_000
"""Nanoseconds in a tick of the TCP timestamp."""
_FORM = "RATE,SIZE[,burst=N][,flows=N][,frames=N][,link=RATE][,udp], such as 80M,1500,burst=16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What is sent."""

    rate: int
    """Bits of frames in a second, without what a link needs between them."""
    size: int
    """Bytes of a frame, without its frame check sequence."""
    burst: int = 1
    """Frames that follow each other as fast as the link carries them."""
    flows: int = 1
    frames: int = 100_000
    link: int = 10_000_000_000
    """Bits that the link carries in a second."""
    udp: bool = False

    def batches(self) -> Iterator["Batch"]:
        """Yield the frames in the order of their arrival; times are in nanoseconds from 0."""
        import numpy as np

        from pktpath.lab import traffic
        from pktpath.wire import tcp, udp

        payload = self.size - (_UDP_HEADERS if self.udp else _TCP_HEADERS)
        apart = self.burst * self.size * 8e9 / self.rate
        behind = (self.size + _BETWEEN) * 8e9 / self.link
        for first in range(0, self.frames, _STEP):
            frame = np.arange(first, min(first + _STEP, self.frames))
            burst, place = np.divmod(frame, self.burst)
            flow = burst % self.flows * _SPREAD % _NUMBERS
            nth = burst // self.flows * self.burst + place
            time = (burst * apart).astype(np.int64) + (place * behind).astype(np.int64)
            ends = nth % _WRITE_SEGMENTS == _WRITE_SEGMENTS - 1
            zero = np.zeros(len(frame), np.int64)
            plan = traffic.Plan(
                flow=flow,
                reverse=zero,
                network=zero + 4,
                protocol=zero + (udp.PROTOCOL if self.udp else tcp.PROTOCOL),
                length=zero + payload,
                sequence=nth * payload & 0x7FFFFFFF,
                acknowledgment=zero,
                flags=np.where(ends, tcp.ACK | tcp.PSH, tcp.ACK),
                ident=flow * 977 + nth & 0xFFFF,
                gso_size=zero,
                stamp=time // _TICK,
            )
            batch = traffic.frames(plan)
            batch.timestamp[: len(frame)] = time
            yield batch

    def words(self) -> str:
        """Return what is sent, for a person."""
        bursts = f", bursts of {self.burst:,} at {_rate_text(self.link)}" if self.burst > 1 else ""
        flows = "one flow" if self.flows == 1 else f"{self.flows:,} flows"
        kind = "UDP" if self.udp else "TCP"
        return f"{_rate_text(self.rate)} of {self.size:,}-byte {kind} frames, {flows}{bursts}"


def parse_traffic(text: str) -> Traffic:
    """Return the traffic that a text such as `80M,1500,burst=16,flows=4` stands for.

    Raises:
        BadInput: it has another form, or a value is out of its range.

    """
    words = [word.strip() for word in text.split(",")]
    if len(words) < 2:
        _bad(text, f"a rate and a frame size at least: {_FORM}")
    values: dict[str, int] = {"rate": _rate(text, words[0]), "size": _number(text, "SIZE", words[1], _MOST_BYTES)}
    udp = False
    for word in words[2:]:
        name, equals, value = word.partition("=")
        if word == "udp":
            udp = True
        elif not equals or name not in (*_MOST, "link"):
            _bad(text, f"there is no {word!r}: {_FORM}")
        elif name in values:
            _bad(text, f"{name} is given twice")
        else:
            values[name] = _rate(text, value) if name == "link" else _number(text, name, value, _MOST[name])
    values.setdefault("link", max(10_000_000_000, 2 * values["rate"]))
    least = _LEAST["udp" if udp else "tcp"]
    if values["size"] < least:
        _bad(text, f"SIZE {values['size']}: {least} bytes at least")
    if values["link"] * values["size"] < values["rate"] * (values["size"] + _BETWEEN):
        _bad(text, f"a link of {_rate_text(values['link'])} does not carry so many frames, with {_BETWEEN} bytes between them")
    return Traffic(**values, udp=udp)


def _rate(text: str, word: str) -> int:
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)([kKmMgG]?)(?:bit)?", word)
    rate = int(Fraction(found[1]) * _UNITS[found[2].lower()]) if found else 0
    if not _LEAST_RATE <= rate <= _MOST_RATE:
        _bad(text, f"{word!r} is no rate: bits in a second from 1k to 400G, such as 80M or 2.5G")
    return rate


def _number(text: str, name: str, word: str, most: int) -> int:
    value = int(word) if re.fullmatch(r"[0-9]{1,12}", word) else 0
    if not 1 <= value <= most:
        _bad(text, f"{name} {word!r}: a whole number from 1 to {most}")
    return value


def _rate_text(rate: int) -> str:
    for unit, prefix in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if rate >= unit:
            return f"{rate / unit:g} {prefix}bit/s"
    return f"{rate} bit/s"


def _bad(text: str, what: str) -> NoReturn:
    message = f"--traffic {text}: {what}"
    raise BadInput(message)
