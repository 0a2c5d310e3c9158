"""`pktpath switch`: the daemon, and the commands that talk to a running one."""

import json
import os
from pathlib import Path
from typing import Any

import click

from pktpath.cli import verbatim
from pktpath.cli.common import BAD_INPUT, DONE, REFUSED, json_option, number, print_json, print_table, say
from pktpath.cli.daemon import ask, asks, print_text
from pktpath.control.places import find_socket
from pktpath.control.plural import count_of
from pktpath.control.unixctl_client import call

_EXAMPLE = """\
# pktpath switch run FILE.toml

[switch]
# name = "pktpath"                  # of the control socket; two switches have two names
# schedule = "poll"                 # instead of "interrupt": threads that never sleep,
# cores = [1]                       # on these cores
# metrics = "127.0.0.1:9475"        # Prometheus

[bridge.br0]
fail_mode = "standalone"            # without flows a learning switch; "secure" drops
local = {address = ["10.0.0.1/24"]} # the host's own port, a TAP named br0
# flows = [
#     "priority=10,in_port=1,tcp,tp_dst=80,actions=output:2",
#     "priority=0,actions=NORMAL",
# ]
# flows_file = "br0.flows"          # as ovs-ofctl add-flows reads it

[bridge.br0.port.eth1]
type = "packet"                     # an interface of the kernel; "xdp" for AF_XDP
openflow = 1
# features = {gro = false}          # what pktpath does on it
# device_features = {tso = false}   # what the kernel does, changed while the switch runs

[bridge.br0.port.vm1]
type = "tap"                        # a new TAP, for a virtual machine
openflow = 2
# queues = 2

# [bridge.br0.port.log]
# type = "pcap"
# tx_file = "mirror.pcapng"

# [bridge.br0.mirror.m1]
# select_src = ["eth1"]
# output_port = "log"
"""


@click.group(short_help="The virtual switch: run it, add and remove ports, stop it.", no_args_is_help=True)
def switch() -> None:
    r"""Connect interfaces, TAPs and captures by an Open-vSwitch-style datapath.

    \b
    pktpath switch example > br0.toml
    pktpath switch run br0.toml
    pktpath switch add-port br0 vm2 type=tap queues=2
    pktpath switch status

    Every key of the file is in docs/switch.md. Flows are added and shown by `pktpath ofctl` and
    `pktpath dpctl`; ovs-appctl -t SOCKET works too.
    """


@switch.command(short_help="Run a switch from its configuration.")
@click.argument("file", metavar="FILE.toml")
@click.option("--check", is_flag=True, help="Read the configuration and all that it names, say what is wrong, open nothing.")
@click.option("--detach", is_flag=True, help="Go into the background once everything is open.")
@click.option("--log", "log", metavar="OUT", help="File of the log.  [default: standard error; detached: NAME.log in run_dir]")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True,
              help="Least of what is logged.")  # fmt: skip
def run(file: str, *, check: bool, detach: bool, log: str | None, log_level: str) -> int:
    r"""Run a switch until a signal ends it: SIGTERM and SIGINT in order, SIGHUP reads the file again.

    At the end no accepted frame is lost, captures are whole, and interfaces are as they were; after a
    kill -9 the next start sees to that.

    \b
    pktpath switch run br0.toml
    pktpath switch run br0.toml --check
    pktpath switch run br0.toml --detach --log switch.log
    """
    from pktpath.control.assemble import parts
    from pktpath.control.config import load_config

    found = parts()
    # The name as it was given is in messages; a process of the background has another directory.
    path = os.path.abspath(file) if detach else file  # noqa: PTH100  links stay as they are
    config = load_config(path, found.check)
    if check:
        return _check(file, config)
    if not detach:
        return _serve(config, found, log, log_level)
    from pktpath.control.process import detach as go
    from pktpath.control.state import make_directory

    make_directory(config.run_dir, 0o755)
    log = str(Path(log).absolute()) if log else f"{config.run_dir}/{config.name}.log"
    side = go()
    if side.parent:
        if side.text:
            say(side.text)
        return side.status
    return _serve(config, found, log, log_level, side)


def _check(file: str, config: Any) -> int:
    """Say what a start would not find, a line each, or that nothing is wrong."""
    from pktpath.cli.compiling import announce_compiling
    from pktpath.control.config_check import missing
    from pktpath.errors import BadInput

    announce_compiling()
    faults = missing(config)
    for fault in faults:
        say(f"pktpath: {fault}")
    if faults:
        return BAD_INPUT if any(isinstance(fault, BadInput) for fault in faults) else REFUSED
    ports = sum(len(bridge.ports) + bool(bridge.local) for bridge in config.bridges)
    entries = sum(len(bridge.flows) for bridge in config.bridges)
    counts = f"{count_of(len(config.bridges), 'bridge')}, {count_of(ports, 'port')}, {count_of(entries, 'flow')}"
    say(f"{file}: {counts}: nothing is wrong with it")
    return DONE


