"""The whole switch beside a real Open vSwitch with made-up ports: the same frames leave by the same ports, byte for byte.

Frames go through ours one by one: what waits for the slow path waits behind nothing, so that the order is theirs. Not asked:
what version 3.1 does otherwise by itself (`judged` in test_rewrite_peers.py), groups that choose by hash, controllers, and
the bridge's own port.
"""

import contextlib
import itertools
import random
import re
import subprocess
import threading
import time

import pytest

from pktpath.control.flow_match import match_text
from pktpath.control.live_parts import commands, serve
from pktpath.control.loop import Loop
from pktpath.jit import JIT_DISABLED
from pktpath.switch.fields import FIELDS, mask_of
from support.dp_parse import parse_dump
from support.flow_tables import ACTIONS
from support.memory_switch import PLAIN, LiveSwitch
from support.open_vswitch import OpenVSwitch, why_unavailable
from support.ovs_dummy import captured
from support.switch_traffic import MACS, TAGS, likely_frame, random_flows

pytestmark = pytest.mark.peer

PORTS = {"p1": 1, "p2": 2, "p3": 3, "p4": 4}
TABLES = 10
FRAMES = 100 if JIT_DISABLED else 1000
LOOKED_UP = (
    "simple match hits",
    "emc hits",
    "smc hits",
    "megaflow hits",
    "phwol hits",
    "miss with success upcall",
    "miss with failed upcall",
)
MOST = 50
"""Frames that a made-up port is given at once; it holds a hundred."""
ALL_VERSIONS = "protocols=OpenFlow10,OpenFlow11,OpenFlow12,OpenFlow13,OpenFlow14,OpenFlow15"
GROUP = "group_id=1,type=all,bucket=output:2,bucket=mod_dl_dst:00:00:00:00:00:09,mod_nw_tos:8,output:3"
# The bridge's own port has no capture. Ports of ICMP are no ports here; Open vSwitch writes them into its type and code.
DONE = [action for action in ACTIONS if action not in {"local", "flood", "all", "mod_tp_dst:80", "mod_tp_src:4097"}] + [
    "group:1",
    "output:9",
]


@pytest.fixture(scope="module")
def beside():
    if missing := why_unavailable():
        pytest.skip(missing)
    with OpenVSwitch(other_config={"max-idle": "1000000", "emc-insert-inv-prob": "1"}) as switch:
        switch.bridge("br0", PORTS, ALL_VERSIONS, "fail-mode=secure")
        for port in PORTS:
            switch.vsctl("set", "interface", port, f"options:tx_pcap={switch.rundir}/{port}.pcap")
        switch.ofctl("-O", "OpenFlow15", "add-group", "br0", GROUP)
        yield Theirs(switch)


class Theirs:
    """What leaves a dummy switch by each port."""

    def __init__(self, switch):
        self.switch = switch
        self.seen = dict.fromkeys(PORTS.values(), 0)

    def flows(self, flows):
        """Replace the flows by those of these that it takes (version 3.1 refuses writes that the match does not allow)."""
        self.switch.ofctl("del-flows", "br0")
        taken = []
        for flow in flows:
            with contextlib.suppress(RuntimeError):
                self.switch.ofctl("add-flow", "br0", flow)
                taken.append(flow)
        return taken

    def forget(self):
        """Begin anew with megaflows and what is counted."""
        self.switch.appctl("revalidator/purge")
        self.switch.appctl("dpif-netdev/pmd-stats-clear")

    def send(self, number, frames, expected):
        """Let frames come in by a port; return what has left by each when as many have left as `expected` says."""
        self.switch.appctl("netdev-dummy/receive", f"p{number}", *(frame.hex() for frame in frames))
        until = time.monotonic() + 5
        while True:
            all_of = {port: captured(self.switch.rundir / f"p{port}.pcap") for port in PORTS.values()}
            left = {port: frames[self.seen[port] :] for port, frames in all_of.items()}
            if sum(map(len, left.values())) >= expected or time.monotonic() > until:
                break
            time.sleep(0.003)
        self.seen = {port: len(frames) for port, frames in all_of.items()}
        return left


