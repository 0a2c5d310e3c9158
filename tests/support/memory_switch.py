"""A switch of memory ports whose workers run when they are told: engine, tables and slow path are the real ones."""

import time

from pktpath.control.flow_text import parse_flow
from pktpath.control.group_text import parse_group, parse_meter
from pktpath.control.live_tables import LiveTables
from pktpath.control.port_addresses import PortAddresses
from pktpath.features import Feature, FeatureState
from pktpath.path.live_engine import EngineSettings, LiveEngine
from pktpath.path.live_types import Tally
from pktpath.port.live import EnginePort
from pktpath.port.live_features import SUPER_FRAMES
from pktpath.port.live_memory_port import MemoryPort
from pktpath.switch import openflow as of
from pktpath.switch.datapath import Count
from pktpath.switch.meter import set_meter

PLAIN = Feature.SG
"""A port that takes frames of its MTU whose checksums are there."""
DROPS = (Count.DROP_ACTION, Count.DROP_METER, Count.DROP_LOST, Count.DROP_MEMORY, Count.DROP_NO_PORT)
NUMBERS = {"p1": 1, "p2": 2, "p3": 3, "p4": 4, "br0": of.LOCAL}
"""OpenFlow number of each port; datapath numbers are 1 to 5."""


class LiveSwitch:
    """Bridge br0 with ports p1 to p4 and its own."""

    def __init__(self, flows=(), *, groups=(), meters=(), features=None, numbers=None, tagging=None, mtu=1600, **settings):
        usual = {"header_chunks": 1024, "normal_chunks": 2048, "large_chunks": 128, "flow_limit": 4000, "emc_insert_inv_prob": 1}
        self.tables = LiveTables()
        self.bridge = self.tables.slow.add_bridge("br0", fail_mode="secure")
        self.engine = LiveEngine(EngineSettings(**(usual | settings)), self.tables)
        self.engine.addresses = PortAddresses()
        self.tables.set_bands = lambda number, bands, packets: set_meter(
            self.engine.datapath.meters, number, bands, by_packets=packets, now_ns=time.monotonic_ns()
        )
        self.ports = {}
        for number, (name, openflow) in enumerate((numbers or NUMBERS).items(), 1):
            active = (features or {}).get(name, SUPER_FRAMES)
            port = MemoryPort(name, self.engine.memory, self.engine.queues.memory, number=number, default=active, mtu=mtu)
            self.ports[number] = port
            self.bridge.add_port(name, number, openflow, **(tagging or {}).get(name, {}))
            self.engine.add_port(EnginePort(number, "br0", openflow, port, FeatureState(port.able, active, active)))
        for group in groups:
            self.bridge.group_mod(parse_group(group))
        for meter in meters:
            self.bridge.meters.add(parse_meter(meter))
        self.tables.meters_changed()
        self.add(*flows)
        self.free = self.chunks()
        """Free chunks of each worker when nothing has been received yet."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.engine.stop()
        for port in self.ports.values():
            port.close()
        self.engine.close()
        # Meters lead from the tables to us: what took hundreds of MiB is given back here, not some time.
        self.tables.set_bands = None

    def chunks(self):
        return [pool.free_count.tolist() for pool in self.engine.pools]

    def add(self, *flows):
        self.bridge.flow_mods(parse_flow(flow, self.bridge.numbers()) for flow in flows)

    def serve(self):
        """Let every frame find its way out."""
        self.engine.turn()
        while not self.engine.idle():
            self.engine.handle_upcalls(1 << 20)
            self.engine.turn()

    def revalidate(self, now=None):
        """Look at every megaflow once more."""
        now = time.monotonic() if now is None else now
        self.engine._upcalls._next_round = 0.0
        while self.engine.revalidate(now) <= 0:
            pass

    def take(self):
        """Return (port, frame with its descriptor) of all that has left since the last call, port by port."""
        return [(number, frame) for number, port in self.ports.items() for frame in port.take()]

    def send(self, number, frame, **fields):
        """Return (port, bytes) of what leaves when this frame comes in by a port."""
        assert self.ports[number].send(frame, **fields)
        self.serve()
        return [(out, taken.data) for out, taken in self.take()]

    def send_all(self, arrivals):
        """Let (port, frame) come in, all at once; return what leaves as `send` does."""
        for number, frame in arrivals:
            assert self.ports[number].send(frame)
        self.serve()
        return [(out, taken.data) for out, taken in self.take()]

    def counts(self):
        """Return what was counted of each port, over all workers."""
        tables = [thread.worker.counts for thread in self.engine._threads]
        return {number: {count: int(sum(table[number, count] for table in tables)) for count in Count} for number in self.ports}

    def tally(self, what: Tally):
        return sum(int(thread.worker.tally[what]) for thread in self.engine._threads)

    def check_books(self):
        """Every frame that came is accounted for, and every chunk is free again."""
        counts = self.counts()
        for number, count in counts.items():
            assert count[Count.RX] == count[Count.MERGED] + count[Count.SEEN], number
            assert count[Count.HANDED] + count[Count.CUT] == count[Count.TX] + count[Count.TX_DROPPED] + count[Count.UNSENDABLE]
            assert count[Count.RX] == self.ports[number].statistics()["rx_packets"]
            assert count[Count.TX] == self.ports[number].statistics()["tx_packets"]
            assert count[Count.TX_BYTES] == self.ports[number].statistics()["tx_bytes"]
        total = {what: sum(count[what] for count in counts.values()) for what in Count}
        assert total[Count.SEEN] + total[Count.COPIED] == total[Count.HANDED] + sum(total[drop] for drop in DROPS)
        hits = self.tally(Tally.EMC_HITS) + self.tally(Tally.MEGAFLOW_HITS)
        assert hits + self.tally(Tally.UPCALLS) + self.tally(Tally.LOST) == self.tally(Tally.PACKETS) == total[Count.SEEN]
        assert self.chunks() == self.free
        return total
