"""A switch of its own process between namespaces: real transfers, real tools, and an end that loses nothing."""

import errno
import json
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from support.live_switch import Net, Running, inside, run, socket_in, until

pytestmark = pytest.mark.oracle

TWO = """{head}
[bridge.br0]
[bridge.br0.port.p1]
type = "packet"
[bridge.br0.port.p2]
type = "packet"
"""
SPEED = ("tso", "gso", "gro")


def offloads(word, *names):
    return [item for name in names for item in (name, word)]


def all_ways(net, *, source=1, target=2, size=1 << 20):
    for family in (4, 6):
        net.transfer(source, target, family=family, size=size)


def udp(port, number, length=40):
    """Return a numbered frame from end 1 to 10.9.0.2."""
    payload = struct.pack("!Q", number) + bytes(length - 8)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + length, 0, 0, 64, 17, 0, bytes([10, 9, 0, 1]), bytes([10, 9, 0, 2]))
    total = sum(struct.unpack("!10H", ip))
    ip = ip[:10] + struct.pack("!H", ~(total % 0xFFFF) & 0xFFFF) + ip[12:]
    return bytes.fromhex("020000000002 020000000001 0800") + ip + struct.pack("!HHHH", 4000, port, 8 + length, 0) + payload


def raw(space, device="eth0"):
    """Return a packet socket at an interface of a namespace."""
    opened = socket_in(space, socket.AF_PACKET, socket.SOCK_RAW)
    opened.bind((device, 0))
    return opened


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A switch with two packet ports and a bound on nothing, for tests that leave it as it was."""
    with Net(2) as net, Running(tmp_path_factory.mktemp("pair"), TWO, space=net.space) as switch:
        yield net, switch
        switch.stop()


@pytest.mark.parametrize("mtu", [1400, 1500, 9000])
def test_transfers_with_every_mtu(tmp_path, mtu):
    text = TWO.replace('type = "packet"', f'type = "packet"\nmtu = {mtu}')
    with Net(2, mtu=mtu) as net, Running(tmp_path, text, space=net.space) as switch:
        assert net.ping(1, "10.9.0.2", "-s", str(mtu - 28), "-M", "do")
        assert net.ping(1, "fd09::2", "-s", str(mtu - 48), "-M", "do")
        all_ways(net)
        for end in (1, 2):
            net.offload(end, *offloads("off", *SPEED))
        all_ways(net)
        counters = switch.counters()
        # Some were merged on the way, none was lost.
        assert counters["p1"]["rx_packets"] >= counters["p2"]["tx_packets"] > 0
        assert counters["p1"]["tx_dropped"] == counters["p2"]["tx_dropped"] == 0
        assert " lost:0\n" in switch.appctl("dpctl/show")
        switch.stop()


LEGS = [
    ({1: ("tx", "off")}, {}, {}),
    ({2: ("tx", "off")}, {}, {}),
    ({1: offloads("off", *SPEED)}, {}, {}),
    ({2: offloads("off", *SPEED)}, {}, {}),
    ({1: ("tx", "off"), 2: ("gro", "on")}, {2: ("tx", "off")}, {}),
    ({1: ("tso", "off"), 2: ("rx", "off")}, {1: ("gro", "on")}, {}),
    ({}, {1: ("gro", "on"), 2: ("gro", "on")}, {}),
    ({}, {1: offloads("off", "tx", *SPEED), 2: offloads("off", "tx", *SPEED)}, {}),
    ({1: offloads("off", *SPEED)}, {}, {"p1": "gro"}),
    ({}, {}, {"p2": "tso"}),
    ({}, {}, {"p2": "tx"}),
    ({1: offloads("off", *SPEED)}, {}, {"p1": "gro", "p2": "tx"}),
]
"""Features of the ends, of the switch's interfaces, and pktpath's own that are off: (far, near, own)."""


@pytest.mark.parametrize(("far", "near", "own"), LEGS)
def test_transfers_with_features_off_on_one_leg_and_the_other(pair, far, near, own):
    net, switch = pair
    for number, words in far.items():
        net.offload(number, *words)
    for number, words in near.items():
        net.offload_near(number, *words)
    for port, word in own.items():
        switch.pktpath("ethtool", "-K", f"br0/{port}", word, "off")
    try:
        all_ways(net)
        all_ways(net, source=2, target=1)
    finally:
        for number in (1, 2):
            net.offload(number, *offloads("on", "tx", "rx", *SPEED))
            net.offload_near(number, *offloads("on", "tx", *SPEED[:2]), "gro", "off")
        for port, word in own.items():
            switch.pktpath("ethtool", "-K", f"br0/{port}", word, "on")


def test_gro_of_ours_merges_what_the_sender_has_cut(pair):
    net, switch = pair
    net.offload(1, *offloads("off", *SPEED))
    try:

        def merged():
            before = merged_of(switch)
            net.transfer(1, 2, size=4 << 20)
            return merged_of(switch) - before

        assert merged() > 0
        assert switch.pktpath("ethtool", "-K", "br0/p1", "gro", "off") == ""
        assert merged() == 0
    finally:
        switch.pktpath("ethtool", "-K", "br0/p1", "gro", "on")
        net.offload(1, *offloads("on", *SPEED))


def merged_of(switch):
    found = re.search(r"merged: (\d+)", switch.pktpath("ethtool", "-S", "br0/p1"))
    return int(found[1])


def drops(switch: Running) -> dict[str, int]:
    """What the switch counts as lost, port by port."""
    counters = switch.counters()
    return {f"{port} {name}": counters[port][name] for port in counters for name in ("rx_dropped", "tx_dropped")}


def unread(space: str) -> int:
    """Datagrams that found no room in the sockets of a namespace."""
    rows = [line.split() for line in inside(space, "cat", "/proc/net/snmp").splitlines() if line.startswith("Udp:")]
    return int(rows[1][rows[0].index("RcvbufErrors")])


@pytest.mark.peer
def test_iperf3_with_tcp_and_udp(pair):
    if shutil.which("iperf3") is None:
        pytest.skip("iperf3 is not installed (apt-get install iperf3)")
    net, switch = pair
    server = subprocess.Popen(["ip", "netns", "exec", net.ends[1], "iperf3", "-s"], stdout=subprocess.DEVNULL)
    try:
        until(lambda: "5201" in inside(net.ends[1], "ss", "-ltn"))
        dropped = drops(switch)
        for words in ((), ("-R",), ("-6",), ("-u", "-b", "50M"), ("-u", "-b", "50M", "-R")):
            address = "fd09::2" if "-6" in words else "10.9.0.2"
            # A receiver that does not run for a while loses datagrams in its own socket: that is not the switch's loss.
            receiver = net.ends[0 if "-R" in words else 1]
            before = unread(receiver)
            told = json.loads(inside(net.ends[0], "iperf3", "-c", address, "-t", "1", "-J", *words))
            end = told["end"]
            if "-u" in words:
                assert end["sum"]["lost_packets"] == unread(receiver) - before, words
            else:
                assert end["sum_received"]["bytes"] > 10 << 20, words
        assert drops(switch) == dropped
    finally:
        server.kill()
        server.wait()


def test_access_ports_of_a_vlan(tmp_path):
    out = tmp_path / "trunk.pcap"
    text = f"""{{head}}
