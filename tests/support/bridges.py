"""A slow path with a bridge, the commands that speak of it, and the same bridge in a real Open vSwitch."""

import re

from pktpath.control.bridge_commands import bridge_commands
from pktpath.control.commands import Commands
from pktpath.control.ofctl_commands import ofctl_commands
from pktpath.switch.openflow import LOCAL
from pktpath.switch.views import DatapathView, PortView
from pktpath.switch.xlate import Slow

PORTS = {"p1": 1, "p2": 2, "p3": 3}
NUMBERS = {"p1": 1, "p2": 2, "p3": 3, "br0": 100}
"""In the datapath; as the dummies of Open vSwitch have them."""


class Bridges:
    """What a daemon would plug in: `bridges("ofctl/show", "br0")` asks as its socket does."""

    def __init__(self, *, clock=None, fail_mode="standalone", **options):
        self.now = 1000.0
        self.slow = Slow(clock or self.clock)
        self.bridge = self.slow.add_bridge("br0", fail_mode=fail_mode)
        for name, number in NUMBERS.items():
            self.bridge.add_port(name, number, PORTS.get(name, LOCAL))
        self.counters = {name: {"rx_packets": 0, "tx_packets": 0, "rx_bytes": 0, "tx_bytes": 0} for name in NUMBERS}
        self.saved = self.refreshed = 0
        self.addresses = {}
        """Of interfaces, by the number of their port in the datapath."""
        self.commands = Commands()
        ofctl_commands(self.commands, self.slow, self.view, self.save, fresh=self.fresh, address=self.address)
        self.sample = bridge_commands(self.commands, self.slow, self.view, self.clock, **options)

    def clock(self):
        return self.now

    def save(self):
        self.saved += 1

    def fresh(self):
        self.refreshed += 1

    def address(self, number):
        return self.addresses.get(number, "")

    def view(self):
        ports = tuple(
            PortView(number, name, "tap", "br0", PORTS.get(name, LOCAL), {}, self.counters[name])
            for name, number in NUMBERS.items()
        )
        return DatapathView("netdev@pktpath", 0, 0, 0, 0, 0, 0, ports, ())

    def __call__(self, name, *words):
        return self.commands.run(name, words)


class Pair:
    """The same bridge twice; `change` does the same to both."""

    def __init__(self, real):
        self.real = real
        self.mine = Bridges()
        self.management = f"unix:{real.rundir}/br0.mgmt"

    def change(self, verb, word, *options):
        """Change both; options are for ovs-ofctl (-O)."""
        self.real.ofctl(*options, verb, self.management, word)
        self.mine(f"ofctl/{verb}", "br0", word)

    def flows(self, text, *options):
        """Replace all flows of both."""
        file = self.real.rundir / "flows.txt"
        file.write_text(text)
        self.real.ofctl("del-flows", self.management)
        self.real.ofctl(*options, "add-flows", self.management, str(file))
        self.mine("ofctl/replace-flows", "br0", text, "flows.txt")

    def ask(self, verb, *words, options=()):
        """Return what both print."""
        return self.mine(f"ofctl/{verb}", "br0", *words), self.real.ofctl(*options, verb, self.management, *words)

    def trace(self, packet):
        """Return both traces; numbers that are an Open vSwitch's own are made equal."""
        real = self.real.appctl("ofproto/trace", "br0", packet)
        return tuple(vaguely(text) for text in (self.mine("ofproto/trace", "br0", packet), real))


def vaguely(text):
    """Without what is an Open vSwitch's own: numbers that it gives out, scores of its hash, the order in which it floods."""
    text = re.sub(r"^ *-> bucket \d+: score \d+\n", "", text, flags=re.MULTILINE)
    text = re.sub(
        r"(?<=Datapath actions: )[\d,]+$", lambda found: ",".join(sorted(found[0].split(","))), text, flags=re.MULTILINE
    )
    text = re.sub(r"dont_send=\d,continuation=0,recirc_id=\d+", "", text)
    return re.sub(r"meter\(\d+\)", "meter(N)", text)


def timeless(text):
    """Text without durations and ages."""
    text = re.sub(r"duration[=:][\d.]+s", "duration", text)
    return re.sub(r", (idle|hard)_age=\d+", "", text)
