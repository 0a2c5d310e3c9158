"""Switches with all that belongs to them: what they cost, how they last, how they are undone and checked.

Sources: ethtool(8), udev(7), nm-settings-nmcli(5) (ethtool.*), systemd.link(5), tuned-profiles(7), its net plug-in,
sysctl.d(5), ovs-vswitchd.conf.db(5).
"""

import re
import shlex
from collections.abc import Iterable, Mapping

from pktpath.doctor.finding import Remedy

_LINK_FEATURES = {
    "rx": ("ReceiveChecksumOffload",), "tx": ("TransmitChecksumOffload",),
    "tso": ("TCPSegmentationOffload", "TCP6SegmentationOffload"), "gso": ("GenericSegmentationOffload",),
    "gro": ("GenericReceiveOffload",), "rx-gro-hw": ("GenericReceiveOffloadHardware",), "lro": ("LargeReceiveOffload",),
}  # fmt: skip
"""What systemd.link(5) calls them; it has no word for most others, and one each for TCP over IPv4 and IPv6."""
_PRINTED = {
    "rx": "rx-checksumming", "tx": "tx-checksumming", "sg": "scatter-gather", "tso": "tcp-segmentation-offload",
    "gso": "generic-segmentation-offload", "gro": "generic-receive-offload", "lro": "large-receive-offload",
}  # fmt: skip
"""What `ethtool -k` prints for what `ethtool -K` takes."""
_KERNEL_NAME = re.compile(r"eth\d+$|usb\d+$|veth|tap|tun|vnet|br|bond|team|vxlan|geneve|genev|dummy|ifb|gre|docker|flannel|cali")
"""Names that no udev rule gives: a .link file sees these."""
_LINK_CHANNELS = {"rx": "RxChannels", "tx": "TxChannels", "other": "OtherChannels", "combined": "CombinedChannels"}
_LINK_RINGS = {
    "rx": "RxBufferSize", "rx-mini": "RxMiniBufferSize", "rx-jumbo": "RxJumboBufferSize", "tx": "TxBufferSize",
}  # fmt: skip


def features(
    dev: str, switches: Mapping[str, bool], *, effect: str, cost: str, verify: str = "", scope: str = "", hint: str = ""
) -> Remedy:
    """Return the remedy `ethtool -K DEV …`.

    Args:
        dev: the device.
        switches: feature, by the shortest name ethtool takes (`tso`, `tx-udp_tnl-segmentation`), and what it shall be.
        effect: what then happens.
        cost: what it costs and drags along.
        verify: how to see that it worked; the line of `ethtool -k` without.
        scope: the network namespace of the device.
        hint: a remark behind the command.

    """
    words = " ".join(f"{name} {_on(value)}" for name, value in switches.items())
    back = " ".join(f"{name} {_on(not value)}" for name, value in switches.items())
    device = shlex.quote(dev)
    lines = [f"{key}={'yes' if value else 'no'}" for name, value in switches.items() for key in _LINK_FEATURES.get(name, ())]
    shown = ", ".join(f"{_PRINTED.get(name, name)}: {_on(value)}" for name, value in switches.items())
    nmcli = " ".join(f"ethtool.feature-{name} {_on(value)}" for name, value in switches.items())
    return Remedy(
        command=inside(scope, f"ethtool -K {device} {words}") + (f"  # {hint}" if hint else ""),
        effect=effect,
        cost=cost,
        undo=inside(scope, f"ethtool -K {device} {back}"),
        verify=verify or f"{inside(scope, f'ethtool -k {device}')} shows {shown}",
        # udev and the services that stand on it do not see into other namespaces.
        lasting=() if scope else (
            _udev(dev, f"-K {device} {words}"),
            ("NetworkManager", f"nmcli connection modify CONNECTION {nmcli}"),
            *((link_file(dev, lines),) if all(name in _LINK_FEATURES for name in switches) else ()),
            ("TuneD", f"[net]\ndevices={dev}\nfeatures={words}"),
        ),
    )  # fmt: skip


def rings(dev: str, sizes: Mapping[str, int], before: Mapping[str, int | None], *, effect: str, cost: str) -> Remedy:
    """Return the remedy `ethtool -G DEV …`: sizes of rings by `rx`, `tx`, and what they were."""
    words = " ".join(f"{name} {size}" for name, size in sizes.items())
    back = " ".join(f"{name} {before[name]}" for name in sizes)
    device = shlex.quote(dev)
    nmcli = " ".join(f"ethtool.ring-{name} {size}" for name, size in sizes.items())
    return Remedy(
        command=f"ethtool -G {device} {words}", effect=effect, cost=cost, undo=f"ethtool -G {device} {back}",
        verify=f"ethtool -g {device} shows the new sizes, and the counter no longer rises",
        lasting=(
            _udev(dev, f"-G {device} {words}"),
            ("NetworkManager", f"nmcli connection modify CONNECTION {nmcli}"),
            link_file(dev, [f"{_LINK_RINGS[name]}={size}" for name, size in sizes.items()]),
            ("TuneD", f"[net]\ndevices={dev}\nring={words}"),
        ),
    )  # fmt: skip