[bridge.br0]
[bridge.br0.port.p1]
type = "packet"
tag = 7
[bridge.br0.port.p2]
type = "packet"
tag = 7
[bridge.br0.port.p3]
type = "packet"
tag = 8
[bridge.br0.port.trunk]
type = "pcap"
tx_file = "{out}"
"""
    with Net(3) as net, Running(tmp_path, text, space=net.space) as switch:
        assert net.ping(1, "10.9.0.2")
        assert not net.ping(3, "10.9.0.2", "-W", "0.3")
        all_ways(net)
        for number in (1, 2):
            net.offload(number, *offloads("off", "tx", *SPEED))
        all_ways(net, source=2, target=1)
        switch.stop()
    tags = run("tshark", "-r", str(out), "-Y", "arp", "-T", "fields", "-e", "vlan.id").split()
    assert set(tags) == {"7", "8"}


def test_tap_ports_that_were_moved_into_namespaces(tmp_path):
    text = """{head}
[bridge.br0]
[bridge.br0.port.vm1]
type = "tap"
interface = "t1"
[bridge.br0.port.t2]
type = "tap"
queues = 2
"""
    with Net(2) as net, Running(tmp_path, text, space=net.space) as switch:
        # The port's name everywhere, whatever its interface is called; and the interface's own address.
        for words in (["dpctl", "show"], ["top", "--once"], ["ofctl", "show", "br0"]):
            assert set(re.findall(r"\b(?:vm1|t1|t2)\b", switch.pktpath(*words))) == {"vm1", "t2"}, words
        run("ip", "-n", net.space, "link", "set", "t1", "address", "02:00:00:00:00:99")
        assert "(vm1): addr:02:00:00:00:00:99\n" in switch.pktpath("ofctl", "show", "br0")
        for number, end in enumerate(net.ends, 1):
            run("ip", "-n", end, "link", "del", "eth0")
            run("ip", "-n", net.space, "link", "set", f"t{number}", "netns", end)
            net.address(number, f"t{number}")
        assert net.ping(1, "10.9.0.2")
        all_ways(net, size=8 << 20)
        inside(net.ends[0], "ethtool", "-K", "t1", "tx", "off")
        all_ways(net)
        all_ways(net, source=2, target=1)
        assert set(switch.states().values()) == {"open"}
        assert re.search(r"forwarded: .* vm1 rx \d+ ", switch.stop())


def test_the_port_of_the_host_itself(tmp_path):
    text = TWO.replace("[bridge.br0]\n", '[bridge.br0]\nlocal = {address = ["10.9.0.9/24"]}\n')
    with Net(2) as net:
        with Running(tmp_path, text, space=net.space) as switch:
            inside(net.space, "sysctl", "-qw", "net.ipv6.conf.br0.disable_ipv6=0")
            run("ip", "-n", net.space, "address", "add", "fd09::9/64", "dev", "br0", "nodad")
            assert net.ping(1, "10.9.0.9")
            assert net.ping(1, "fd09::9")
            # The ninth end is the host.
            net.ends += [net.space] * 7
            try:
                all_ways(net, target=9)
                all_ways(net, source=9, target=2)
                inside(net.space, "ethtool", "-K", "br0", "tx", "off")
                all_ways(net, source=9, target=2)
            finally:
                del net.ends[2:]
            switch.stop()
        assert "br0" not in run("ip", "-n", net.space, "link")


def test_xdp_ports_between_ends_that_complete_their_checksums(tmp_path):
    text = TWO.replace('"packet"', '"xdp"')
    with Net(2) as net:
        for number in (1, 2):
            net.offload(number, *offloads("off", "tx", *SPEED))
        with Running(tmp_path, text, space=net.space) as switch:
            assert net.ping(1, "10.9.0.2")
            all_ways(net)
            all_ways(net, source=2, target=1)
            assert switch.counters()["p1"]["tx_dropped"] == 0
            switch.stop()


@pytest.mark.parametrize("kind", ["pcap", "xdp"])
def test_a_port_without_checksum_offload_never_sends_a_partial_checksum(tmp_path, kind):
    out = tmp_path / "out.pcap"
    port = f'type = "pcap"\ntx_file = "{out}"' if kind == "pcap" else 'type = "xdp"'
    text = f"""{{head}}
