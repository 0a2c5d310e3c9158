"""Features of a real device: read and changed by ethtool's netlink messages, by its ioctls where these are absent.

Source: ETHTOOL_MSG_FEATURES_GET and _SET, ETHTOOL_GFEATURES and ETHTOOL_SFEATURES (linux/ethtool.h,
Documentation/networking/ethtool-netlink.rst).
"""

import errno
from collections.abc import Mapping
from functools import cache
from typing import Any

from pktpath.device_features import DeviceFeatures, FeatureChange, change_between, check_changeable
from pktpath.host.genetlink import NoNetlink, ask, no_device, refusal

_GET, _SET = 11, 12
_LONGEST_NAME = 127
"""Of an alternative name (ALTIFNAMSIZ - 1)."""
_LONGEST_IOCTL_NAME = 15


def read_features(dev: str) -> DeviceFeatures:
    """Return the features of a device in the current network namespace.

    Raises:
        BadInput: no such device.
        Refused: the kernel says no.

    """
    try:
        return _read_by_netlink(dev)
    except NoNetlink:
        return read_by_ioctl(dev)


def write_features(dev: str, requested: Mapping[str, bool]) -> FeatureChange:
    """Ask the kernel to switch features, by their kernel names, all in one message.

    Raises:
        BadInput: no such device.
        Refused: no CAP_NET_ADMIN, or one of the features is never to be changed; then nothing was.

    """
    try:
        return _write_by_netlink(dev, requested)
    except NoNetlink:
        return write_by_ioctl(dev, requested)


def _check_name(dev: str, most: int) -> None:
    # Longer names, and bytes that are no text, do not fit into the message.
    if not 0 < len(dev.encode(errors="replace")) <= most or not dev.isprintable():
        raise no_device(dev)


# By netlink


@cache
def _message() -> Any:
    from pyroute2.netlink import NLA_F_NESTED, genlmsg, nla
    from pyroute2.netlink.generic.ethtool import ethtoolbitset, ethtoolheader

    names = ethtoolheader, ethtoolbitset, NLA_F_NESTED, nla

    class FeaturesMessage(genlmsg):  # type: ignore[misc]
        nla_map = (
            ("ETHTOOL_A_FEATURES_UNSPEC", "none"),
            ("ETHTOOL_A_FEATURES_HEADER", "ethtoolheader"),
            ("ETHTOOL_A_FEATURES_HW", "ethtoolbitset"),
            ("ETHTOOL_A_FEATURES_WANTED", "ethtoolbitset"),
            ("ETHTOOL_A_FEATURES_ACTIVE", "ethtoolbitset"),
            ("ETHTOOL_A_FEATURES_NOCHANGE", "ethtoolbitset"),
        )
        ethtoolheader = names[0]
        ethtoolbitset = names[1]

    return FeaturesMessage


def _request(command: int, dev: str) -> Any:
    _check_name(dev, _LONGEST_NAME)
    message = _message()()
    message["cmd"], message["version"] = command, 1
    message["attrs"].append(("ETHTOOL_A_FEATURES_HEADER", {"attrs": [("ETHTOOL_A_HEADER_DEV_NAME", dev)]}))
    return message


def _bits(reply: Any, kind: str) -> list[tuple[int, str, bool]]:
    """Return index, name and value of each bit that a reply lists in one of its sets."""
    bitset = reply.get_attr(f"ETHTOOL_A_FEATURES_{kind}")
    listed = bitset.get_attr("ETHTOOL_A_BITSET_BITS") if bitset is not None else None
    if listed is None:
        return []
    # Without a mask every bit that is listed is on.
    plain = bitset.get_attr("ETHTOOL_A_BITSET_NOMASK") is not None
    return [
        (
            bit.get_attr("ETHTOOL_A_BITSET_BIT_INDEX"),
            bit.get_attr("ETHTOOL_A_BITSET_BIT_NAME") or "",
            plain or bit.get_attr("ETHTOOL_A_BITSET_BIT_VALUE") is not None,
        )
        for bit in listed.get_attrs("ETHTOOL_A_BITSET_BITS_BIT")
    ]