def _serve(config: Any, found: Any, log: str | None, level: str, side: Any = None) -> int:
    from pktpath.cli.compiling import announce_compiling
    from pktpath.control.daemon import Daemon
    from pktpath.control.process import start_log
    from pktpath.errors import BadInput, Refused

    try:
        start_log(level, log)
        announce_compiling()
        daemon = Daemon(config, found)
        daemon.open()
    except (BadInput, Refused) as error:
        if side is None:
            raise
        side.ready(BAD_INPUT if isinstance(error, BadInput) else REFUSED, f"pktpath: {error}")
        return REFUSED
    if side is not None:
        side.ready()
    daemon.run()
    return DONE


@switch.command("add-port", short_help="Add a port to a bridge of a running switch.")
@click.argument("bridge")
@click.argument("name")
@click.argument("words", nargs=-1, required=True, metavar="type=TYPE [KEY=VALUE]...")
@asks
def add_port(bridge: str, name: str, words: tuple[str, ...], target: str | None, timeout: float) -> int:
    r"""Add a port; keys are those of a port in the file. A restart adds it again.

    Names of captures are relative to the directory in which you say this.

    \b
    pktpath switch add-port br0 p3 type=packet interface=eth3
    pktpath switch add-port br0 vm2 type=tap queues=2 features=gro:off
    pktpath switch add-port br0 log type=pcap tx_file=log.pcapng
    """
    from pktpath.control.config import port_from_words

    # A mistake is one here too, and needs no switch.
    port = port_from_words(bridge, name, words)
    # The switch is in a directory of its own, in the background in /: it gets whole paths.
    paths = {"rx_file": port.rx_file, "tx_file": port.tx_file}
    whole = [f"{key}={paths[key]}" if (key := word.partition("=")[0]) in paths else word for word in words]
    print_text(ask(target, timeout, "switch/add-port", [bridge, name, *whole]))
    return DONE


@switch.command("del-port", short_help="Remove a port from a bridge of a running switch.")
@click.argument("bridge")
@click.argument("name")
@asks
def del_port(bridge: str, name: str, target: str | None, timeout: float) -> int:
    r"""Remove a port; it stays away after a restart, also where the file has it.

    \b
    pktpath switch del-port br0 p3
    """
    print_text(ask(target, timeout, "switch/del-port", [bridge, name]))
    return DONE


@switch.command(short_help="Have a running switch read its configuration again.")
@asks
def reload(target: str | None, timeout: float) -> int:
    r"""Do what has changed in the file: ports and flows that did not change are not touched.

    What waits for a restart is said. A file with a mistake changes nothing.

    \b
    pktpath switch reload
    """
    print_text(ask(target, timeout, "switch/reload"))
    return DONE


@switch.command(short_help="Stop a running switch, and wait until it has.")
@asks
def stop(target: str | None, timeout: float) -> int:
    r"""Stop a running switch in order, as SIGTERM does, and wait for its end.

    \b
    pktpath switch stop
    pktpath switch stop -t lab
    """
    import time

    path = find_socket(target)
    pid = json.loads(call(path, "switch/status", timeout=timeout))["pid"]
    call(path, "exit", timeout=timeout)
    until = time.monotonic() + timeout
    while os.path.lexists(path) or _runs(pid):
        if time.monotonic() > until:
            say(f"{path}: the switch is still stopping after {timeout:g} s")
            return REFUSED
        time.sleep(0.02)
    return DONE


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@switch.command(short_help="What a running switch is made of, and how it is.")
@asks
@json_option
def status(target: str | None, timeout: float, *, as_json: bool) -> int:
    r"""Show a running switch: ports and their state, flows, what the caches knew.

    \b
    pktpath switch status
    pktpath switch status --json
    """
    found = json.loads(ask(target, timeout, "switch/status"))
    if as_json:
        print_json(found)
        return DONE
    click.echo(
        f"{found['name']}: process {found['pid']}, {found['file']}, up {number(found['seconds'])} s, "
        f"{found['schedule']}, {count_of(found['workers'], 'worker')}"
    )
    click.echo(
        f"{count_of(found['flows'], 'flow')}, {count_of(found['masks'], 'mask')}; hit {number(found['hit'])}, "
        f"missed {number(found['missed'])}, lost {number(found['lost'])}"
    )
    rows = [
        (
            port["bridge"],
            port["name"],
            port["type"],
            str(port["openflow"]),
            port["state"] + (" (runtime)" if port["runtime"] else ""),
        )
        for port in found["ports"]
    ]
    print_table(("bridge", "port", "type", "openflow", "state"), rows, left=(0, 1, 2, 4))
    return DONE


@switch.command(short_help="Print a configuration to begin with.")
def example() -> int:
    r"""Print a configuration with comments, which runs as it is where there is an interface eth1.

    \b
    pktpath switch example > br0.toml
    """
    click.echo(_EXAMPLE, nl=False)
    return DONE


for _command in switch.commands.values():
    _command.help = verbatim(_command.help)