[bridge.br0]
flows = ["in_port=1,actions=2,3", "in_port=2,actions=1"]
[bridge.br0.port.p1]
type = "packet"
[bridge.br0.port.p2]
type = "packet"
[bridge.br0.port.p3]
{port}
"""
    with Net(3, mtu=9000 if kind == "pcap" else 1500) as net, Running(tmp_path, text, space=net.space) as switch:
        watcher = None
        if kind == "xdp":
            watcher = subprocess.Popen(
                ["ip", "netns", "exec", net.ends[2], "tcpdump", "-qUn", "-Q", "in", "-B", "65536", "-i", "eth0", "-w", str(out)],
                stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert any("listening" in line for line in watcher.stderr)
        all_ways(net)
        net.offload(1, "tso", "off")
        all_ways(net)
        with socket_in(net.ends[0], socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(50):
                sender.sendto(bytes([number]) * 200, ("10.9.0.2", 9))
        sent = switch.counters()["p3"]
        if watcher is not None:
            time.sleep(0.3)
            watcher.send_signal(signal.SIGINT)
            watcher.communicate()
        switch.stop()
        assert sent["tx_packets"] > 300
        if kind == "pcap":
            # A capture takes frames of any length.
            assert run("tshark", "-r", str(out), "-Y", "frame.len > 8000") != ""
        told = json.loads(run(sys.executable, "-m", "pktpath", "checksum", "-r", str(out), "--json"))
        assert told["frames"] >= sent["tx_packets"] * 0.9
        text = run("tshark", "-r", str(out), "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
                   "-o", "ip.check_checksum:TRUE", "-Y", "tcp.checksum.status==0 || udp.checksum.status==0")  # fmt: skip
        assert text == ""


# The tools of others


def test_commands_of_open_vswitch(pair):
    net, switch = pair
    net.transfer(1, 2)
    shown = switch.appctl("dpctl/show", "-s")
    assert "lookups: hit:" in shown
    assert "p1" in shown
    assert "in_port" in switch.appctl("dpctl/dump-flows")
    assert re.search(r"packets received: \d+", switch.appctl("dpif-netdev/pmd-stats-show"))
    assert "masks: hit:" in switch.pktpath("dpctl", "show")
    assert switch.pktpath("top", "--once")


def test_dump_is_read_by_tcpdump(pair):
    net, switch = pair
    command = [sys.executable, "-m", "pktpath", "dump", "br0", "-w", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=switch.environment) as dump:
        reader = subprocess.Popen(
            ["tcpdump", "-nlr", "-"], stdin=dump.stdout, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        time.sleep(1)
        assert net.ping(1, "10.9.0.2")
        time.sleep(0.3)
        dump.send_signal(signal.SIGINT)
        text, _ = reader.communicate(timeout=10)
        dump.wait(10)
    assert text.count("ICMP echo request") == 6
    assert text.count("ICMP echo reply") == 6


def test_metrics_are_fetched_and_exit_ends_it(tmp_path):
    with Running(tmp_path, '{head}metrics = "127.0.0.1:39475"\n[bridge.br0]\n[bridge.br0.port.m1]\ntype = "memory"\n') as switch:
        with urllib.request.urlopen("http://127.0.0.1:39475/metrics", timeout=5) as answer:
            text = answer.read().decode()
        assert 'pktpath_port_up{port="m1"} 1' in text
        switch.appctl("exit")
        switch.ended()


def test_ports_come_and_go_and_reload_changes_flows_while_frames_flow(tmp_path):
    with Net(3) as net, Running(tmp_path, TWO, space=net.space) as switch:
        stop = threading.Event()
        rounds = []

        def talk():
            while not stop.is_set():
                net.transfer(1, 2, size=8 << 20)
                rounds.append(1)

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            for _ in range(8):
                switch.appctl("switch/add-port", "br0", "p3", "type=packet")
                assert net.ping(3, "10.9.0.2")
                switch.appctl("switch/del-port", "br0", "p3")
                assert not net.ping(3, "10.9.0.2", "-c", "1", "-W", "0.2")
            more = TWO.replace(
                "[bridge.br0]\n", '[bridge.br0]\nflows = ["priority=0,actions=NORMAL", "priority=9,icmp,actions=drop"]\n'
            )
            switch.write(more)
            switch.appctl("switch/reload")
            assert not net.ping(1, "10.9.0.2", "-W", "0.3")
            switch.write(TWO)
            switch.appctl("switch/reload")
            assert net.ping(1, "10.9.0.2")
        finally:
            stop.set()
            thread.join()
        assert len(rounds) > 3
        switch.stop()


@pytest.mark.parametrize("sink", ["pcap", "packet", "xdp", "tap"])
def test_an_end_under_load_loses_no_accepted_frame(tmp_path, sink):
    out = tmp_path / "out.pcap"
    port = f'tx_file = "{out}"' if sink == "pcap" else ""
    text = f"""{{head}}
