"""The file of a switch: what it says, and one line with file, line and field for each thing that can be wrong."""

import os
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pktpath.control import config_keys
from pktpath.control.config import load_config, port_from_table, port_from_words, port_to_table
from pktpath.control.config_lines import line_at, lines_of
from pktpath.control.config_values import LOCAL_NUMBER
from pktpath.control.live_tables import check as check_tables
from pktpath.errors import BadInput
from pktpath.port import packet
from support.fake_switch import check

ROOT = Path(__file__).parent.parent
CORE = min(os.sched_getaffinity(0))


def load(tmp_path, text, checker=None):
    path = tmp_path / "s.toml"
    path.write_text(text)
    return load_config(str(path), checker)


def fault(tmp_path, text, checker=check):
    with pytest.raises(BadInput) as caught:
        load(tmp_path, text, checker)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{tmp_path}/", "")


def test_every_value_arrives(tmp_path):
    (tmp_path / "br0.flows").write_text("# all\n\npriority=1,actions=drop # none\n")
    config = load(
        tmp_path,
        f"""
[switch]
name = "lab"
run_dir = "run"
state_dir = "/var/lib/x"
metrics = "[::1]:9000"
schedule = "poll"
cores = [{CORE}]
emc = false
[bridge.br0]
fail_mode = "secure"
mtu = 1400
local = {{address = ["10.0.0.1/24", "fd00::1/64"], mac = "02:00:00:00:00:0A"}}
flows = ["priority=5,actions=NORMAL"]
flows_file = "br0.flows"
groups = ["group_id=1,type=select"]
meters = ["meter=1 kbps"]
[bridge.br0.port.p1]
type = "packet"
interface = "eth0"
features = {{gro = false, tso = true}}
trunks = [1, 2]
[bridge.br0.port.p2]
type = "pcap"
rx_file = "in.pcap"
loop = true
[bridge.br0.mirror.m1]
select_src = ["p1", "br0"]
output_port = "p2"
""",
        check,
    )
    assert (config.name, config.run_dir, config.state_dir) == ("lab", str(tmp_path / "run"), "/var/lib/x")
    assert config.control == str(tmp_path / "run" / "lab.ctl")
    assert (config.metrics, config.schedule, config.cores, config.emc) == (("::1", 9000), "poll", (CORE,), False)
    (bridge,) = config.bridges
    assert (bridge.fail_mode, bridge.mtu, bridge.mac_aging) == ("secure", 1400, 300)
    assert [entry.text for entry in bridge.flows] == ["priority=5,actions=NORMAL", "priority=1,actions=drop"]
    assert bridge.flows[1].where == f"{tmp_path}/br0.flows:3"
    assert bridge.local.address == ("10.0.0.1/24", "fd00::1/64")
    local = bridge.local_port()
    assert (local.name, local.type, local.openflow, local.mtu) == ("br0", "internal", LOCAL_NUMBER, 1400)
    one, two = bridge.ports
    assert (one.interface, one.features, one.trunks) == ("eth0", (("gro", False), ("tso", True)), (1, 2))
    assert (two.rx_file, two.loop, two.interface) == (str(tmp_path / "in.pcap"), True, "p2")
    assert bridge.mirrors[0].select_src == ("p1", "br0")


def test_values_know_their_places(tmp_path):
    text = "[switch]\nname = 'lab'\n[bridge.br0]\nlocal = {mtu = 1400}\n[bridge.br0.port.p1]\ntype = 'tap'\n\nnetns = 'x'\n"
    config, other = load(tmp_path, text), load(tmp_path, "\n" + text)
    (bridge,) = config.bridges
    file = f"{tmp_path}/s.toml"
    assert config.places == {"name": f"{file}:2: switch.name"}
    assert bridge.local_port().places == {"mtu": f"{file}:4: bridge.br0.local.mtu"}
    assert bridge.ports[0].places == {
        "type": f"{file}:6: bridge.br0.port.p1.type",
        "netns": f"{file}:8: bridge.br0.port.p1.netns",
    }
    # A line more is no other configuration: a reload has nothing to do.
    assert config == other
    assert hash(bridge.ports[0]) == hash(other.bridges[0].ports[0])


