"""What texts of Open vSwitch have in common: numbers that may be absurd, and columns of its database.

Source: ovs-vsctl(8), ovsdb(7).
"""

import re

_MOST = 19
"""Digits of a number that a counter can hold; what is longer is damage."""
_PAIR = re.compile(r'([\w.:/@-]{1,128})=("(?:[^"\\]|\\.){0,4096}"|[^,}\s]{0,4096})')


def whole(text: str) -> int | None:
    """Return the number that these digits are; None for `?`, nothing, or more than 64 bits hold."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST else None


def number(text: str) -> float | None:
    """Return the number with or without a fraction; None for what is none."""
    if not 0 < len(text) <= 2 * _MOST or not text.isascii() or not text.replace(".", "", 1).isdigit():
        return None
    return float(text)


def unquoted(text: str) -> str:
    """Return a value of the database as it was set: `"0x2"` is 0x2, `[]` nothing."""
    text = text.strip()
    if text == "[]":
        return ""
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return text


def mapping(text: str) -> dict[str, str]:
    """Return a column such as `{dpdk-init="true", pmd-cpu-mask="0x2"}`."""
    return {found[1]: unquoted(found[2]) for found in _PAIR.finditer(text)}