[bridge.br0]
flows = ["in_port=1,actions=2"]
[bridge.br0.port.p1]
type = "packet"
[bridge.br0.port.p2]
type = "{sink}"
{port}
"""
    with Net(2) as net, raw(net.ends[0]) as sender:
        # Nothing but what is numbered.
        inside(net.ends[0], "sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1")
        if sink == "tap":
            net.unplug(2)
        with Running(tmp_path, text, space=net.space) as switch:
            far = None
            if sink != "pcap":
                space, device = (net.space, "p2") if sink == "tap" else (net.ends[1], "eth0")
                far = raw(space, device)
                far.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)
                far.setblocking(False)
                far.setsockopt(263, 23, 1)
                far.close()
                far = socket_in(space, socket.AF_PACKET, socket.SOCK_RAW)
                far.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)
                far.setsockopt(263, 23, 1)
                far.bind((device, 0x0800))
                far.setblocking(False)
            # The first frame asks the slow path; those that came close behind it could be overtaken.
            sender.send(udp(9, 0))
            until(lambda: switch.status()["flows"])
            threading.Timer(0.4, lambda: switch.process.send_signal(signal.SIGTERM)).start()
            number = 1
            while switch.process.poll() is None:
                for _ in range(50):
                    sender.send(udp(9, number))
                    number += 1
            log = switch.ended()
        told = re.search(r"p1 rx (\d+) tx \d+ dropped \d+, p2 rx \d+ tx (\d+) dropped (\d+)", log)
        accepted, sent, dropped = (int(value) for value in told.groups())
        assert accepted > 1000
        assert sent + dropped == accepted
        numbers = []
        if sink == "pcap":
            told = run("tshark", "-r", str(out), "-T", "fields", "-e", "udp.payload")
            numbers = [int(line[:16], 16) for line in told.split()]
        else:
            while True:
                try:
                    frame = far.recv(2048)
                except BlockingIOError:
                    break
                except OSError as error:
                    # The TAP has gone with the switch; what came is still there.
                    if error.errno != errno.ENETDOWN:
                        raise
                    continue
                if frame[36:38] == b"\x00\x09":
                    numbers.append(int.from_bytes(frame[42:50]))
            far.close()
        assert dropped == 0
        assert numbers == sorted(set(numbers))
        assert len(numbers) == sent