BRIDGE = "[bridge.br0]\n"
PORT = "[bridge.br0.port.p1]\n"
WRONG = [
    ("x = [1,\n", "s.toml: not TOML: Invalid value, at the end of the file"),
    ("[bridge.br0]\nx = = 1\n", "s.toml:2: not TOML: Invalid value (column 5)"),
    ("[bridge.br0]\n[bridge.br0]\n", "s.toml:2: not TOML: Cannot declare ('bridge', 'br0') twice (column 12)"),
    ("", "s.toml: there is no bridge; one starts with [bridge.br0]"),
    ("[brigde.br0]\n", "s.toml:1: brigde: there is no such table; nearest: bridge"),
    ("[switch]\nschedul = 1\n", "s.toml:2: switch.schedul: there is no such key; nearest: schedule"),
    ("\n\n[switch]\nemc = 1\n", "s.toml:4: switch.emc: must be true or false, not 1"),
    ("[switch]\nflow_limit = 0\n", "s.toml:2: switch.flow_limit: must be a whole number from 1 to 10000000, not 0"),
    ("[switch]\nweight = true\n", "s.toml:2: switch.weight: must be a whole number from 1 to 256, not true"),
    ("[switch]\nmetrics = 9475\n", "s.toml:2: switch.metrics: must be an address and a port, as 127.0.0.1:9475, not 9475"),
    ("[switch]\nschedule = 'poll'\n", "s.toml:2: switch.schedule: poll needs cores to poll on, as cores = [1]"),
    ("[switch]\ncores = [\n  4095\n]\n", "s.toml:3: switch.cores[0]: there is no core 4095 for this process; it may use "),
    ("[switch]\nuser = 'nobody-here'\n", 's.toml:2: switch.user: no user has the name "nobody-here"'),
    ("[switch]\nname = 'a/b'\n", "s.toml:2: switch.name: must be a name of up to 15 bytes without space, slash, colon or comma"),
    ("bridge = 3\n", "s.toml:1: bridge: a table with one table for each name, not 3"),
    ("[bridge]\nbr0 = 3\n", "s.toml:2: bridge.br0: a table, not 3"),
    ("[bridge.'a b']\n", "s.toml:1: bridge.a b: must be a name of up to 15 bytes"),
    ("[bridge.a23456789012345678]\n", "s.toml:1: bridge.a23456789012345678: must be a name of up to 15 bytes"),
    (BRIDGE + "fail_mode = 'safe'\n", 's.toml:2: bridge.br0.fail_mode: must be standalone or secure, not "safe"'),
    (BRIDGE + "flows = [\n 'actions=drop',\n 7,\n]\n", "s.toml:4: bridge.br0.flows[1]: must be a string, not 7"),
    (BRIDGE + "flows = [\n 'actions=drop',\n 'tcp',\n]\n", "s.toml:4: bridge.br0.flows[1]: 'tcp': there is no actions="),
    (BRIDGE + "groups = ['x']\n", "s.toml:2: bridge.br0.groups[0]: 'x': there is no group_id="),
    (BRIDGE + "flows_file = 'none'\n", "s.toml:2: bridge.br0.flows_file: none: No such file or directory"),
    (
        BRIDGE + "local = {address = ['10.0.0.1']}\n",
        "s.toml:2: bridge.br0.local.address[0]: must be an IPv4 or IPv6 address with",
    ),
    (BRIDGE + "local = {mac = '01:00:00:00:00:01'}\n", "s.toml:2: bridge.br0.local.mac: must be the address of one station"),
    (BRIDGE + "[bridge.br0.mirror.m]\nselect_all = true\n", "s.toml:2: bridge.br0.mirror.m: needs an output_port"),
    (
        BRIDGE + "[bridge.br0.mirror.m]\noutput_port = 'p1'\n" + PORT + "type = 'packet'\n",
        "s.toml:2: bridge.br0.mirror.m: selects nothing",
    ),
    (
        BRIDGE + PORT + "type='memory'\n[bridge.br0.mirror.m]\nselect_src = ['p2']\noutput_port = 'p1'\n",
        's.toml:5: bridge.br0.mirror.m.select_src[0]: the bridge has no port "p2"; nearest: p1',
    ),
    (BRIDGE + PORT, "s.toml:2: bridge.br0.port.p1: needs a type: packet, tap, xdp, pcap, memory"),
    (
        BRIDGE + PORT + "type = 'tun'\n",
        's.toml:3: bridge.br0.port.p1.type: must be packet or tap or xdp or pcap or memory, not "tun"',
    ),
    (BRIDGE + PORT + "type = 'tap'\nqueues = 65\n", "s.toml:4: bridge.br0.port.p1.queues: must be a whole number from 1 to 64"),
    (BRIDGE + PORT + "type = 'tap'\nmode = 'auto'\n", "s.toml:4: bridge.br0.port.p1.mode: is nothing for a port of type tap"),
    (
        BRIDGE + PORT + "type = 'xdp'\nmode = 'ring'\n",
        's.toml:4: bridge.br0.port.p1.mode: must be auto or native or generic, not "ring"',
    ),
    (BRIDGE + PORT + "type = 'pcap'\ntx_file = 'a'\nloop = true\n", "s.toml:5: bridge.br0.port.p1.loop: needs rx_file"),
    (BRIDGE + PORT + "type = 'pcap'\ntx_file = 'a'\nrx_file = 'a'\n", "s.toml:4: bridge.br0.port.p1.tx_file: is rx_file"),
    (
        BRIDGE + PORT + "type = 'tap'\nfeatures = {gor = true}\n",
        's.toml:4: bridge.br0.port.p1.features: no feature is named "gor"; nearest: gso, gro',
    ),
    (
        BRIDGE + PORT + "type = 'tap'\nfeatures = {gro = 1}\n",
        "s.toml:4: bridge.br0.port.p1.features: gro is true or false",
    ),
    (BRIDGE + PORT + "type = 'tap'\ntrunks = [1, 1]\n", "s.toml:4: bridge.br0.port.p1.trunks: 1 is there twice"),
    (BRIDGE + "[bridge.br0.port.br0]\ntype = 'tap'\n", "s.toml:2: bridge.br0.port.br0: there is a bridge of this name already"),
    (
        BRIDGE + PORT + "type = 'tap'\n[bridge.br1.port.p1]\ntype = 'tap'\n",
        "s.toml:4: bridge.br1.port.p1: there is a port of this name already (s.toml:2: bridge.br0.port.p1)",
    ),
    (
        BRIDGE + PORT + "type = 'tap'\nopenflow = 1\n[bridge.br0.port.p2]\ntype = 'tap'\nopenflow = 1\n",
        "s.toml:7: bridge.br0.port.p2.openflow: 1 is the number of port p1 already",
    ),
    (
        BRIDGE + PORT + "type = 'packet'\ninterface = 'e'\n[bridge.br0.port.p2]\ntype = 'xdp'\ninterface = 'e'\n",
        "s.toml:7: bridge.br0.port.p2.interface: port p1 has e already",
    ),
]


