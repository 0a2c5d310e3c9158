"""pktpath's own cards: the file, its limits, and what `pktpath ethtool` makes of it."""

import json
import os
import re
import stat
import subprocess
import sys
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.errors import BadInput, Refused
from pktpath.features import KERNEL_NAMES, PORT_FEATURES, Feature, FeatureState
from pktpath.host.ethtool_values import Channels, RxfhChange
from pktpath.nic.card import Card
from pktpath.nic.settings import DEFAULT_KEY, HASH_FIELDS, MOST_QUEUES, NicSettings
from pktpath.nic.store import FORMAT, create_nic, is_nic, load_nic, load_statistics, save_nic, save_statistics


def call(*words, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "pktpath", "ethtool", *words], capture_output=True, text=True, check=False, cwd=cwd
    )


@pytest.fixture
def path(tmp_path):
    create_nic(tmp_path / "my.nic")
    return tmp_path / "my.nic"


# The file

letters = st.lists(st.sampled_from("sdfn"), unique=True).map("".join)


@st.composite
def settings_values(draw):
    queues = draw(st.integers(1, MOST_QUEUES))
    table = draw(st.integers(0, 8).flatmap(lambda k: st.lists(st.integers(0, queues - 1), min_size=1 << k, max_size=1 << k)))
    features = Feature.NONE
    for feature in draw(st.lists(st.sampled_from(list(KERNEL_NAMES.values())))):
        features |= feature
    return NicSettings(
        features=FeatureState(hw=features, wanted=features, active=features & PORT_FEATURES.active, nochange=Feature.NONE),
        queues=queues,
        rx_ring=1 << draw(st.integers(6, 13)),
        rx_usecs=draw(st.integers(0, 2**32 - 1)),
        rx_frames=draw(st.integers(0, 2**32 - 1)),
        adaptive_rx=draw(st.booleans()),
        key=draw(st.sampled_from([40, 52]).flatmap(lambda size: st.binary(min_size=size, max_size=size))),
        indirection=tuple(draw(st.sampled_from([[], table]))),
        hash_fields={flow: draw(letters) for flow in HASH_FIELDS},
        hash_inner=draw(st.booleans()),
        gro_flush_timeout=draw(st.integers(0, 2**63 - 1)),
        napi_defer_hard_irqs=draw(st.integers(0, 2**31 - 1)),
        threaded=draw(st.booleans()),
    )


@given(settings_values(), st.dictionaries(st.from_regex(r"[a-z_0-9]{1,30}", fullmatch=True), st.integers(0, 2**64 - 1)))
def test_what_is_saved_is_loaded(tmp_path_factory, settings, statistics):
    path = tmp_path_factory.mktemp("nic") / "card.nic"
    save_nic(path, settings)
    save_statistics(path, statistics)
    assert load_nic(path) == settings
    assert load_statistics(path) == statistics
    assert list(load_statistics(path)) == list(statistics)
    save_nic(path, NicSettings())
    assert load_nic(path) == NicSettings()
    assert load_statistics(path) == statistics


def test_a_file_is_for_all_to_read_and_nothing_is_left_beside_it(path):
    old = os.umask(0o077)
    try:
        save_nic(path, NicSettings(queues=3))
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [entry.name for entry in path.parent.iterdir()] == ["my.nic"]


def test_a_link_stays_a_link(path):
    link = path.with_name("link.nic")
    link.symlink_to("my.nic")
    save_nic(link, NicSettings(queues=5))
    assert link.is_symlink()
    assert load_nic(path).queues == 5


def test_every_setting_has_its_field_in_the_file(path):
    document = json.loads(path.read_text())
    assert set(document) == {field.name for field in fields(NicSettings)} | {"format", "statistics"}
    assert document["key"] == DEFAULT_KEY.hex(":")


