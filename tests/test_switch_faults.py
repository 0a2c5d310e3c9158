"""What goes wrong around a switch: interfaces, peers, floods and kills. Forwarding goes on, and nothing is left behind."""

import contextlib
import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time

import pytest

from pktpath.features import FeatureState
from pktpath.lab.bench.generator import blast
from pktpath.path.live_engine import EngineSettings, LiveEngine
from pktpath.port.live import EnginePort
from pktpath.port.live_memory_port import MemoryPort
from pktpath.switch.actions import Output
from pktpath.switch.slow_path import Translation
from support.live_switch import Net, Running, capture, inside, run, socket_in, until

pytestmark = pytest.mark.oracle

THREE = """{head}
[bridge.br0]
[bridge.br0.port.p1]
type = "packet"
[bridge.br0.port.p2]
type = "packet"
[bridge.br0.port.p3]
type = "packet"
"""


@contextlib.contextmanager
def stream(net, source=1, target=2):
    """Send datagrams as fast as they go while the block runs; yield what tells how many arrived since the last call."""
    stop = threading.Event()
    far = socket_in(net.ends[target - 1], socket.AF_INET, socket.SOCK_DGRAM)
    far.bind(("", 7000))
    far.setblocking(False)
    near = socket_in(net.ends[source - 1], socket.AF_INET, socket.SOCK_DGRAM)

    def send():
        while not stop.is_set():
            for _ in range(20):
                with contextlib.suppress(OSError):
                    near.sendto(bytes(100), (f"10.9.0.{target}", 7000))
            time.sleep(0.001)

    def arrived():
        count = 0
        while True:
            try:
                far.recv(200)
            except BlockingIOError:
                return count
            count += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield arrived
    finally:
        stop.set()
        thread.join()
        near.close()
        far.close()


def flows(arrived, least=100, seconds=5.0):
    """Whether datagrams arrive now."""
    arrived()
    deadline = time.monotonic() + seconds
    count = 0
    while count < least and time.monotonic() < deadline:
        time.sleep(0.05)
        count += arrived()
    return count >= least


# Interfaces and peers


@pytest.mark.parametrize("kind", ["packet", "xdp"])
def test_an_interface_goes_and_comes_under_load(tmp_path, kind):
    text = THREE.replace('p2]\ntype = "packet"', f'p2]\ntype = "{kind}"')
    with Net(3) as net, Running(tmp_path, text, space=net.space) as switch:
        if kind == "xdp":
            for number in (1, 2, 3):
                net.offload(number, "tx", "off", "tso", "off", "gso", "off")
        with stream(net) as arrived, stream(net, 1, 3) as other:
            assert flows(arrived)
            files = switch.files()
            for _ in range(3):
                net.unplug(2)
                until(lambda: switch.states()["p2"] == "its interface is gone")
                assert flows(other)
                net.plug(2)
                until(lambda: switch.states()["p2"] == "open")
                run("ip", "-n", net.ends[0], "neigh", "replace", "10.9.0.2", "lladdr", "02:00:00:00:00:02", "dev", "eth0")
                if kind == "xdp":
                    net.offload(2, "tx", "off", "tso", "off", "gso", "off")
                until(lambda: net.ping(1, "10.9.0.2"))
            assert switch.files() == files
        net.transfer(1, 2)
        # The port that frames come from.
        net.unplug(1)
        until(lambda: switch.states()["p1"] != "open")
        assert switch.share(1) < 0.1
        net.plug(1)
        until(lambda: switch.states()["p1"] == "open")
        if kind == "xdp":
            net.offload(1, "tx", "off", "tso", "off", "gso", "off")
        net.transfer(1, 2)
        switch.stop()


def test_a_tap_whose_kernel_side_is_down_or_gone(tmp_path):
    text = THREE + '[bridge.br0.port.t1]\ntype = "tap"\n'
    with Net(3) as net, Running(tmp_path, text, space=net.space) as switch, stream(net) as arrived:
        run("ip", "-n", net.space, "link", "set", "t1", "down")
        inside(net.ends[2], "ping", "-c", "3", "-i", "0.05", "-W", "0.1", "-b", "10.9.0.255", check=False)
        assert flows(arrived)
        run("ip", "-n", net.space, "link", "del", "t1")
        until(lambda: "t1" in run("ip", "-n", net.space, "link"))
        until(lambda: switch.states()["t1"] == "open")
        assert flows(arrived)
        switch.stop()


