"""Flow text as words: cut by the parser of the `ovs` package, and what it knows that this switch has not."""

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from pktpath.errors import BadInput

_MISSING = {
    "conntrack (ct)": ("ct_clear", "ct"),
    "conntrack (nat)": ("nat",),
    "a register": ("xxreg", "xreg", "reg"),
    "metadata": ("metadata", "write_metadata"),
    "MPLS": ("mpls",),
    "conjunctive match": ("conj",),
    "learning flows by flows": ("learn",),
    "encapsulation": ("encap", "decap"),
    "NSH": ("nsh",),
    "tunnel metadata": ("tun_",),
    "a queue": ("enqueue", "set_queue", "pop_queue"),
    "clone": ("clone",),
    "sampling": ("sample",),
    "a bundle of ports": ("bundle",),
    "multipath": ("multipath",),
    "a mark of the kernel": ("skb_", "pkt_mark"),
}
"""What this switch has not, and the first letters of the words that ask for it."""


class Word(NamedTuple):
    """`name`, `name=value`, `name:value` or `name(value)`."""

    name: str
    value: str | None
    mark: str = "="
    """What stood between: `=`, `:` or `(`."""

    @property
    def text(self) -> str:
        """The word as it was written, more or less."""
        if self.value is None:
            return self.name
        return f"{self.name}{self.mark}{self.value}" + (")" if self.mark == "(" else "")

    @property
    def bracket(self) -> bool:
        """Whether the value stood in parentheses."""
        return self.mark == "("


@functools.cache
def _parser() -> tuple[Callable[..., Any], type[Exception]]:
    """Import the parser: it takes a while, and most commands do not parse flows."""
    try:
        kv = import_module("ovs.flow.kv")
    except ImportError as missing:
        said = f"flows are read by the package ovs, and that one says: {missing} (pip install 'ovs[flow]')"
        raise BadInput(said) from None
    decoders = kv.KVDecoders(default=lambda name, value: (name, value), default_free=lambda name: (name, None))
    return (lambda text: kv.KVParser(text, decoders)), kv.ParseError


@functools.cache
def known_elsewhere() -> frozenset[str]:
    """Return every word of matches and actions that Open vSwitch knows."""
    flow = import_module("ovs.flow.ofp").OFPFlow
    return frozenset(flow.match_decoders()._decoders) | frozenset(flow.action_decoders()._decoders)  # noqa: SLF001  it has no other way


def words(text: str) -> list[Word]:
    """Cut a list of words at commas and spaces; what stands in parentheses stays together."""
    parse, wrong = _parser()
    parser = parse(_commas(text))
    try:
        parser.parse()
    except wrong as error:
        raise BadInput(str(error)) from None
    found = []
    for pair in parser.kv():
        empty = pair.value is None and pair.meta.delim != "("
        found.append(Word(pair.meta.kstring, None if empty else pair.meta.vstring, pair.meta.delim))
    return found


def _commas(text: str) -> str:
    """Put a comma wherever space separates words: the parser takes it for a part of a word without value."""
    pieces, depth = [], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        pieces.append(letter if not letter.isspace() else "" if depth else ",")
    return "".join(pieces)


def refuse(word: Word, what: str) -> BadInput:
    """Return the error for a word that nothing here understands."""
    name = word.name.lower()
    target = (word.value or "").rpartition("->")[2].removeprefix("NXM_NX_").removeprefix("OXM_OF_").lower()
    for thing, beginnings in _MISSING.items():
        if name.startswith(beginnings) or target.startswith(beginnings):
            return BadInput(f"'{word.text}': {thing} is not there; this switch refuses what it cannot do")
    if name in known_elsewhere():
        return BadInput(f"'{word.text}': {what} {word.name} is not there; this switch refuses what it cannot do")
    return BadInput(f"'{word.text}': unknown {what} {word.name}")
