"""The words after DEV in `ethtool -L -C -G -X -n -N`, by ethtool's own rules, as changes.

Source: ethtool(8), and what ethtool 6.1 sends to a device for which words.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from pktpath.control.ethtool_text import hash_fields_of
from pktpath.errors import BadInput
from pktpath.host.ethtool_values import RxfhChange
from pktpath.offload.rss_key import equal_table, weight_table

CHANNEL_WORDS = ("rx", "tx", "other", "combined")
RING_WORDS = ("rx", "rx-mini", "rx-jumbo", "tx", "rx-buf-len", "cqe-size", "tx-push")
COALESCE_WORDS = (
    "adaptive-rx", "adaptive-tx", "rx-usecs", "rx-frames", "rx-usecs-irq", "rx-frames-irq", "tx-usecs", "tx-frames",
    "tx-usecs-irq", "tx-frames-irq", "stats-block-usecs", "pkt-rate-low", "rx-usecs-low", "rx-frames-low", "tx-usecs-low",
    "tx-frames-low", "pkt-rate-high", "rx-usecs-high", "rx-frames-high", "tx-usecs-high", "tx-frames-high",
    "sample-interval", "cqe-mode-rx", "cqe-mode-tx",
)  # fmt: skip
_SWITCHES = {"adaptive-rx", "adaptive-tx", "cqe-mode-rx", "cqe-mode-tx", "tx-push"}
_MOST = (1 << 32) - 1
_FLOW_NAMES = ("tcp4", "udp4", "ah4", "esp4", "sctp4", "tcp6", "udp6", "ah6", "esp6", "sctp6")


def read_changes(option: str, words: Sequence[str], known: Sequence[str]) -> dict[str, int]:
    """Return `NAME VALUE ...` as a change: names with underscores; switches are 0 or 1.

    Raises:
        BadInput: naming the option, the word and what is allowed.

    """
    changes: dict[str, int] = {}
    for k in range(0, len(words), 2):
        name = words[k]
        if name not in known:
            _bad(option, f"there is no parameter {name!r}; known are {', '.join(known)}")
        if k + 1 == len(words):
            _bad(option, f"{name} needs a value")
        field = name.replace("-", "_")
        if field in changes:
            _bad(option, f"{name} is given twice")
        changes[field] = _switch(option, name, words[k + 1]) if name in _SWITCHES else _number(option, name, words[k + 1])
    return changes


def _switch(option: str, name: str, text: str) -> int:
    if text not in ("on", "off"):
        _bad(option, f"{name} is on or off, not {text!r}")
    return int(text == "on")


def _number(option: str, name: str, text: str) -> int:
    if re.fullmatch(r"\+?[0-9]{1,20}", text):
        value = int(text)
    elif re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", text):
        value = int(text, 16)
    else:
        value = -1
    if not 0 <= value <= _MOST:
        _bad(option, f"{name} is a number from 0 to {_MOST}, not {text!r}")
    return value


def _c_number(name: str, text: str) -> int:
    """Return a number as C's strtoul reads it with base 0: 0x is hexadecimal, a leading 0 octal."""
    value = -1
    for form, base in ((r"0[xX][0-9a-fA-F]{1,16}", 16), (r"0[0-7]{0,24}", 8), (r"[1-9][0-9]{0,20}", 10)):
        if re.fullmatch(form, text):
            value = int(text, base)
    if not 0 <= value <= _MOST:
        _bad("-X", f"{name} takes a number from 0 to {_MOST}, not {text!r}")
    return value


def _bad(option: str, what: str) -> NoReturn:
    message = f"ethtool {option}: {what}"
    raise BadInput(message)


# Receive flow hashing


@dataclass(frozen=True, slots=True, kw_only=True)
class RxfhWords:
    """What `ethtool -X DEV` was asked for; `change_of` makes a change of it for a table of a known size."""

    equal: int | None = None
    weights: tuple[int, ...] | None = None
    start: int = 0
    default: bool = False
    key: bytes | None = None
    function: str | None = None

    def change_of(self, size: int) -> RxfhChange:
        """Return the change for a table of so many entries.

        Raises:
            BadInput: the weights do not fit.

        """
        table: tuple[int, ...] | None = None
        if self.default:
            table = ()
        elif self.equal is not None:
            table = equal_table(self.equal, size, self.start)
        elif self.weights is not None:
            table = weight_table(self.weights, size, self.start)
        return RxfhChange(indirection=table, key=self.key, function=self.function)