def test_what_is_not_in_the_file_has_its_default(path):
    path.write_text(json.dumps({"format": FORMAT, "queues": 2, "hash_fields": {"udp4": "sd"}}))
    assert load_nic(path) == NicSettings(queues=2, hash_fields=HASH_FIELDS | {"udp4": "sd"})
    assert load_statistics(path) == {}


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("queues", 0, "from 1 to 128, not 0"),
        ("queues", 129, "from 1 to 128"),
        ("queues", True, "not true"),
        ("queues", 8.0, "not 8.0"),
        ("queues", "8", 'not "8"'),
        ("queues", None, "not null"),
        ("rx_ring", 63, "a power of two from 64 to 8192"),
        ("rx_ring", 1000, "a power of two"),
        ("rx_ring", 16384, "to 8192"),
        ("rx_usecs", -1, "from 0 to 4294967295"),
        ("rx_frames", 1 << 32, "from 0 to 4294967295"),
        ("adaptive_rx", 1, "true or false, not 1"),
        ("key", "aa:bb", "40 or 52 bytes"),
        ("key", 5, "40 or 52 bytes"),
        ("key", "ü" * 80, "40 or 52 bytes"),
        ("indirection", {"0": 1}, "a list of queues"),
        ("indirection", [0, 1, 2], "a power of two of entries"),
        ("indirection", [0] * 8192, "up to 4096"),
        ("indirection", [0, 8], "names queue 8, and the card has queues 0 to 7"),
        ("indirection", [0, -1], "from 0 to 127, not -1"),
        ("indirection", [0, "1"], "from 0 to 127"),
        ("hash_fields", [], "an object with letters"),
        ("hash_fields", {"tcp5": "s"}, 'no flow type "tcp5"'),
        ("hash_fields", {"tcp4": "sx"}, "letters of sdfn"),
        ("hash_fields", {"tcp4": "ss"}, "each once"),
        ("hash_fields", {"tcp4": 5}, "letters of sdfn"),
        ("hash_inner", "yes", "true or false"),
        ("gro_flush_timeout", 1 << 63, "from 0 to 9223372036854775807"),
        ("napi_defer_hard_irqs", 1 << 31, "from 0 to 2147483647"),
        ("threaded", 0, "true or false"),
        ("features", {"hw": []}, "an object with hw, wanted, active, nochange"),
        ("features", {"hw": ["tx-magic"], "wanted": [], "active": [], "nochange": []}, 'names "tx-magic", which is no feature'),
        ("features", {"hw": "rx-gro", "wanted": [], "active": [], "nochange": []}, "hw is a list"),
        ("features", {"hw": [], "wanted": [["rx-gro"]], "active": [], "nochange": []}, "which is no feature"),
        ("features", {"hw": [], "wanted": ["rx-gro"], "active": [], "nochange": []}, "rx-gro: not among those of hw"),
        ("statistics", [1], "an object with a number"),
        ("statistics", {"a": -1}, "a is a whole number from 0"),
        ("statistics", {"a": 1 << 64}, "a is a whole number"),
        ("statistics", {"a\n": 1}, "is no name"),
        ("statistics", {"": 1}, "is no name"),
        ("statistics", {"\udc80": 1}, "is no name"),
        ("colour", 1, 'no field "colour"'),
        ("\n\x1b[31m" * 50, 1, "no field"),
    ],
)
def test_a_wrong_field_is_named(path, field, value, says):
    path.write_text(json.dumps({"format": FORMAT, field: value}))
    with pytest.raises(BadInput) as caught:
        load_nic(path)
    line = str(caught.value)
    assert says in line
    assert line.startswith(f"{path}: ")
    assert line.isprintable()
    assert len(line) < 500
    assert "\n" in field or f"{field}" in line


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not JSON in line 1"),
        (b"\xff\xfe\xfd", "not JSON"),
        (b'{\n"queues": }', "not JSON in line 2"),
        (b"[" * 100_000, "not JSON"),
        (b'{"queues": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b'{"queues": NaN}', "not JSON: NaN"),
        (b'{"queues": 1, "queues": 2}', '"queues" is there twice'),
        (b"[]", "this is no card of pktpath's"),
        (b"{}", "this is no card of pktpath's"),
        (b'{"format": "pktpath nic 2"}', "this is no card of pktpath's"),
        (b'{"format": ["pktpath nic 1"]}', "this is no card of pktpath's"),
        (b" " * (4 << 20) + b"{}", "at most 4 MiB"),
    ],
)
def test_what_is_no_card_is_neither_read_nor_written_over(path, data, says):
    path.write_bytes(data)
    for action in (load_nic, load_statistics, lambda path: save_nic(path, NicSettings()), lambda path: save_statistics(path, {})):
        with pytest.raises(BadInput, match=re.escape(says)) as caught:
            action(path)
        assert str(caught.value).startswith(f"{path}: ")
    assert path.read_bytes() == data


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.nic")
    for name, says in (("a.nic", "regular"), (".", "directory"), ("none/a.nic", "No such file")):
        with pytest.raises(BadInput, match=says):
            load_nic(tmp_path / name)
    with pytest.raises(BadInput, match="No such file"):
        create_nic(tmp_path / "none" / "a.nic")


