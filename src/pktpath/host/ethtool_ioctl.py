"""Receive flow hashing, statistics and driver of a real device by SIOCETHTOOL.

Each structure is packed here: pyroute2 has none for the hash.
Source: include/uapi/linux/ethtool.h.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct

from pktpath.errors import BadInput
from pktpath.host.ethtool_values import DriverInfo, Rxfh, RxfhChange

_SIOCETHTOOL = 0x8946
_LONGEST_NAME = 15
_GDRVINFO, _GSTRINGS, _GSTATS, _GSSET_INFO = 0x03, 0x1B, 0x1D, 0x37
_GRXFH, _SRXFH, _GRXRINGS = 0x29, 0x2A, 0x2D
_GRXFHINDIR, _SRXFHINDIR, _GRSSH, _SRSSH = 0x38, 0x39, 0x46, 0x47
_SS_STATS, _SS_HASH_FUNCTIONS = 1, 5
_STRING = 32
_UNCHANGED_TABLE = 0xFFFFFFFF
_RXFH = struct.Struct("=IIIIBBxxI")
"""Command, context, entries of the table, bytes of the key, function, transformation of the input."""
_RXNFC = struct.Struct("=IIQ176x")
"""Command, flow type, data; then a rule, which is not used here."""
_DRVINFO = struct.Struct("=I32s32s32s32s32s12xIIIII")
FLOW_TYPES = {
    "tcp4": 1, "udp4": 2, "sctp4": 3, "ah4": 4, "esp4": 4, "tcp6": 5, "udp6": 6, "sctp6": 7, "ah6": 8, "esp6": 8,
}  # fmt: skip


def _call(device: str, request: bytes) -> bytes:
    """Hand one structure to the kernel and return what it makes of it.

    Raises:
        BadInput: no such device.
        OSError: with the kernel's errno.

    """
    name = os.fsencode(device)
    if not 0 < len(name) <= _LONGEST_NAME or b"\0" in name:
        message = f"no device is named {device!r}"
        raise BadInput(message)
    buffer = ctypes.create_string_buffer(request, len(request))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        try:
            fcntl.ioctl(channel, _SIOCETHTOOL, struct.pack("16sP16x", name, ctypes.addressof(buffer)))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            message = f"no device is named {device!r}"
            raise BadInput(message) from error
    return buffer.raw


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode(errors="replace")


def _count(device: str, string_set: int) -> int:
    reply = _call(device, struct.pack("=IIQI", _GSSET_INFO, 0, 1 << string_set, 0))
    _, _, mask, count = struct.unpack("=IIQI", reply)
    return int(count) if mask else 0


def _strings(device: str, string_set: int) -> list[str]:
    count = _count(device, string_set)
    if count == 0:
        return []
    reply = _call(device, struct.pack("=III", _GSTRINGS, string_set, count) + bytes(_STRING * count))
    (count,) = struct.unpack_from("=I", reply, 8)
    return [_text(reply[12 + _STRING * k : 12 + _STRING * (k + 1)]) for k in range(count)]


def read_statistics(device: str) -> list[tuple[str, int]]:
    """Return the driver's counters in its order, empty where it has none; a name may come twice."""
    names = _strings(device, _SS_STATS)
    if not names:
        return []
    # Room for more than we know of: the driver may have grown a queue since it was asked for the names.
    room = 2 * len(names) + 64
    reply = _call(device, struct.pack("=II", _GSTATS, len(names)) + bytes(8 * room))
    (count,) = struct.unpack_from("=I", reply, 4)
    numbers = struct.unpack_from(f"={min(count, len(names))}Q", reply, 8)
    return list(zip(names, numbers, strict=False))


def read_driver(device: str) -> DriverInfo:
    """Return who drives the device."""
    reply = _call(device, struct.pack("=I", _GDRVINFO) + bytes(_DRVINFO.size - 4))
    _, *texts, flags, statistics, tests, eeprom, registers = _DRVINFO.unpack(reply)
    driver, version, firmware, bus, rom = map(_text, texts)
    return DriverInfo(
        driver=driver, version=version, firmware_version=firmware, expansion_rom_version=rom, bus_info=bus,
        statistics=statistics, tests=tests, eeprom=eeprom, registers=registers, private_flags=flags,
    )  # fmt: skip


def read_rxfh(device: str) -> Rxfh:
    """Return table, key and function of receive flow hashing."""
    rings = _RXNFC.unpack(_call(device, _RXNFC.pack(_GRXRINGS, 0, 0)))[2]
    try:
        head = _call(device, _RXFH.pack(_GRSSH, 0, 0, 0, 0, 0, 0))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return Rxfh(rings=rings, indirection=_older_table(device), table_only=True)
    _, _, size, key_size, *_ = _RXFH.unpack(head)
    reply = _call(device, _RXFH.pack(_GRSSH, 0, size, key_size, 0, 0, 0) + bytes(4 * size + key_size))
    _, _, size, key_size, function, xfrm, _ = _RXFH.unpack_from(reply)
    table = struct.unpack_from(f"={size}I", reply, _RXFH.size)
    key = reply[_RXFH.size + 4 * size :][:key_size]
    functions = (
        {name: bool(function >> k & 1) for k, name in enumerate(_strings(device, _SS_HASH_FUNCTIONS))} if function else None
    )
    return Rxfh(rings=rings, indirection=table, key=key, functions=functions, input_xfrm=xfrm)


def _older_table(device: str) -> tuple[int, ...]:
    _, size = struct.unpack("=II", _call(device, struct.pack("=II", _GRXFHINDIR, 0)))
    reply = _call(device, struct.pack("=II", _GRXFHINDIR, size) + bytes(4 * size))
    return struct.unpack_from(f"={size}I", reply, 8)


def write_rxfh(device: str, now: Rxfh, change: RxfhChange) -> None:
    """Change some of it in one call; `now` is what `read_rxfh` returned.

    Raises:
        BadInput: no such device.
        OSError: with the kernel's errno.

    """
    table = change.indirection
    entries = struct.pack(f"={len(table)}I", *table) if table else b""
    if now.table_only:
        _call(device, struct.pack("=II", _SRXFHINDIR, len(table or ())) + entries)
        return
    names = _strings(device, _SS_HASH_FUNCTIONS) if change.function is not None else []
    function = 1 << names.index(change.function) if change.function in names else 0
    size = _UNCHANGED_TABLE if table is None else len(table)
    key = change.key or b""
    _call(device, _RXFH.pack(_SRSSH, 0, size, len(key), function, 0, 0) + entries + key)


def hash_functions(device: str) -> list[str]:
    """Return the names of the kernel's hash functions."""
    return _strings(device, _SS_HASH_FUNCTIONS)


def read_hash_fields(device: str, flow: str) -> int:
    """Return what the hash covers for a flow type, as RXH_ bits."""
    return int(_RXNFC.unpack(_call(device, _RXNFC.pack(_GRXFH, FLOW_TYPES[flow], 0)))[2])


def write_hash_fields(device: str, flow: str, fields: int) -> None:
    """Change it."""
    _call(device, _RXNFC.pack(_SRXFH, FLOW_TYPES[flow], fields))
