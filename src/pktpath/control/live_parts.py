"""The real parts of the daemon, joined: engine, tables, ports, control server, mirrors."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from pktpath.control.bridge_commands import bridge_commands
from pktpath.control.commands import Commands
from pktpath.control.config_values import PortConfig, SwitchConfig
from pktpath.control.datapath_commands import datapath_commands
from pktpath.control.engine import Engine, Parts, SocketCommand
from pktpath.control.flow_text import parse_flow
from pktpath.control.live_dump import LiveDump
from pktpath.control.live_tables import LiveTables, check
from pktpath.control.loop import Loop
from pktpath.control.ofctl_commands import ofctl_commands
from pktpath.control.other_text import UpcallView
from pktpath.control.port_addresses import PortAddresses
from pktpath.control.unixctl import UnixctlServer
from pktpath.errors import BadInput
from pktpath.features import Feature
from pktpath.path.live_engine import EngineSettings, LiveEngine
from pktpath.port.live import LivePort
from pktpath.port.live_memory_port import MemoryPort
from pktpath.port.live_pcap import PcapPort
from pktpath.port.packet import PacketPort
from pktpath.port.rows import RowTable
from pktpath.port.tap import InternalPort, TapPort
from pktpath.port.xdp import XdpPort
from pktpath.switch.meter import set_meter
from pktpath.switch.rules import Command
from pktpath.switch.xlate import Slow

_MANY_WORDS = 64
_log = logging.getLogger("pktpath.port")
_COUNT_EVERY = 5.0
_LONGEST = 65535
"""Bytes of a packet that a capture takes: as many as there can be."""


class _Engine(LiveEngine):
    """The engine as a configuration makes and changes it."""

    def __init__(self, config: SwitchConfig, tables: LiveTables) -> None:
        super().__init__(_settings(config), tables)
        self.every_five_seconds: Callable[[], object] = lambda: None
        self._counted = 0.0
        self._said: set[tuple[int, str]] = set()
        self.packet_rows = RowTable(self.queues.packet)
        self.addresses = PortAddresses()
        tables.set_bands = self._set_bands

    def configure(self, config: Any) -> None:
        """Take over what can change while it runs."""
        super().configure(config if isinstance(config, EngineSettings) else _settings(config))

    def tick(self, now: float) -> None:
        """Sample loads and events."""
        super().tick(now)
        self._say_warnings()
        if now - self._counted >= _COUNT_EVERY:
            self._counted = now
            self.every_five_seconds()

    def _say_warnings(self) -> None:
        """Log what ports have to say of the traffic that they see, each line once."""
        for port in self.ports.values():
            found = getattr(port.port, "warnings", ())
            for line in found() if callable(found) else found:
                if (port.number, line) not in self._said:
                    self._said.add((port.number, line))
                    _log.warning("port %s: %s", port.port.name, line)

    def _set_bands(self, number: int, bands: Any, packets: bool) -> None:
        most = len(self.datapath.meters[0])
        if not 0 < number < most:
            message = f"meter={number}: 1 to {most - 1} are possible"
            raise BadInput(message)
        set_meter(self.datapath.meters, number, bands, by_packets=packets, now_ns=time.monotonic_ns())


class _XdpPort(XdpPort):
    """An AF_XDP port that closes while the workers, in whose pools its frames lie, stand still."""

    engine: LiveEngine

    def close(self) -> None:
        """Leave everything as it was found."""
        engine: LiveEngine | None = getattr(self, "engine", None)
        if engine is None:
            super().close()
            return
        with engine.paused():
            super().close()


def _settings(config: SwitchConfig) -> EngineSettings:
    return EngineSettings(
        name=f"netdev@{config.name}",
        cores=config.cores,
        poll=config.schedule == "poll",
        weight=config.weight,
        sleep_max_us=config.sleep_max_us,
        delay_us=config.rx_delay_us,
        emc_insert_inv_prob=config.emc_insert_inv_prob if config.emc else 0,
        flow_limit=config.flow_limit,
        max_idle_ms=config.max_idle_ms,
        upcall_queue=config.upcall_queue,
        controller_rate=config.controller_rate,
    )


def open_port(engine: Any, config: PortConfig, number: int) -> LivePort:
    """Open one port, whose frames have this number as `in_port`."""
    port = _open_port(engine, config, number)
    engine.addresses.note(number, config)
    return port


def _open_port(engine: Any, config: PortConfig, number: int) -> LivePort:
    queues, memory, mtu = engine.queues, engine.memory, config.mtu or 1500
    match config.type:
        case "packet":
            return PacketPort(
                config.interface,
                memory,
                engine.packet_rows,
                name=config.name,
                number=number,
                queues=config.queues or 1,
                mode=config.mode,
                qdisc_bypass=config.qdisc_bypass,
            )
        case "tap":
            return TapPort(
                config.interface, memory, queues.tap, name=config.name, number=number, queues=config.queues or 1, mtu=mtu
            )
        case "internal":
            return InternalPort(config.interface, memory, queues.tap, number=number, mtu=mtu)
        case "xdp":
            with engine.paused():
                port = _XdpPort(
                    config.name, number, queues, engine.pools, interface=config.interface, mode=config.mode,
                    rx_queues=config.queues,
                )  # fmt: skip
            port.engine = engine
            return port
        case "pcap":
            return PcapPort(
                config.name, memory, queues.pcap, number=number, rx_file=config.rx_file or "", loop=config.loop,
                tx_file=config.tx_file or "", mtu=config.mtu or _LONGEST,
            )  # fmt: skip
        case _:
            able = Feature.SG | Feature.HW_CSUM | Feature.TSO | Feature.TSO6 | Feature.GSO_UDP_L4 | Feature.GRO | Feature.RXCSUM
            return MemoryPort(config.name, memory, queues.memory, number=number, able=able, default=able, mtu=mtu)


def commands(engine: Any, tables: Any) -> Mapping[str, SocketCommand]:
    """Return the commands that speak of the datapath and of bridges."""
    registry = Commands()
    slow = tables.slow
    datapath_commands(
        registry, engine.view, lambda: list(engine.flows()), clear=engine.clear_statistics, delete_flows=engine.flush,
        rebalance=engine.rebalance,
        parse_match=lambda text: _match(tables, text),
    )  # fmt: skip
    ofctl_commands(
        registry, slow, engine.view, tables.meters_changed, fresh=lambda: _refresh(engine, slow), address=engine.addresses
    )
    engine.every_five_seconds = bridge_commands(registry, slow, engine.view, upcalls=lambda: _upcalls(engine))
    return {
        name: SocketCommand(
            command.usage, command.min_args, _MANY_WORDS if command.max_args is None else command.max_args, command.handler
        )
        for name, command in registry.all().items()
        if name not in Commands()
    }


def _refresh(engine: LiveEngine, slow: Slow) -> None:
    """Bring the counters of rules and meters up to date."""
    engine.credit()
    meters, bands = engine.datapath.meters
    for bridge in slow.bridges.values():
        for meter in bridge.meters:
            number = meter.config.number
            meter.packets, meter.size = int(meters[number].packets), int(meters[number].octets)
            rows = bands[number, : len(meter.dropped)]
            meter.dropped = list(zip(rows.dropped_packets.tolist(), rows.dropped_octets.tolist(), strict=True))


def _upcalls(engine: LiveEngine) -> UpcallView:
    """Return what `upcall/show` tells of the revalidator."""
    now = len(engine.megaflows)
    return UpcallView(now, engine.most_megaflows, engine.settings.flow_limit, engine.round_ms, ((0, now),))


def _match(tables: LiveTables, text: str) -> tuple[int, int]:
    """Return key and mask of a match; ports are those of any bridge, by number or name of the datapath."""
    ports = {port.name: port.number for bridge in tables.slow.bridges.values() for port in bridge.ports.values()}
    mod = parse_flow(text, ports, Command.DELETE)
    return mod.value, mod.mask


def _most(words: int | None) -> int:
    return _MANY_WORDS if words is None else words


def serve(path: str, known: Mapping[str, SocketCommand], loop: Loop) -> UnixctlServer:
    """Serve commands on a socket, in the loop."""
    registry = Commands()
    for name, command in known.items():
        registry.register(name, command.usage, command.least, command.most, command.run)
    server = UnixctlServer(path, registry)
    server.register(loop.selector)
    return server


def _engine(config: SwitchConfig, tables: Any) -> Engine:
    return _Engine(config, tables)


PARTS = Parts(
    check=check,
    tables=lambda _config: LiveTables(),
    engine=_engine,
    open_port=open_port,
    server=serve,
    commands=commands,
    dump=LiveDump,
)
