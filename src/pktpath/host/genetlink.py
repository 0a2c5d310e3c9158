"""One question to a generic netlink family of the kernel, and what its answers and refusals mean to a user.

Source: Documentation/networking/ethtool-netlink.rst, netlink(7); the socket and the encoding are pyroute2's.
"""

import errno
import os
from typing import Any

from pktpath.errors import BadInput, Refused


class NoNetlink(Exception):  # noqa: N818  it says what there is not
    """The kernel has no such family, or no netlink at all: ask in another way."""


def ask(family: str, message: Any, dev: str, what: str) -> list[Any]:
    """Send one message and return the replies to it, decoded as messages of its class.

    Args:
        family: the name of the family.
        message: a `genlmsg` with `cmd`, `version` and `attrs`.
        dev: the device that the message is about, for errors.
        what: what the message asks for, for errors: "changing features".

    Raises:
        BadInput: no device has this name here.
        Refused: no privilege, not supported by the driver, or another word of the kernel.
        NoNetlink: the family is not there.

    """
    from pyroute2.netlink import NLM_F_ACK, NLM_F_REQUEST
    from pyroute2.netlink.exceptions import NetlinkError
    from pyroute2.netlink.generic import GenericNetlinkSocket

    try:
        connection = GenericNetlinkSocket()
    except OSError as error:
        raise NoNetlink from error
    try:
        # pyroute2 logs a missing family before it raises.
        connection.asyncore.module_err_level = "debug"
        try:
            connection.bind(family, type(message))
        except (NetlinkError, OSError) as error:
            raise NoNetlink from error
        try:
            return list(connection.nlm_request(message, connection.prid, NLM_F_REQUEST | NLM_F_ACK))
        except NetlinkError as error:
            raise refusal(error.code, dev, what) from None
    finally:
        connection.close()


def refusal(code: int, dev: str, what: str) -> BadInput | Refused:
    """Return the error that an errno of the kernel means to the user."""
    if code in {errno.ENODEV, errno.ERANGE}:
        return no_device(dev)
    if code in {errno.EPERM, errno.EACCES}:
        return Refused(f"{dev}: {what} needs CAP_NET_ADMIN (run as root)")
    if code == errno.EOPNOTSUPP:
        return Refused(f"{dev}: {what} is not supported by its driver")
    return Refused(f"{dev}: {what}: {os.strerror(code)}")


def no_device(dev: str) -> BadInput:
    """Return the error about a name that no device has, with those that there are."""
    import socket

    names = [name for _, name in socket.if_nameindex()]
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return BadInput(f"{dev}: no such device in this network namespace; there are: {shown or 'none'}")