def test_impossible_settings_are_not_written(path):
    before = path.read_bytes()
    for settings, says in (
        (NicSettings(queues=0), "queues: "),
        (NicSettings(queues=2, indirection=(0, 2)), "indirection: names queue 2"),
        (NicSettings(key=b"short"), "key: "),
        (replace(NicSettings(), features=PORT_FEATURES._replace(hw=Feature.NONE)), "features: "),
    ):
        with pytest.raises(BadInput, match=says):
            save_nic(path, settings)
    with pytest.raises(BadInput, match="statistics: x"):
        save_statistics(path, {"x": -1})
    assert path.read_bytes() == before


# The card


def test_a_name_with_a_slash_or_ending_in_nic_is_a_card():
    assert [is_nic(name) for name in ("./x", "/a/b", "x.nic", "eth0", "nic", "x.nic1")] == [True, True, True, False, False, False]


def test_queues_cannot_go_while_the_table_names_them(path):
    card = Card(path)
    card.set_rxfh(RxfhChange(indirection=(0, 1, 2, 3)))
    with pytest.raises(Refused, match=r"combined 3: the indirection table names queue 3; 'pktpath ethtool -X .* equal 3'"):
        card.set_channels({"combined": 3})
    assert card.channels() == Channels(combined_max=MOST_QUEUES, combined=8)
    card.set_channels({"combined": 4})
    card.set_rxfh(RxfhChange(indirection=()))
    card.set_channels({"combined": 1})
    assert set(card.rxfh().indirection) == {0}


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("-L combined 0", 2, "combined 0: a card has from 1 to 128 queues"),
        ("-L combined 129", 2, "from 1 to 128"),
        ("-L rx 4", 2, "rx cannot be set on this device, which has combined"),
        ("-G rx 100", 2, "a power of two of descriptors, from 64 to 8192"),
        ("-G rx 32", 2, "from 64 to 8192"),
        ("-G tx 64", 2, "tx cannot be set on this device, which has rx"),
        ("-C tx-usecs 5", 2, "tx-usecs cannot be set on this device, which has rx-usecs, rx-frames, adaptive-rx"),
        ("-C rx-usecs -5", 1, "rx-usecs is a number"),
        ("-X equal 9", 2, "names ring 8, and the device has rings 0 to 7"),
        ("-X hfunc xor", 2, "a card has toeplitz only"),
        ("-X hfunc md5", 1, "there are toeplitz, xor, crc32"),
        ("-X hkey aa:bb", 1, "has 2 bytes; a card's has 40 or 52"),
        ("-X context new", 1, "not additional RSS contexts"),
        ("-X", 1, "say what to set"),
        ("-N rx-flow-hash tcp4 m", 2, "addresses and ports only: letters of sdfn"),
        ("-N rx-flow-hash ah4 sd", 2, "a card does not hash ah4; it has tcp4"),
        ("-n rx-flow-hash esp6", 2, "does not hash esp6"),
        ("-n", 1, "rx-flow-hash FLOW"),
        ("-N rx-flow-hash tcp4", 1, "rx-flow-hash FLOW LETTERS"),
        ("-S", 2, "there are no statistics"),
        ("-l 5", 1, "-l takes a device and no more, not '5'"),
        ("--create", 1, "there is a file of this name already"),
    ],
)
def test_what_a_card_cannot_be_is_one_line(path, words, status, says):
    before = path.read_bytes()
    option, *rest = words.split()
    done = call(option, str(path), *rest)
    assert (done.returncode, done.stdout) == (status, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert path.read_bytes() == before


def test_a_key_of_52_bytes_fits_a_card(path):
    key = bytes(range(52))
    assert call("-X", str(path), "hkey", key.hex(":")).returncode == 0
    assert load_nic(path).key == key
    assert key.hex(":") in call("-x", str(path)).stdout


def test_settings_of_no_word_stay_as_they_are(path):
    save_nic(path, NicSettings(hash_inner=True, gro_flush_timeout=7, napi_defer_hard_irqs=2, threaded=True))
    save_statistics(path, {"rx_packets": 5})
    for words in ("-L combined 2", "-G rx 64", "-C adaptive-rx on", "-X equal 2", "-N rx-flow-hash udp4 sd"):
        option, *rest = words.split()
        assert call(option, str(path), *rest).returncode == 0
    assert load_nic(path) == NicSettings(
        hash_inner=True, gro_flush_timeout=7, napi_defer_hard_irqs=2, threaded=True, queues=2, rx_ring=64, adaptive_rx=True,
        indirection=(0, 1) * 64, hash_fields=HASH_FIELDS | {"udp4": "sd"},
    )  # fmt: skip
    assert call("-S", str(path)).stdout == "NIC statistics:\n     rx_packets: 5\n"


def test_a_card_has_pktpath_as_its_driver(path):
    lines = call("-i", str(path)).stdout.splitlines()
    assert lines[0] == "driver: pktpath"
    assert f"bus-info: {path}" in lines
    assert "supports-statistics: yes" in lines
    assert json.loads(call("--json", "-i", str(path)).stdout)[0]["bus-info"] == str(path)


# The command


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-l"], "-l needs a device"),
        (["--json"], "an option and a device are missing"),
        (["eth0"], "an option must come before 'eth0'"),
        (["-Q", "eth0"], "there is no option '-Q'; there are -k, -K, -l,"),
        (["--create", "eth0"], "ends in .nic, or has a slash"),
    ],
)
def test_wrong_usage_is_one_line(words, says):
    done = call(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_card_that_is_not_there_is_one_line_that_says_how_to_make_one(tmp_path):
    done = call("-l", "no.nic", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        1, "pktpath: no.nic: No such file or directory; 'pktpath ethtool --create no.nic' makes one\n",
    )  # fmt: skip


def test_json_may_stand_anywhere(path):
    texts = {
        call(*words).stdout for words in (["--json", "-l", str(path)], ["-l", "--json", str(path)], ["-l", str(path), "--json"])
    }
    assert len(texts) == 1
    assert json.loads(texts.pop()) == [{"ifname": str(path), "combined-max": 128, "combined": 8}]


@pytest.mark.parametrize("words", [["-l"], ["-x"], ["-X", "equal", "2"]])
def test_ethtool_imports_neither_numpy_nor_numba(path, words):
    code = (
        "import sys\nfrom pktpath.cli.common import run\nfrom pktpath.cli import pktpath\n"
        f"assert run(pktpath, ['ethtool', {words[0]!r}, {str(path)!r}, *{words[1:]!r}]) == 0\n"
        "import pktpath.host.ethtool_netlink, pktpath.host.ethtool_ioctl\n"
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "numba", "llvmlite", "rich"} & set(done.stderr.split())
