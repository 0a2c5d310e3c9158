"""`pktpath ethtool -k` and `-K`: features of a host's device, of one of pktpath's own cards or of a switch's port."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import click

from pktpath.cli.common import DONE, REFUSED, print_json, say
from pktpath.control.features_text import NOTHING_CHANGED, changes_text, features_json, features_text, nothing_changed
from pktpath.device_features import (
    DeviceFeatures,
    FeatureChange,
    change_between,
    check_changeable,
    failures,
    of_card,
    read_switches,
    requested_bits,
)
from pktpath.errors import BadInput
from pktpath.features import request


def is_card(dev: str) -> bool:
    """Whether a name is that of a card's settings file; no device of a kernel can be called so."""
    return "/" in dev or dev.endswith(".nic")


def show_features(dev: str, *, as_json: bool) -> int:
    """Print the features of a device as `ethtool -k` or `ethtool --json -k` does; return the exit status."""
    device = _read(dev)
    click.echo((features_json if as_json else features_text)(dev, device), nl=False)
    return DONE


def change_features(dev: str, words: Sequence[str], *, as_json: bool) -> int:
    """Switch features, print what `ethtool -K` prints, say what could not be changed and why.

    Args:
        dev: a device of this network namespace, the settings file of a card, or BRIDGE/PORT of a running switch.
        words: names, each followed by `on` or `off`.
        as_json: print what changed and what did not as JSON.

    Returns:
        The exit status: 2 when something could not be changed.

    Raises:
        BadInput: no such device, no such feature, a word that is neither on nor off.
        Refused: no privilege; nothing was changed then.

    """
    pairs = read_switches(words)
    before = _read(dev)
    requested = requested_bits(before, pairs)
    if not pairs:
        message = f"{dev}: no feature to switch; name some, each with on or off, as in: tso off gro on"
        raise BadInput(message)
    check_changeable(dev, before, requested)
    change = _write(dev, before, requested)
    after = _read(dev)
    failed = failures(after, pairs, change)
    if as_json:
        print_json(_json(dev, after, change, failed))
    else:
        click.echo(changes_text(after, change), nl=False)
    if nothing_changed(change):
        say(NOTHING_CHANGED)
    for name, why in failed.items():
        say(f"{name}: {why}")
    return REFUSED if failed else DONE


def _read(dev: str) -> DeviceFeatures:
    from pktpath.control import port_device

    if port_device.is_switch_port(dev):
        return port_device.read_features(dev)
    if is_card(dev):
        from pktpath.nic.store import load_nic

        return of_card(load_nic(dev).features)
    from pktpath.host.features import read_features

    return read_features(dev)


def _write(dev: str, before: DeviceFeatures, requested: Mapping[str, bool]) -> FeatureChange:
    from pktpath.control import port_device

    if port_device.is_switch_port(dev):
        return port_device.write_features(dev, requested)
    if is_card(dev):
        from pktpath.nic.store import load_nic, save_nic

        settings = load_nic(dev)
        state = request(settings.features, requested)
        if state != settings.features:
            save_nic(dev, replace(settings, features=state))
        return change_between(before, of_card(state), requested)
    from pktpath.host.features import write_features

    return write_features(dev, requested)


def _json(dev: str, device: DeviceFeatures, change: FeatureChange, failed: Mapping[str, str]) -> list[dict[str, object]]:
    """Return a change as JSON, for which ethtool has no form of its own."""
    changed = {
        name: {"active": change.changed[name], "requested": change.requested.get(name)}
        for name in device.names
        if name in change.changed
    }
    missed = {
        name: {"active": name in device.active, "requested": change.requested[name], "why": failed.get(name)}
        for name in device.names
        if name in change.missed
    }
    absent = {name: why for name, why in failed.items() if name not in missed}
    return [{"ifname": dev, "changed": changed, "missed": missed, "absent": absent}]
