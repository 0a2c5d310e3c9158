"""The kernel's side of generic netlink for ethtool, as far as channels, rings and coalescing go.

Numbers: include/uapi/linux/ethtool_netlink.h, genetlink.h, netlink.h.
"""

import errno
import struct

_FAMILY = 0x15
_GENL_ID_CTRL = 0x10
_ERROR, _ACK = 2, 4
_HEADER, _NESTED = 1, 0x8000
_PARTS = {15: ("rings", 16), 17: ("channels", 18), 19: ("coalesce", 20)}
_CHANGES = {16: "rings", 18: "channels", 20: "coalesce"}
_BYTES = {"rings": {11, 13, 14}, "channels": set(), "coalesce": {11, 12, 24, 25}}
"""Attributes of one byte; the others have four."""


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("HH", data)
        found[kind & 0x3FFF] = data[4:length]
        data = data[length + 3 & ~3 :]
    return found


class Netlink:
    """Answers the messages of one program."""

    def __init__(self, device) -> None:
        self.device = device

    def answer(self, data: bytes) -> list[bytes]:
        """Return the replies to one message."""
        _, kind, flags, seq, _ = struct.unpack_from("IHHII", data)
        command = data[16]
        try:
            replies = self._family(seq) if kind == _GENL_ID_CTRL else self._ethtool(command, attributes(data[20:]), seq)
        except OSError as error:
            text = attribute(1, error.args[1].encode() + b"\0") if error.args[1] else b""
            return [_message(_ERROR, 0x200 if text else 0, seq, struct.pack("i", -error.errno) + data + text)]
        return [*replies, _message(_ERROR, 0x100, seq, struct.pack("i", 0) + data[:16])] if flags & _ACK else replies

    def _family(self, seq: int) -> list[bytes]:
        if not self.device.netlink:
            raise OSError(errno.ENOENT, "")
        operations = b"".join(
            attribute(k, attribute(1, struct.pack("I", k)) + attribute(2, struct.pack("I", 0xE))) for k in range(1, 40)
        )
        group = attribute(1, attribute(2, struct.pack("I", 5)) + attribute(1, b"monitor\0"))
        body = (
            attribute(2, b"ethtool\0") + attribute(1, struct.pack("H", _FAMILY)) + attribute(3, struct.pack("I", 1))
            + attribute(4, bytes(4)) + attribute(5, bytes(4)) + attribute(6, operations) + attribute(7, group)
        )  # fmt: skip
        return [_message(_GENL_ID_CTRL, 0, seq, b"\1\2\0\0" + body)]

    def _ethtool(self, command: int, found: dict[int, bytes], seq: int) -> list[bytes]:
        if command not in _PARTS and command not in _CHANGES:
            raise OSError(errno.EOPNOTSUPP, "")
        name = attributes(found.pop(_HEADER))[2].rstrip(b"\0").decode()
        if name != self.device.name:
            raise OSError(errno.ENODEV, "no device matches name")
        part, reply = _PARTS.get(command, (_CHANGES.get(command), 0))
        state = getattr(self.device, part)
        if state is None:
            raise OSError(errno.EOPNOTSUPP, "")
        if reply:
            header = attribute(_HEADER | _NESTED, attribute(1, struct.pack("I", 7)) + attribute(2, name.encode() + b"\0"))
            body = b""
            for kind, value in state.items():
                body += attribute(kind, bytes([value]) if kind in _BYTES[part] else struct.pack("I", value))
            return [_message(_FAMILY, 0, seq, bytes([reply, 1, 0, 0]) + header + body)]
        changes = {kind: int.from_bytes(data, "little") for kind, data in found.items()}
        self.device.requests.append((part, changes))
        if part in self.device.refuse:
            raise OSError(*self.device.refuse[part])
        if set(changes) - set(state):
            raise OSError(errno.EINVAL, "cannot modify an unsupported parameter")
        for kind, value in changes.items():
            state[kind] = min(value, self.device.most.get(kind, value))
        return []


def _message(kind: int, flags: int, seq: int, body: bytes) -> bytes:
    return struct.pack("IHHII", 16 + len(body), kind, flags, seq, 0) + body