def test_a_peer_that_stops_reading_holds_up_nobody(tmp_path):
    with Net(3) as net, Running(tmp_path, THREE, space=net.space) as switch:
        listener = socket_in(net.ends[1], socket.AF_INET, socket.SOCK_STREAM)
        client = socket_in(net.ends[0], socket.AF_INET, socket.SOCK_STREAM)
        with listener, client:
            listener.bind(("", 7001))
            listener.listen(1)
            client.connect(("10.9.0.2", 7001))
            client.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                while True:
                    client.send(bytes(1 << 20))
            assert net.ping(3, "10.9.0.1")
            net.transfer(1, 3)
            assert switch.share(1) < 0.1
        switch.stop()


def test_an_interface_that_takes_nothing_holds_up_nobody_and_recovers(tmp_path):
    with Net(3) as net, Running(tmp_path, THREE, space=net.space) as switch:
        assert net.ping(1, "10.9.0.2")
        with stream(net) as arrived, stream(net, 1, 3) as other:
            assert flows(arrived)
            run("ip", "-n", net.space, "link", "set", "p2", "down")
            assert flows(other)
            until(lambda: sum(switch.counters()["p2"][name] for name in ("tx_dropped", "tx_errors")) > 100)
            assert flows(other)
            run("ip", "-n", net.space, "link", "set", "p2", "up")
            assert flows(arrived)
        net.transfer(1, 2)
        assert switch.share(1) < 0.1
        run("ip", "-n", net.space, "link", "set", "p2", "down")
        assert switch.share(1) < 0.1
        switch.stop()


def test_a_tiny_buffer_drops_and_counts(tmp_path):
    capture(tmp_path / "in.pcap")
    text = f"""{{head}}
[bridge.br0]
flows = ["in_port=1,actions=2"]
[bridge.br0.port.in]
type = "pcap"
loop = true
rx_file = "{tmp_path}/in.pcap"
[bridge.br0.port.p1]
type = "packet"
[bridge.br0.port.p2]
type = "packet"
"""
    with Net(2) as net:
        # What a socket may hold; the switch asks for more and, as root, gets it.
        run("ip", "-n", net.space, "link", "set", "p1", "txqueuelen", "1")
        with Running(tmp_path, text, space=net.space) as switch:
            until(lambda: switch.counters()["p1"]["tx_packets"] > 100_000, 30)
            far = socket_in(net.ends[0], socket.AF_PACKET, socket.SOCK_RAW)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            far.bind(("eth0", 3))
            with far:
                before = switch.counters()["p1"]["tx_packets"]
                until(lambda: switch.counters()["p1"]["tx_packets"] > before + 100_000, 30)
            log = switch.stop()
        told = re.search(r"in rx (\d+) .*p1 rx \d+ tx (\d+) dropped (\d+)", log)
        received, sent, dropped = (int(value) for value in told.groups())
        assert received == sent + dropped + int(re.search(r"lost (\d+)", log)[1])


# Floods


def test_a_flood_of_new_flows_leaves_those_that_are_known(tmp_path):
    # A group that chooses by the hash of the flow must look at every field.
    more = """[bridge.br0]
groups = ["group_id=1,type=select,bucket=output:2,bucket=output:3"]
flows = ["priority=8,udp,tp_dst=9,actions=group:1", "priority=0,actions=NORMAL"]
"""
    text = THREE.replace("[bridge.br0]\n", more)
    text = text.replace("{head}", "{head}flow_limit = 20000\n")
    with Net(3) as net, Running(tmp_path, text, space=net.space) as switch:
        net.offload(1, "gro", "on")
        inside(net.space, "ethtool", "-K", "p1", "gro", "on")
        net.transfer(3, 2)
        with (
            stream(net, 3, 2) as arrived,
            blast("eth0", netns=net.ends[0], cpu=1, flows=1 << 22, target="02:00:00:00:00:02") as load,
        ):
            until(lambda: switch.status()["lost"] > 1000, 20)
            assert flows(arrived, 200, 10), switch.status()
            times = []
            for _ in range(20):
                begin = time.monotonic()
                status = switch.status()
                times.append(time.monotonic() - begin)
                time.sleep(0.05)
            assert flows(arrived, 200, 10)
            made = load.stop()
        assert made > 100_000
        assert status["flows"] <= 21_000
        assert max(times[-5:]) < 2, times
        until(lambda: switch.share(0.5) < 0.3, 30)
        net.transfer(3, 2)
        until(lambda: switch.status()["flows"] < 1000, 40)
        switch.stop()


