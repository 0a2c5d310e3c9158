"""`pktpath ethtool`: ethtool's words and texts, for the host's devices and for pktpath's own cards."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

import click

from pktpath.cli.common import DONE, print_json
from pktpath.errors import Refused

Device = Any
"""A `pktpath.host.ethtool_values.Device`."""


class _Option(NamedTuple):
    """What one option of ethtool does."""

    names: tuple[str, ...]
    run: Callable[..., int]
    """Takes the device's name, the words after it and whether JSON is wanted; returns the exit status."""
    words: bool = True
    """Whether words may follow DEV."""


class _Command(click.Command):
    """A command whose line is ethtool's: an option, a device, words."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Hand the words on as they are, except for a request for help."""
        if not args or args[0] in ctx.help_option_names:
            return super().parse_args(ctx, args or ["--help"])
        ctx.params = {"words": tuple(args)}
        return []


@click.command(
    cls=_Command,
    short_help="ethtool's words and texts, on real devices and own cards.",
    options_metavar="[--json] -OPTION DEV [WORD]...",
)
def ethtool(words: tuple[str, ...]) -> int:
    r"""Show and change a network device, in the words of ethtool and with its text.

    DEV is a device of this host, or the file of one of pktpath's own cards: a name with a slash or
    one that ends in .nic. `pktpath replay --nic` uses such a card, and -S shows what it counted. DEV may
    also be BRIDGE/PORT of a running switch ($PKTPATH_SOCKET where several run): -k, -K and -S.

    \b
    -k  --show-features     -K  --features FEATURE on|off ...
    -l  --show-channels     -L  --set-channels [rx N] [tx N] [other N] [combined N]
    -x  --show-rxfh         -X  --rxfh [equal N | weight W0 W1 ...] [start N] | [default]
                                [hkey xx:xx:...] [hfunc NAME]
    -c  --show-coalesce     -C  --coalesce [adaptive-rx on|off] [rx-usecs N] [rx-frames N] ...
    -g  --show-ring         -G  --set-ring [rx N] [tx N] [rx-buf-len N] ...
    -n  --show-nfc          -N  --config-nfc rx-flow-hash FLOW m|v|t|s|d|f|n|r...
    -S  --statistics        -i  --driver
        --create FILE       make a card with the defaults

    \b
    pktpath ethtool -k eth0
    pktpath ethtool -C eth0 adaptive-rx off rx-usecs 50
    pktpath ethtool -X eth0 weight 6 2
    pktpath ethtool -K br0/p1 gro off
    pktpath ethtool --json -x eth0
    pktpath ethtool --create my.nic
    pktpath ethtool -L my.nic combined 4

    Exit status: 0 done, 1 wrong words or no such device, 2 refused: not supported, out of range, no
    permission, or not taken as it was asked for; the line says which.
    """
    rest = [word for word in words if word != "--json"]
    as_json = len(rest) < len(words)
    while rest and rest[0] in ("-j", "-I", "--include-statistics"):
        # None of these commands has statistics beside its text.
        as_json |= rest.pop(0) == "-j"
    if not rest:
        _usage("an option and a device are missing")
    name, *rest = rest
    option = _OPTIONS.get(name)
    if option is None:
        if name.startswith("-"):
            _usage(f"there is no option {name!r}; there are {', '.join(_short_names())}")
        _usage(f"an option must come before {name!r}: {', '.join(_short_names())}")
    if not rest:
        _usage(f"{name} needs a device")
    device, *rest = rest
    if rest and not option.words:
        _usage(f"{name} takes a device and no more, not {rest[0]!r}")
    return option.run(device, rest, as_json)


def _usage(message: str) -> NoReturn:
    raise click.UsageError(message, click.get_current_context())


def _short_names() -> list[str]:
    return list(dict.fromkeys(option.names[0] for option in _OPTIONS.values()))


def _device(name: str) -> Device:
    from pktpath.control.port_device import PortDevice, is_switch_port

    if is_switch_port(name):
        return PortDevice(name)
    from pktpath.nic.store import is_nic

    if is_nic(name):
        from pktpath.nic.card import Card

        return Card(name)
    from pktpath.host.ethtool import HostDevice

    return HostDevice(name)


def _text() -> Any:
    return importlib.import_module("pktpath.control.ethtool_text")


def _words() -> Any:
    return importlib.import_module("pktpath.control.ethtool_words")


def _print(text: str, document: object, *, as_json: bool) -> int:
    if as_json:
        print_json(document)
    else:
        click.echo(text, nl=False)
    return DONE


# Features: in a module of their own


def _show_features(device: str, _rest: Sequence[str], as_json: bool) -> int:
    module = importlib.import_module("pktpath.cli.ethtool_features")
    return int(module.show_features(device, as_json=as_json))