@pytest.mark.parametrize(("text", "says"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_named(tmp_path, text, says):
    message = fault(tmp_path, text)
    assert message.startswith(says), message


def test_a_flow_of_a_file_has_its_own_line(tmp_path):
    (tmp_path / "f").write_text("actions=drop\n# no\ntcp\n")
    assert fault(tmp_path, BRIDGE + "flows_file = 'f'\n").startswith("f:3: 'tcp': there is no actions=")


def test_a_flow_is_called_one_once(tmp_path):
    """As it is said by who reads flows for the switch, in a file of flows and in the configuration."""
    says = "flow 'priority=1,tcp,tp_dst=x,actions=drop': tp_dst=x: not a number (decimal or 0x…)"
    (tmp_path / "f").write_text("actions=drop\n\npriority=1,tcp,tp_dst=x,actions=drop # no\n")
    assert fault(tmp_path, BRIDGE + "flows_file = 'f'\n", check_tables) == f"f:3: {says}"
    text = BRIDGE + "flows = ['actions=drop',\n 'priority=1,tcp,tp_dst=x,actions=drop']\n"
    assert fault(tmp_path, text, check_tables) == f"s.toml:3: bridge.br0.flows[1]: {says}"


def test_files_that_cannot_be_read(tmp_path):
    for name, says in (("none", "No such file"), (".", "Is a directory"), ("a\0b", "no file name")):
        with pytest.raises(BadInput, match=says):
            load_config(f"{tmp_path}/{name}")
    (tmp_path / "x").write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(BadInput, match=r"x:2: not UTF-8"):
        load_config(f"{tmp_path}/x")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["type=tap", "gro"], "gro: a port is described by KEY=VALUE"),
        (["type=tap", "type=tap"], "type: is there twice"),
        (["type=tap", "queues=0"], "queues: must be a whole number from 1 to 64, not 0"),
        (["type=tap", "queue=1"], "queue: there is no such key; nearest: queues"),
        (["type=tap", "features=gro"], "features: "),
        (["type=tap", "trunks=1,x"], "trunks"),
        (["interface=eth0"], "needs a type"),
    ],
)
def test_words_of_a_command_line_that_are_wrong(words, says):
    with pytest.raises(BadInput, match=says):
        port_from_words("br0", "p1", words)


