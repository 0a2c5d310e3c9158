"""The text of `ethtool -l -x -c -g -S -i -n`, as version 6.1 prints it, and the same as JSON.

Version 6.1 has JSON for features only. The keys here are those of later versions for -x, and else the words
of the setters, with -max for a maximum. What the device does not say is left out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from pktpath.host.ethtool_values import Channels, Coalesce, DriverInfo, Rings, Rxfh

Json = list[dict[str, Any]]
_ENTRIES = 8
"""Entries of the indirection table in a line."""
_NOT_SUPPORTED = "Operation not supported"
_SPLIT = {0: "n/a", 1: "off", 2: "on"}
_FIELDS = (
    (1 << 1, "L2DA"),
    (1 << 2, "VLAN tag"),
    (1 << 3, "L3 proto"),
    (1 << 4, "IP SA"),
    (1 << 5, "IP DA"),
    (1 << 6, "L4 bytes 0 & 1 [TCP/UDP src port]"),
    (1 << 7, "L4 bytes 2 & 3 [TCP/UDP dst port]"),
)
_LETTERS = {"m": 1 << 1, "v": 1 << 2, "t": 1 << 3, "s": 1 << 4, "d": 1 << 5, "f": 1 << 6, "n": 1 << 7, "r": 1 << 31}
_DISCARD = 1 << 31
_FLOWS = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP", "ah": "IPSEC AH/ESP", "esp": "IPSEC AH/ESP"}


def _number(value: int | None) -> str:
    return "n/a" if value is None else str(value)


def _switch(value: int | None) -> str:
    return "n/a" if value is None else "on" if value else "off"


def _yes(value: int) -> str:
    return "yes" if value else "no"


def channels_text(device: str, value: Channels) -> str:
    """Return what `ethtool -l` prints."""
    most = (value.rx_max, value.tx_max, value.other_max, value.combined_max)
    now = (value.rx, value.tx, value.other, value.combined)
    return _maximums(f"Channel parameters for {device}:", ("RX", "TX", "Other", "Combined"), most, now)


def rings_text(device: str, value: Rings) -> str:
    """Return what `ethtool -g` prints."""
    most = (value.rx_max, value.rx_mini_max, value.rx_jumbo_max, value.tx_max)
    now = (value.rx, value.rx_mini, value.rx_jumbo, value.tx)
    split = value.tcp_data_split
    more = (
        ("RX Buf Len", _number(value.rx_buf_len)),
        ("CQE Size", _number(value.cqe_size)),
    )
    return (
        _maximums(f"Ring parameters for {device}:", ("RX", "RX Mini", "RX Jumbo", "TX"), most, now)
        + "".join(f"{name}:\t\t{text}\n" for name, text in more)
        + f"TX Push:\t{_switch(value.tx_push)}\n"
        + f"TCP data split:\t{'n/a' if split is None else _SPLIT.get(split, f'unknown({split})')}\n"
    )


def _maximums(head: str, names: Sequence[str], most: Iterable[int | None], now: Iterable[int | None]) -> str:
    def lines(values: Iterable[int | None]) -> str:
        tabs = ("\t" if len(name) > 6 else "\t\t" for name in names)
        return "".join(f"{name}:{tab}{_number(value)}\n" for name, tab, value in zip(names, tabs, values, strict=True))

    return f"{head}\nPre-set maximums:\n{lines(most)}Current hardware settings:\n{lines(now)}"


def coalesce_text(device: str, value: Coalesce) -> str:
    """Return what `ethtool -c` prints."""

    def lines(side: str, suffixes: Sequence[str]) -> str:
        text = ""
        for suffix in suffixes:
            for kind in ("usecs", "frames"):
                # The text of the last two groups says frame where the setter's word is frames.
                shown = kind if suffix in ("", "-irq") else kind.replace("frames", "frame")
                number = getattr(value, f"{side}_{kind}{suffix}".replace("-", "_"))
                text += f"{side}-{shown}{suffix}: {_number(number)}\n"
        return text

    return (
        f"Coalesce parameters for {device}:\n"
        f"Adaptive RX: {_switch(value.adaptive_rx)}  TX: {_switch(value.adaptive_tx)}\n"
        f"stats-block-usecs: {_number(value.stats_block_usecs)}\n"
        f"sample-interval: {_number(value.sample_interval)}\n"
        f"pkt-rate-low: {_number(value.pkt_rate_low)}\n"
        f"pkt-rate-high: {_number(value.pkt_rate_high)}\n\n"
        f"{lines('rx', ('', '-irq'))}\n{lines('tx', ('', '-irq'))}\n"
        f"{lines('rx', ('-low',))}{lines('tx', ('-low',))}\n"
        f"{lines('rx', ('-high',))}{lines('tx', ('-high',))}\n"
        f"CQE mode RX: {_switch(value.cqe_mode_rx)}  TX: {_switch(value.cqe_mode_tx)}\n\n"
    )


def rxfh_text(device: str, value: Rxfh) -> str:
    """Return what `ethtool -x` prints."""
    text = f"RX flow hash indirection table for {device} with {value.rings} RX ring(s):\n"
    table = value.indirection
    for first in range(0, len(table), _ENTRIES):
        text += f"{first:5}: " + "".join(f" {ring:5}" for ring in table[first : first + _ENTRIES]) + "\n"
    if value.table_only:
        return text
    if not table:
        text += f"{_NOT_SUPPORTED}\n"
    text += f"RSS hash key:\n{key_text(value.key) if value.key else _NOT_SUPPORTED}\nRSS hash function:\n"
    if value.functions is None:
        return f"{text}    {_NOT_SUPPORTED}\n"
    return text + "".join(f"    {name}: {_switch(used)}\n" for name, used in value.functions.items())


def key_text(key: bytes) -> str:
    """Return a hash key as `ethtool -X ... hkey` takes it."""
    return key.hex(":")


def statistics_text(value: Iterable[tuple[str, int]]) -> str:
    """Return what `ethtool -S` prints."""
    return "NIC statistics:\n" + "".join(f"     {name}: {number}\n" for name, number in value)


def driver_text(value: DriverInfo) -> str:
    """Return what `ethtool -i` prints."""
    return "".join(f"{name}: {text}\n" for name, text in _driver(value).items())


def _driver(value: DriverInfo) -> dict[str, str]:
    return {
        "driver": value.driver,
        "version": value.version,
        "firmware-version": value.firmware_version,
        "expansion-rom-version": value.expansion_rom_version,
        "bus-info": value.bus_info,
        "supports-statistics": _yes(value.statistics),
        "supports-test": _yes(value.tests),
        "supports-eeprom-access": _yes(value.eeprom),
        "supports-register-dump": _yes(value.registers),
        "supports-priv-flags": _yes(value.private_flags),
    }


def hash_fields_text(flow: str, fields: int) -> str:
    """Return what `ethtool -n DEV rx-flow-hash FLOW` prints."""
    what = f"{_FLOWS[flow[:-1]]} over IPV{flow[-1]} flows"
    if fields == 0:
        return f"{what} use these fields for computing Hash flow key:\nNone\n"
    if fields & _DISCARD:
        return f"{what} - All matching flows discarded on RX\n"
    lines = "".join(f"{name}\n" for bit, name in _FIELDS if fields & bit)
    return f"{what} use these fields for computing Hash flow key:\n{lines}\n"


def hash_letters(fields: int) -> str:
    """Return hash fields as the letters of `ethtool -N`."""
    return "".join(letter for letter, bit in _LETTERS.items() if fields & bit)


def hash_fields_of(letters: str) -> int | None:
    """Return the bits that letters stand for, None when one of them stands for nothing."""
    fields = 0
    for letter in letters:
        if letter not in _LETTERS:
            return None
        fields |= _LETTERS[letter]
    return fields


# JSON


def settings_json(device: str, value: Channels | Rings | Coalesce) -> Json:
    """Return channels, rings or coalescing as JSON; switches are booleans."""
    switches = {"adaptive_rx", "adaptive_tx", "cqe_mode_rx", "cqe_mode_tx", "tx_push", "rx_push"}
    row: dict[str, Any] = {"ifname": device}
    for name, number in asdict(value).items():
        if number is None:
            continue
        shown: object = bool(number) if name in switches else number
        if name == "tcp_data_split":
            shown = {1: "off", 2: "on"}.get(number, "unknown")
        row[name.replace("_", "-")] = shown
    return [row]


def rxfh_json(device: str, value: Rxfh) -> Json:
    """Return receive flow hashing as JSON."""
    row: dict[str, Any] = {"ifname": device, "rx-rings": value.rings}
    if value.indirection:
        row["rss-indirection-table"] = list(value.indirection)
    if value.key:
        row["rss-hash-key"] = list(value.key)
    used = [name for name, on in (value.functions or {}).items() if on]
    if used:
        row["rss-hash-function"] = used[0] if len(used) == 1 else used
    if value.input_xfrm:
        row["rss-input-transformation"] = {1: "symmetric-xor", 2: "symmetric-or-xor"}.get(value.input_xfrm, str(value.input_xfrm))
    return [row]


def statistics_json(device: str, value: Iterable[tuple[str, int]]) -> Json:
    """Return statistics as JSON; of numbers with one name the last counts, as in every JSON object."""
    return [{"ifname": device, "statistics": dict(value)}]


def driver_json(device: str, value: DriverInfo) -> Json:
    """Return the driver as JSON; what it supports are booleans."""
    rows = _driver(value).items()
    return [{"ifname": device} | {name: text == "yes" if name.startswith("supports") else text for name, text in rows}]


def hash_fields_json(device: str, flow: str, fields: int) -> Json:
    """Return the fields of one flow type as JSON."""
    return [{"ifname": device, "flow-type": flow, "rx-flow-hash": hash_letters(fields)}]