def channels(dev: str, which: str, count: int, before: int, *, effect: str, cost: str) -> Remedy:
    """Return the remedy `ethtool -L DEV WHICH COUNT`."""
    device = shlex.quote(dev)
    return Remedy(
        command=f"ethtool -L {device} {which} {count}", effect=effect, cost=cost,
        undo=f"ethtool -L {device} {which} {before}",
        verify=f"ethtool -l {device} shows {which} {count}; /proc/interrupts counts on that many lines",
        lasting=(
            _udev(dev, f"-L {device} {which} {count}"),
            ("NetworkManager", f"nmcli connection modify CONNECTION ethtool.channels-{which} {count}"),
            link_file(dev, [f"{_LINK_CHANNELS[which]}={count}"]),
            ("TuneD", f"[net]\ndevices={dev}\nchannels={which} {count}"),
        ),
    )  # fmt: skip


def sysctl(name: str, value: str, before: str, *, effect: str, cost: str, verify: str, scope: str = "", times: int = 0) -> Remedy:
    """Return the remedy `sysctl -w NAME=VALUE`; without a value before, the undo says to note it first.

    A scope is for those that each network namespace has of its own; nothing sets these for good but what makes the namespace.
    What shall be so many times as large as before, and is not known, the shell computes: a value of ours might be smaller.
    """
    read = inside(scope, f"sysctl -n {name}")
    computed = times > 0 and not before
    more = f"$(({times} * $({read})))" if computed else shlex.quote(value)
    note, lasts = (f"# VALUE is what `{read}` prints afterwards\n", "VALUE") if computed else ("", value)
    back = shlex.quote(before) if before else f"OLD  # note `{inside(scope, f'sysctl {name}')}` before"
    return Remedy(
        command=inside(scope, f"sysctl -w {name}={more}"), effect=effect, cost=cost,
        undo=inside(scope, f"sysctl -w {name}={back}"), verify=verify,
        lasting=() if scope else (
            ("sysctl.d", f"/etc/sysctl.d/90-pktpath.conf:\n{note}{name} = {lasts}"),
            ("TuneD", f"[sysctl]\n{note}{name}={lasts}"),
        ),
    )  # fmt: skip


def other_config(key: str, value: str, before: str = "", *, effect: str, cost: str, verify: str) -> Remedy:
    """Return the remedy `ovs-vsctl set Open_vSwitch . other_config:KEY=VALUE`, which the database keeps."""
    setting = f"ovs-vsctl set Open_vSwitch . other_config:{key}="
    return Remedy(
        command=setting + shlex.quote(value), effect=effect, cost=cost,
        undo=setting + shlex.quote(before) if before else f"ovs-vsctl remove Open_vSwitch . other_config {key}",
        verify=verify,
        lasting=(("Open vSwitch", "the database keeps it over restarts"),),
    )  # fmt: skip


def interface_option(name: str, column: str, key: str, value: str, *, effect: str, cost: str, verify: str) -> Remedy:
    """Return the remedy `ovs-vsctl set Interface NAME COLUMN:KEY=VALUE`, which the database keeps."""
    device = shlex.quote(name)
    return Remedy(
        command=f"ovs-vsctl set Interface {device} {column}:{key}={shlex.quote(value)}", effect=effect, cost=cost,
        undo=f"ovs-vsctl remove Interface {device} {column} {key}", verify=verify,
        lasting=(("Open vSwitch", "the database keeps it over restarts"),),
    )  # fmt: skip


def inside(scope: str, command: str) -> str:
    """Return the command as it is typed for a network namespace, by its name or as `pid-5`; as it is without one."""
    if found := re.fullmatch(r"pid-(\d+)", scope):
        return f"nsenter -t {found[1]} -n {command}"
    return f"ip netns exec {shlex.quote(scope)} {command}" if scope else command


def _on(value: bool) -> str:
    return "on" if value else "off"


def _udev(dev: str, words: str) -> tuple[str, str]:
    rule = f'ACTION=="add", SUBSYSTEM=="net", NAME=="{dev}", RUN+="/usr/sbin/ethtool {words}"'
    return "udev", f"/etc/udev/rules.d/90-pktpath-{dev}.rules:\n{rule}"


def link_file(dev: str, lines: Iterable[str]) -> tuple[str, str]:
    """Return the recipe of a .link file with these lines for a device.

    A device that udev gives its name has another one when these files are read, so it is known by its address; and only the
    first file that fits counts, so this one must say of names and addresses what 99-default.link says.
    """
    if _KERNEL_NAME.match(dev):
        match = [f"OriginalName={dev}"]
    else:
        match = ["PermanentMACAddress=MAC", f"# as `ethtool -P {dev}` prints it"]
    names = (
        [] if _KERNEL_NAME.match(dev) else ["NamePolicy=keep kernel database onboard slot path", "MACAddressPolicy=persistent"]
    )
    text = "\n".join(["[Match]", *match, "[Link]", *names, *lines])
    return "systemd-networkd", f"/etc/systemd/network/90-pktpath-{dev}.link:\n{text}"