def test_garbage_and_floods_at_the_control_socket_stop_no_frame(tmp_path):
    with Net(2) as net, Running(tmp_path, THREE.split("[bridge.br0.port.p3]", maxsplit=1)[0], space=net.space) as switch:
        chance = random.Random(4)
        held = []
        with stream(net) as arrived:
            for round_ in range(300):
                with contextlib.suppress(OSError):
                    client = socket.socket(socket.AF_UNIX)
                    held.append(client)
                    client.settimeout(1)
                    client.connect(switch.control)
                    kind = round_ % 5
                    if kind == 0:
                        client.send(chance.randbytes(2000))
                    elif kind == 1:
                        client.send(b'{"id":1,"method":"dpctl/show","params":[' * 2000)
                    elif kind == 2:
                        client.send(b'{"id":1,"method":"switch/add-port","params":["br0","x","type=' + b"\\u0000" * 50 + b'"]}')
                    elif kind == 3:
                        # Asks, and never reads.
                        client.setblocking(False)
                        for _ in range(2000):
                            client.send(b'{"id":1,"method":"list-commands","params":[]}' * 10)
                if len(held) > 60:
                    held.pop(0).close()
            assert flows(arrived)
        for client in held:
            client.close()
        assert switch.states() == {"p1": "open", "p2": "open"}
        net.transfer(1, 2)
        switch.stop()


# Kills


def test_after_a_kill_the_next_start_undoes_and_does_again(tmp_path):
    text = THREE.replace('p1]\ntype = "packet"', 'p1]\ntype = "packet"\nmtu = 1400\ndevice_features = {tso = false}')
    with Net(3) as net:

        def facts():
            device = json.loads(run("ip", "-n", net.space, "-d", "-j", "link", "show", "p1"))[0]
            features = re.search("tcp-segmentation-offload: (\\w+)", inside(net.space, "ethtool", "-k", "p1"))[1]
            return device["mtu"], device["promiscuity"], features

        assert facts() == (1500, 0, "on")
        with Running(tmp_path, text, space=net.space) as switch:
            assert facts() == (1400, 1, "off")
            switch.appctl("switch/del-port", "br0", "p3")
            switch.appctl("switch/add-port", "br0", "q3", "type=packet", "interface=p3", "openflow=9")
            by_command = "ofctl/add-flow" in switch.appctl("list-commands")
            if by_command:
                switch.pktpath("ofctl", "add-flow", "br0", "priority=77,icmp,actions=drop")
            kept, wanted = tmp_path / "state" / "tables.json", "priority=77" if by_command else "q3"
            until(lambda: kept.exists() and wanted in kept.read_text())
            switch.process.kill()
            switch.process.wait()
            assert facts() == (1400, 0, "off")
            switch.start()
            assert facts() == (1400, 1, "off")
            assert switch.states() == {"p1": "open", "p2": "open", "q3": "open"}
            assert net.ping(1, "10.9.0.2", "-W", "0.2") != by_command
            assert net.ping(1, "10.9.0.3") != by_command
            switch.stop()
        assert facts() == (1500, 0, "on")