class Asked:
    """Our control socket, as the real ovs-appctl asks it."""

    def __init__(self, switch, directory):
        self.path = str(directory / "s.ctl")
        self.loop = Loop()
        self.server = serve(self.path, commands(switch.engine, switch.tables), self.loop)
        self.thread = threading.Thread(target=self.loop.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.loop.call(self.loop.stop)
        self.thread.join()
        self.server.close()

    def __call__(self, *words):
        return subprocess.run(
            ["ovs-appctl", "-t", self.path, *words], capture_output=True, text=True, check=True, timeout=20
        ).stdout


HOMES = {frame: port for port, frame in zip((1, 2, 3, 1), MACS[:4], strict=True)}


def traffic(rng, count):
    """Return bursts of (port, frames); every station stays at its port."""
    bursts = []
    for _ in range(count // MOST):
        port = rng.choice((1, 1, 2, 3))
        frames = (likely_frame(rng) for _ in iter(int, 1))
        bursts.append((port, list(itertools.islice((frame for frame in frames if HOMES[frame[6:12]] == port), MOST))))
    return bursts


def hellos():
    """Return frames from which NORMAL learns where every station is, in every VLAN."""
    return [
        (port, [b"\xff" * 6 + mac + tag + b"\x88\xb5" + bytes(46) for tag in sorted(set(TAGS))]) for mac, port in HOMES.items()
    ]


def table(seed):
    rng = random.Random(100 + seed)
    return ["actions=NORMAL"] if seed == 0 else random_flows(rng, actions=DONE)


def number(text, name):
    return int(re.search(rf"{name}: *(\d+)", text).group(1))


NAMES = {name: number for number, port in enumerate([*PORTS, "br0"], 1) for name in (str(number), port)} | {"100": 5}


def megaflows(text):
    """Return key, mask and frames of each line of `dpctl/dump-flows -m`."""
    return [(flow.key, flow.mask, flow.packets) for flow, _, _ in parse_dump(text, NAMES)]


@pytest.mark.parametrize("seed", range(TABLES))
def test_same_frames_leave_and_the_same_is_told(beside, seed, tmp_path):
    rng = random.Random(seed)
    flows = beside.flows(table(seed))
    # GRO off, and ports that take no super-frames.
    features = dict.fromkeys([*PORTS, "br0"], PLAIN)
    with LiveSwitch(flows, groups=[GROUP], features=features, mtu=1500) as switch, Asked(switch, tmp_path) as appctl:
        compared = 0
        bursts = traffic(rng, FRAMES)
        for turn, (port, frames) in enumerate([*hellos(), *bursts]):
            if turn == len(HOMES):
                # What was learned meanwhile is in no megaflow's way.
                switch.engine.flush()
                beside.forget()
                switch.engine.clear_statistics(None)
            mine = {out: [] for out in PORTS.values()}
            for frame in frames:
                for out, data in switch.send(port, frame):
                    if out in mine:
                        mine[out].append(data)
            theirs = beside.send(port, frames, sum(map(len, mine.values())))
            for out in PORTS.values():
                assert [data.hex() for data in mine[out]] == [data.hex() for data in theirs[out]], (out, flows)
                compared += len(mine[out])
        assert compared or seed
        switch.revalidate()
        beside.switch.appctl("revalidator/wait")
        # Rules count the same frames and bytes.
        said = beside.switch.ofctl("-O", "OpenFlow13", "--no-names", "dump-flows", "br0")
        counts = sorted((int(n), int(b)) for n, b in re.findall(r"n_packets=(\d+), n_bytes=(\d+)", said))
        # Where tables go in circles theirs count one round more before they give up.
        if counts[-1][0] < 10 * FRAMES:
            assert counts == sorted((rule.packets, rule.size) for rule in switch.bridge.flows())
        here, there = appctl("dpif-netdev/pmd-stats-show"), beside.switch.appctl("dpif-netdev/pmd-stats-show")
        words = [[line.partition(":")[0] for line in text.splitlines()] for text in (here, there)]
        assert words[0] == words[1]
        for text in (here, there):
            assert number(text, "packets received") == FRAMES == sum(number(text, name) for name in LOOKED_UP), text
        missed = number(here, "miss with success upcall")
        assert 0 < missed <= number(there, "miss with success upcall")
        # Megaflows may cover more than theirs, and never less.
        ours = megaflows(appctl("dpctl/dump-flows", "-m"))
        others = megaflows(beside.switch.appctl("dpctl/dump-flows", "-m"))
        assert len(ours) == missed
        assert sum(packets for _, _, packets in ours) == FRAMES - missed
        for key, mask, _ in ours:
            # What is not there is not told by either in the same way.
            told = mask & ~mask_of("in_port", "nw_frag", *([] if FIELDS["vlan_tci"].of(key) else ["vlan_tci"]))
            alike = [theirs for other, theirs, _ in others if not (other ^ key) & mask & theirs]
            # Which of two fields is looked at to tell rules apart is a matter of order.
            assert any(told.bit_count() <= theirs.bit_count() for theirs in alike), match_text(key, mask)
        show = appctl("dpctl/show")
        assert number(show, "flows") == len(ours)
        assert "lost:0\n" in show