def read_rxfh(words: Sequence[str]) -> RxfhWords:
    """Return the words of `ethtool -X DEV`.

    Raises:
        BadInput: a word that is not known, lacks its value or does not go with another.

    """
    found: dict[str, object] = {}
    rest = list(words)
    if not rest:
        _bad("-X", "say what to set: equal N, weight W0 W1 ..., start N, default, hkey xx:xx:..., hfunc NAME")
    while rest:
        word = rest.pop(0)
        if word == "default":
            found[word] = True
            continue
        if word == "weight":
            weights = []
            while rest and rest[0][:1].isdecimal():
                weights.append(_c_number("weight", rest.pop(0)))
            if not weights:
                _bad("-X", "weight needs a number for each ring")
            found["weights"] = tuple(weights)
            continue
        if word not in ("equal", "start", "hkey", "hfunc"):
            _bad("-X", _unknown(word))
        if not rest:
            _bad("-X", f"{word} needs a value")
        text = rest.pop(0)
        if word == "hkey":
            found["key"] = read_key(text)
        elif word == "hfunc":
            found["function"] = text
        else:
            found[word] = _c_number(word, text)
    _judge(found)
    return RxfhWords(**found)  # type: ignore[arg-type]


def _unknown(word: str) -> str:
    if word in ("context", "delete"):
        return f"{word}: pktpath changes the device's own table, not additional RSS contexts"
    return f"there is no parameter {word!r}; known are equal, weight, start, default, hkey, hfunc"


def _judge(found: dict[str, object]) -> None:
    if found.get("equal") == 0:
        _bad("-X", "equal needs at least one ring")
    for one, other in (("equal", "weights"), ("equal", "default"), ("weights", "default"), ("start", "default")):
        if one in found and other in found:
            _bad("-X", f"{one.rstrip('s')} and {other.rstrip('s')} exclude each other")
    if "start" in found and not found.keys() & {"equal", "weights"}:
        _bad("-X", "start goes with equal or weight")


def read_key(text: str) -> bytes:
    """Return a hash key given as two hexadecimal digits a byte with colons between.

    Raises:
        BadInput: it is no key.

    """
    if not re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2})*:?", text):
        _bad("-X", "hkey is two hexadecimal digits a byte with colons between, such as 6d:5a:56:da:...")
    return bytes.fromhex(text.replace(":", ""))


# What the hash covers


def read_hash_query(words: Sequence[str]) -> str:
    """Return the flow type that `ethtool -n DEV` asks for.

    Raises:
        BadInput: it asks for anything else.

    """
    if len(words) != 2 or words[0] != "rx-flow-hash":
        _bad("-n", "pktpath shows the fields of the hash: rx-flow-hash FLOW, such as rx-flow-hash tcp4")
    return _flow("-n", words[1])


def read_hash_change(words: Sequence[str]) -> tuple[str, int]:
    """Return the flow type that `ethtool -N DEV` changes, and the fields as bits.

    Raises:
        BadInput: a word that is not known.

    """
    if len(words) != 3 or words[0] != "rx-flow-hash":
        _bad("-N", "pktpath sets the fields of the hash: rx-flow-hash FLOW LETTERS, such as rx-flow-hash udp4 sdfn")
    fields = hash_fields_of(words[2])
    if fields is None:
        _bad("-N", f"the fields are letters of mvtsdfnr (s and d: addresses, f and n: ports), not {words[2]!r}")
    return _flow("-N", words[1]), fields


def _flow(option: str, name: str) -> str:
    if name not in _FLOW_NAMES:
        _bad(option, f"there is no flow type {name!r}; known are {', '.join(_FLOW_NAMES)}")
    return name