def test_a_second_switch_of_the_same_socket_or_interface(tmp_path):
    text = THREE.replace('"packet"', '"xdp"')
    with Net(3) as net, Running(tmp_path, text, space=net.space) as switch:

        def second(file):
            done = subprocess.run(
                ["ip", "netns", "exec", net.space, sys.executable, "-m", "pktpath", "switch", "run", str(file)],
                capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
            return done.returncode, [line for line in done.stderr.splitlines() if "compiling" not in line]

        status, lines = second(switch.file)
        assert (status, len(lines)) == (2, 1), lines
        assert f"this switch runs already, as process {switch.pid}" in lines[0]
        other = Running(tmp_path / "other", text, name="other")
        status, lines = second(other.file)
        assert (status, len(lines)) == (2, 1), lines
        assert "p1" in lines[0]
        assert set(switch.states().values()) == {"open"}
        for number in (1, 2):
            net.offload(number, "tx", "off", "tso", "off", "gso", "off")
        net.transfer(1, 2)
        switch.stop()


# Time


def test_memory_and_files_stay_flat_over_ten_million_frames(tmp_path):
    capture(tmp_path / "in.pcap")
    capture(tmp_path / "one.pcap", 1)
    text = f"""{{head}}
[bridge.br0]
flows = ["in_port=1,udp,tp_src=1000,actions=mod_nw_tos:4,2", "in_port=1,actions=2", "in_port=3,actions=4", "in_port=4,actions=3"]
[bridge.br0.port.in]
type = "pcap"
openflow = 1
loop = true
rx_file = "{tmp_path}/in.pcap"
[bridge.br0.port.out]
type = "pcap"
openflow = 2
rx_file = "{tmp_path}/one.pcap"
[bridge.br0.port.p1]
type = "packet"
openflow = 3
[bridge.br0.port.p2]
type = "packet"
openflow = 4
"""
    with Net(2) as net, Running(tmp_path, text, space=net.space) as switch:

        def forwarded(port):
            return switch.counters()[port]["tx_packets"]

        until(lambda: forwarded("out") > 1_000_000, 60)
        net.transfer(1, 2)
        # The first frames of the capture come faster than the slow path answers.
        before, files, lost = switch.memory(), switch.files(), switch.status()["lost"]
        net.offload(1, "tso", "off", "gso", "off")
        switch.pktpath("ethtool", "-K", "br0/p1", "gro", "off")
        # 10**5 frames of packet ports, the larger half of them single segments.
        net.transfer(1, 2, size=100 << 20)
        net.transfer(2, 1, size=16 << 20)
        until(lambda: forwarded("out") > 10_000_000, 60)
        assert forwarded("p2") > 70_000
        assert switch.memory() - before < 4 << 20
        assert switch.files() == files
        assert switch.status()["lost"] == lost
        switch.stop()


@pytest.mark.parametrize("schedule", ["interrupt", "poll"])
def test_an_idle_switch_costs_nothing(tmp_path, schedule):
    capture(tmp_path / "in.pcap", 3)
    more = 'schedule = "poll"\ncores = [0]\nsleep_max_us = 10000\n' if schedule == "poll" else ""
    text = THREE.replace('p3]\ntype = "packet"', 'p3]\ntype = "xdp"').replace("{head}", "{head}" + more)
    text = text.replace("[bridge.br0]\n", "[bridge.br0]\nlocal = true\n")
    text += '[bridge.br0.port.t1]\ntype = "tap"\n[bridge.br0.port.m1]\ntype = "memory"\n'
    text += f'[bridge.br0.port.c1]\ntype = "pcap"\nrx_file = "{tmp_path}/in.pcap"\n'
    with Net(3) as net, Running(tmp_path, text, space=net.space) as switch:
        assert net.ping(1, "10.9.0.2")
        time.sleep(2)
        assert switch.share(5) < (0.01 if schedule == "interrupt" else 0.1)
        switch.stop()


# Inside one process


class Table:
    """A slow path of one rule: out by port 2; a key in `bad` is a fault."""

    version = 1

    def __init__(self):
        self.asked, self.bad = [], 0

    def translate(self, key, *, packets=1, learn=True):
        self.asked.append(key)
        if self.bad:
            self.bad -= 1
            raise ZeroDivisionError
        return Translation(0, (Output(2),))

    def credit(self, *_):
        """Nothing is kept."""


@contextlib.contextmanager
def engine(table, **settings):
    made = LiveEngine(EngineSettings(header_chunks=512, normal_chunks=512, large_chunks=16, **settings), table)
    ports = [MemoryPort(f"m{number}", made.memory, made.queues.memory, number=number) for number in (1, 2)]
    try:
        for number, port in enumerate(ports, 1):
            made.add_port(EnginePort(number, "br0", number, port, FeatureState(port.able, port.able, port.able)))
        made.start()
        yield made, ports
    finally:
        made.stop()
        for port in ports:
            port.close()
        made.close()


def answered(made, port, count):
    frames = []

    def look():
        made.handle_upcalls(16)
        frames.extend(port.receive())
        return len(frames) >= count

    until(look)
    return frames


FRAME = bytes.fromhex("020000000002 020000000001 88b5") + bytes(50)


def test_a_fault_of_the_slow_path_costs_its_frame_only(caplog):
    table = Table()
    table.bad = 3
    with engine(table) as (made, (left, right)):
        for number in range(5):
            left.send(FRAME + bytes([number]))
            if number < 3:
                until(lambda most=number: made.handle_upcalls(16) or len(table.asked) > most)
        assert len(answered(made, right, 2)) == 2
        assert table.bad == 0


@pytest.mark.parametrize("poll", [False, True])
def test_pauses_that_follow_each_other_at_once_end(poll):
    table = Table()
    with engine(table, cores=(0, 1), poll=poll, sleep_max_us=100) as (made, (left, right)):
        done = threading.Event()

        def pauses():
            for _ in range(3000):
                with made.paused():
                    pass
            done.set()

        thread = threading.Thread(target=pauses, daemon=True)
        thread.start()
        assert done.wait(60)
        left.send(FRAME)
        assert answered(made, right, 1) == [FRAME]


def test_no_upcall_is_forgotten_between_two_sleepers():
    table = Table()
    with engine(table) as (made, (left, right)):
        for number in range(500):
            made.flush()
            left.send(FRAME + number.to_bytes(2))
            # Woken by the event alone, as the daemon is.
            until(lambda: os.read(made.fileno(), 8) if ready(made) else False, 5)
            made.handle_upcalls(1)
            got = []
            until(lambda got=got: got.extend(right.receive()) or got, 5)
            assert got == [FRAME + number.to_bytes(2)]


def ready(made):
    import select

    return bool(select.select([made.fileno()], [], [], 0)[0])