def _read_by_netlink(dev: str) -> DeviceFeatures:
    (reply,) = ask("ethtool", _request(_GET, dev), dev, "reading features")
    hw = sorted(_bits(reply, "HW"))
    # HW comes with a mask and so lists every bit, the others those that are set.
    wanted, active, nochange = (_names(_bits(reply, kind)) for kind in ("WANTED", "ACTIVE", "NOCHANGE"))
    return DeviceFeatures(tuple(name for _, name, _ in hw), _names(hw), wanted, active, nochange)


def _names(bits: list[tuple[int, str, bool]]) -> frozenset[str]:
    # A bit without a name is the kernel's own affair: one that is no longer a feature of devices.
    return frozenset(name for _, name, on in bits if on and name)


def _write_by_netlink(dev: str, requested: Mapping[str, bool]) -> FeatureChange:
    message = _request(_SET, dev)
    bits = []
    for name, on in requested.items():
        attributes: list[tuple[str, str | bool]] = [("ETHTOOL_A_BITSET_BIT_NAME", name)]
        if on:
            attributes.append(("ETHTOOL_A_BITSET_BIT_VALUE", True))
        bits.append(("ETHTOOL_A_BITSET_BITS_BIT", {"attrs": attributes}))
    wanted = {"attrs": [("ETHTOOL_A_BITSET_BITS", {"attrs": bits})]}
    message["attrs"].append(("ETHTOOL_A_FEATURES_WANTED", wanted))
    (reply,) = ask("ethtool", message, dev, "changing features")
    # WANTED lists what was requested in vain, ACTIVE what is not as it was.
    missed = frozenset(name for _, name, _ in _bits(reply, "WANTED"))
    return FeatureChange(requested, missed, {name: on for _, name, on in _bits(reply, "ACTIVE") if name})


# By ioctl


def _ioctl(dev: str) -> Any:
    from pyroute2.ethtool.ioctl import IoctlEthtool

    _check_name(dev, _LONGEST_IOCTL_NAME)
    return IoctlEthtool(dev)


def read_by_ioctl(dev: str) -> DeviceFeatures:
    """Do what `read_features` does on a kernel without ethtool's netlink family."""
    from pyroute2.ethtool.ioctl import NoSuchDevice, NotSupportedError

    connection = _ioctl(dev)
    try:
        found = connection.get_features()
        names = tuple(connection.get_stringset())
    except (NoSuchDevice, NotSupportedError, OSError) as error:
        raise _said(error, dev, "reading features") from None
    finally:
        connection.close()

    def those(is_set: Any) -> frozenset[str]:
        return frozenset(name for name in names if name and is_set(name))

    return DeviceFeatures(
        names, those(found.is_available), those(found.is_requested), those(found.is_active), those(found.is_never_changed)
    )


def write_by_ioctl(dev: str, requested: Mapping[str, bool]) -> FeatureChange:
    """Do what `write_features` does on a kernel without ethtool's netlink family.

    There the kernel refuses what is fixed instead of leaving it out, so it is left out here; and who
    changes features beside us, between our calls, shows in the answer.
    """
    from pyroute2.ethtool.ioctl import NoSuchDevice, NotSupportedError

    before = read_by_ioctl(dev)
    check_changeable(dev, before, requested)
    connection = _ioctl(dev)
    try:
        features = connection.get_features()
        for name, on in requested.items():
            if name in before.hw:
                features[name] = on
        connection.set_features(features)
    except NotSupportedError as error:
        # pyroute2 says so of a result above zero too, which means that not all is as requested.
        if error.args:
            raise _said(error, dev, "changing features") from None
    except (NoSuchDevice, OSError) as error:
        raise _said(error, dev, "changing features") from None
    finally:
        connection.close()
    return change_between(before, read_by_ioctl(dev), requested)


def _said(error: Exception, dev: str, what: str) -> Exception:
    if isinstance(error, OSError) and error.errno is not None:
        return refusal(error.errno, dev, what)
    from pyroute2.ethtool.ioctl import NoSuchDevice

    return refusal(errno.ENODEV if isinstance(error, NoSuchDevice) else errno.EOPNOTSUPP, dev, what)