def _change_features(device: str, rest: Sequence[str], as_json: bool) -> int:
    module = importlib.import_module("pktpath.cli.ethtool_features")
    return int(module.change_features(device, rest, as_json=as_json))


# Shown


def _show_channels(device: str, _rest: Sequence[str], as_json: bool) -> int:
    asked = _device(device)
    value = asked.channels()
    return _print(_text().channels_text(asked.name, value), _text().settings_json(asked.name, value), as_json=as_json)


def _show_rings(device: str, _rest: Sequence[str], as_json: bool) -> int:
    asked = _device(device)
    value = asked.rings()
    return _print(_text().rings_text(asked.name, value), _text().settings_json(asked.name, value), as_json=as_json)


def _show_coalesce(device: str, _rest: Sequence[str], as_json: bool) -> int:
    asked = _device(device)
    value = asked.coalesce()
    return _print(_text().coalesce_text(asked.name, value), _text().settings_json(asked.name, value), as_json=as_json)


def _show_rxfh(device: str, _rest: Sequence[str], as_json: bool) -> int:
    value = _device(device).rxfh()
    return _print(_text().rxfh_text(device, value), _text().rxfh_json(device, value), as_json=as_json)


def _show_hash_fields(device: str, rest: Sequence[str], as_json: bool) -> int:
    flow = _words().read_hash_query(rest)
    value = _device(device).hash_fields(flow)
    return _print(_text().hash_fields_text(flow, value), _text().hash_fields_json(device, flow, value), as_json=as_json)


def _show_statistics(device: str, _rest: Sequence[str], as_json: bool) -> int:
    value = _device(device).statistics()
    if not value:
        message = f"{device}: there are no statistics"
        raise Refused(message)
    return _print(_text().statistics_text(value), _text().statistics_json(device, value), as_json=as_json)


def _show_driver(device: str, _rest: Sequence[str], as_json: bool) -> int:
    value = _device(device).driver()
    return _print(_text().driver_text(value), _text().driver_json(device, value), as_json=as_json)


# Changed: nothing is printed, as ethtool does


def _change_channels(device: str, rest: Sequence[str], _as_json: bool) -> int:
    _device(device).set_channels(_words().read_changes("-L", rest, _words().CHANNEL_WORDS))
    return DONE


def _change_rings(device: str, rest: Sequence[str], _as_json: bool) -> int:
    _device(device).set_rings(_words().read_changes("-G", rest, _words().RING_WORDS))
    return DONE


def _change_coalesce(device: str, rest: Sequence[str], _as_json: bool) -> int:
    _device(device).set_coalesce(_words().read_changes("-C", rest, _words().COALESCE_WORDS))
    return DONE


def _change_rxfh(device: str, rest: Sequence[str], _as_json: bool) -> int:
    asked = _words().read_rxfh(rest)
    card = _device(device)
    card.set_rxfh(asked.change_of(len(card.rxfh().indirection)))
    return DONE


def _change_hash_fields(device: str, rest: Sequence[str], _as_json: bool) -> int:
    flow, bits = _words().read_hash_change(rest)
    _device(device).set_hash_fields(flow, bits)
    return DONE


def _create(path: str, _rest: Sequence[str], _as_json: bool) -> int:
    from pktpath.nic.store import create_nic, is_nic

    if not is_nic(path):
        _usage(f"{path!r} would be taken for a device of this host: a card's file ends in .nic, or has a slash in its name")
    create_nic(path)
    return DONE


_OPTIONS = {
    name: option
    for option in (
        _Option(("-k", "--show-features", "--show-offload"), _show_features, words=False),
        _Option(("-K", "--features", "--offload"), _change_features),
        _Option(("-l", "--show-channels"), _show_channels, words=False),
        _Option(("-L", "--set-channels"), _change_channels),
        _Option(("-x", "--show-rxfh", "--show-rxfh-indir", "--show-indir"), _show_rxfh, words=False),
        _Option(("-X", "--rxfh", "--set-rxfh-indir"), _change_rxfh),
        _Option(("-c", "--show-coalesce"), _show_coalesce, words=False),
        _Option(("-C", "--coalesce"), _change_coalesce),
        _Option(("-g", "--show-ring"), _show_rings, words=False),
        _Option(("-G", "--set-ring"), _change_rings),
        _Option(("-n", "-u", "--show-nfc", "--show-ntuple"), _show_hash_fields),
        _Option(("-N", "-U", "--config-nfc", "--config-ntuple"), _change_hash_fields),
        _Option(("-S", "--statistics"), _show_statistics, words=False),
        _Option(("-i", "--driver"), _show_driver, words=False),
        _Option(("--create",), _create, words=False),
    )
    for name in option.names
}