def test_a_port_of_words_is_one_of_a_table_and_back():
    words = ["type=packet", "interface=1", "queues=2", "features=gro:off,tso:on", "trunks=1,2", "mtu=1400", "mode=ring"]
    port = port_from_words("br0", "p1", words)
    assert (port.interface, port.queues, port.features) == ("1", 2, (("gro", False), ("tso", True)))
    assert port_from_table("br0", "p1", port_to_table(port)) == port


def test_a_capture_port_without_files_takes_what_is_sent():
    port = port_from_words("br0", "p1", ["type=pcap"])
    assert (port.rx_file, port.tx_file) == (None, None)


def test_the_modes_of_a_file_are_those_of_the_port():
    assert config_keys.MODES["packet"] == packet.MODES


# Lines


def naive_line(text, value):
    return next(number for number, line in enumerate(text.split("\n"), 1) if value in line)


names = st.sampled_from(["a", "b-1", '"c d"', "'e.f'", "g_h"])


@st.composite
def documents(draw):
    """A document in which every value is a number of its own, so that its line is where that number stands."""
    counter, lines = iter(range(1000, 9999)), []
    junk = st.sampled_from(["", "", "# [x] = 'not'", "\t"])

    def value(depth):
        kind = draw(st.sampled_from(["number", "string", "long", "array", "table"] if depth else ["number", "string", "array"]))
        mark = next(counter)
        match kind:
            case "string":
                return draw(st.sampled_from([f'"{mark} # [\\" ]"', f"'{mark} = \\'"]))
            case "long":
                return draw(st.sampled_from([f'"""{mark}\n] [ "" \\""" = \n"""', f"'''{mark}\n\n# '' ]''''"]))
            case "array":
                items = [value(0) for _ in range(draw(st.integers(0, 3)))]
                return "[" + draw(st.sampled_from(["", "\n", " # ] [\n"])) + ",\n ".join(items) + "]"
            case "table":
                return "{ x = " + str(mark) + ", y.z = " + str(next(counter)) + "}"
        return str(mark)

    for table in range(draw(st.integers(0, 3))):
        lines.append(draw(junk))
        lines.append(draw(st.sampled_from([f"[t{table}]", f"[ t{table} . u ] # x", f"[[list.t{table}]]"])))
        for key in draw(st.lists(names, unique=True, max_size=4)):
            lines.append(draw(junk))
            lines.append(f"{key} = {value(1)} {draw(junk)}")
    return "\n".join(lines)


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from leaves(item, (*path, number))
    else:
        yield path, value


@settings(max_examples=300)
@given(documents())
def test_lines_are_where_values_stand(text):
    found = lines_of(text)
    for path, value in leaves(tomllib.loads(text)):
        assert found[path] == naive_line(text, re.search(r"\d{4}", str(value))[0]), path


def test_the_line_of_what_has_none_is_that_around_it():
    found = lines_of("[a]\n\nb = 1\n")
    assert [line_at(found, path) for path in (("a", "b", "c", 3), ("a", "x"), ("y",), ())] == [3, 1, None, None]


# What is written about it


@pytest.mark.parametrize("name", ["SWITCH", "BRIDGE", "LOCAL", "MIRROR", "PORT"])
def test_every_key_is_documented(name):
    page = (ROOT / "docs" / "switch.md").read_text()
    for key, entry in getattr(config_keys, name).items():
        types = ", ".join(entry.types) if entry.types else "all"
        columns = [f"`{key}`", *([types] if name == "PORT" else []), entry.default, entry.text]
        assert "| " + " | ".join(columns) + " |\n" in page, key


@pytest.mark.parametrize("name", ["switch.toml", "lab.toml"])
def test_the_examples_are_right(name):
    config = load_config(str(ROOT / "examples" / name), check)
    assert config.bridges[0].ports


def test_the_printed_example_is_right(tmp_path):
    from pktpath.cli.switch import _EXAMPLE

    assert load(tmp_path, _EXAMPLE, check).bridges[0].ports
    # And so it is with everything that is commented out.
    whole = re.sub(r"^# ([a-z\[\]\" ])", r"\1", _EXAMPLE.partition("\n")[2], flags=re.MULTILINE).replace(
        "cores = [1]", f"cores = [{CORE}]"
    )
    (tmp_path / "br0.flows").write_text("actions=drop\n")
    config = load(tmp_path, whole, check)
    assert config.schedule == "poll"
    assert config.bridges[0].mirrors[0].output_port == "log"


def test_limits_are_those_of_the_rooms_below():
    from pktpath.port.live import MAX_QUEUES

    assert config_keys.MOST_QUEUES == MAX_QUEUES
