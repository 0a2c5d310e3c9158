"""Channels, rings and coalescing of a real device by generic netlink.

The ioctl cannot tell "zero" from "not on this device"; netlink leaves out what is not there. pyroute2 has
the socket and the attributes; the messages are ours, with the field names of the value types as attribute names.
Source: include/uapi/linux/ethtool_netlink.h, Documentation/networking/ethtool-netlink.rst.
"""

import errno
import os
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

from pyroute2.netlink import NLM_F_ACK, NLM_F_REQUEST, genlmsg
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.generic import GenericNetlinkSocket
from pyroute2.netlink.generic.ethtool import ETHTOOL_GENL_NAME, ETHTOOL_GENL_VERSION, ethtoolheader

from pktpath.errors import BadInput
from pktpath.host.ethtool_values import Changes, Channels, Coalesce, Rings

Value = TypeVar("Value", Channels, Rings, Coalesce)
_LONGEST_NAME = 127
"""An alternative name has up to 127 bytes (ALTIFNAMSIZ)."""
_SWITCHES = {
    "adaptive_rx", "adaptive_tx", "cqe_mode_rx", "cqe_mode_tx", "tcp_data_split", "tx_push", "rx_push",
}  # fmt: skip
_CHANNELS = ("rx_max", "tx_max", "other_max", "combined_max", "rx", "tx", "other", "combined")
_RINGS = (
    "rx_max", "rx_mini_max", "rx_jumbo_max", "tx_max", "rx", "rx_mini", "rx_jumbo", "tx", "rx_buf_len", "tcp_data_split",
    "cqe_size", "tx_push", "rx_push", "tx_push_buf_len", "tx_push_buf_len_max", "hds_thresh", "hds_thresh_max",
)  # fmt: skip
_COALESCE = (
    "rx_usecs", "rx_frames", "rx_usecs_irq", "rx_frames_irq", "tx_usecs", "tx_frames", "tx_usecs_irq", "tx_frames_irq",
    "stats_block_usecs", "adaptive_rx", "adaptive_tx", "pkt_rate_low", "rx_usecs_low", "rx_frames_low", "tx_usecs_low",
    "tx_frames_low", "pkt_rate_high", "rx_usecs_high", "rx_frames_high", "tx_usecs_high", "tx_frames_high",
    "sample_interval", "cqe_mode_tx", "cqe_mode_rx", "tx_aggr_max_bytes", "tx_aggr_max_frames", "tx_aggr_time_usecs",
)  # fmt: skip


def _attributes(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return the attribute table of a message whose second attribute is the header, and the rest these in turn."""
    kinds = [(name, "uint8" if name in _SWITCHES else "uint32") for name in names]
    return (("unspecified", "none"), ("header", "device"), *kinds)


class _ChannelsMessage(genlmsg):  # type: ignore[misc]
    device = ethtoolheader
    nla_map = _attributes(_CHANNELS)


class _RingsMessage(genlmsg):  # type: ignore[misc]
    device = ethtoolheader
    nla_map = _attributes(_RINGS)


class _CoalesceMessage(genlmsg):  # type: ignore[misc]
    device = ethtoolheader
    nla_map = _attributes(_COALESCE)


class _Part(NamedTuple):
    """One pair of messages: ETHTOOL_MSG_..._GET and _SET."""

    message: type
    get: int
    set: int
    names: tuple[str, ...]


_PARTS = {
    Channels: _Part(_ChannelsMessage, 17, 18, _CHANNELS),
    Rings: _Part(_RingsMessage, 15, 16, _RINGS),
    Coalesce: _Part(_CoalesceMessage, 19, 20, _COALESCE),
}


def read(device: str, kind: type[Value]) -> tuple[Value, str]:
    """Return one part of a device's settings, and the device's own name where `device` is an alternative one.

    Raises:
        BadInput: no such device.
        OSError: with the kernel's errno and, where it has one, its message.

    """
    part = _PARTS[kind]
    replies = _exchange(device, part, part.get, {}, NLM_F_REQUEST)
    attributes = dict(replies[0]["attrs"]) if replies else {}
    name = attributes["header"].get_attr("ETHTOOL_A_HEADER_DEV_NAME") if "header" in attributes else None
    return kind(**{field: attributes[field] for field in part.names if field in attributes}), name or device


def write(device: str, kind: type, changes: Changes) -> None:
    """Change some fields of one part, all or none of them; errors as in `read`."""
    part = _PARTS[kind]
    _exchange(device, part, part.set, changes, NLM_F_REQUEST | NLM_F_ACK)


def _exchange(device: str, part: _Part, command: int, changes: Changes, flags: int) -> list[Any]:
    if not 0 < len(os.fsencode(device)) <= _LONGEST_NAME or "\0" in device:
        message = f"no device is named {device!r}"
        raise BadInput(message)
    request = part.message()
    request["cmd"] = command
    request["version"] = ETHTOOL_GENL_VERSION
    request["attrs"] = [("header", {"attrs": [("ETHTOOL_A_HEADER_DEV_NAME", device)]}), *changes.items()]
    try:
        with GenericNetlinkSocket(ext_ack=True) as socket:
            socket.asyncore.module_err_level = "debug"
            socket.bind(ETHTOOL_GENL_NAME, part.message)
            return list(socket.nlm_request(request, msg_type=socket.prid, msg_flags=flags))
    except NetlinkError as error:
        if error.code == errno.ENODEV:
            message = f"no device is named {device!r}"
            raise BadInput(message) from error
        text = error.args[1]
        raise OSError(error.code, "" if text == os.strerror(error.code) else text) from error
