"""Names, dependencies, and the text of `ethtool`: what can be known without a device."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pktpath.cli.ethtool_features import change_features, is_card, show_features
from pktpath.control.features_text import NOTHING_CHANGED, changes_text, features_json, features_text, nothing_changed
from pktpath.device_features import DeviceFeatures, change_between, failures, of_card, read_switches, requested_bits
from pktpath.errors import BadInput, Refused
from pktpath.features import (
    KERNEL_NAMES,
    OLD_NAMES,
    PORT_FEATURES,
    RULES,
    Feature,
    FeatureState,
    broken_rule,
    disable_lro,
    feature_named,
    fix_features,
    names_of,
    request,
)
from pktpath.nic.settings import NicSettings
from support.naive_features import fixed

CASES = sorted((Path(__file__).parent / "cases" / "features").glob("*.txt"))
ALL = KERNEL_NAMES | OLD_NAMES


def bits(names):
    found = Feature.NONE
    for name in names:
        found |= ALL[name]
    return found


# Names


def test_every_feature_has_one_name():
    assert len(KERNEL_NAMES) == 60
    assert set(ALL.values()) == set(Feature) - {Feature.NONE}
    assert len(ALL) == len(set(ALL.values()))


def test_what_compiled_code_takes_as_a_number_stays_low():
    for name in ("SG", "IP_CSUM", "IPV6_CSUM", "HW_CSUM", "TSO", "TSO6", "TSO_ECN", "TSO_ACCECN", "TSO_MANGLEID", "GSO_UDP_L4"):
        assert 0 < int(Feature[name]) < 1 << 31
    for name in ("GSO_UDP", "GSO_PARTIAL", "GSO", "RXCSUM", "RXHASH", "GRO", "GRO_HW", "GRO_UDP_FWD", "LRO", "RXFCS"):
        assert 0 < int(Feature[name]) < 1 << 31
    assert int(max(Feature)) < 1 << 63


@pytest.mark.parametrize(
    ("names", "feature"),
    [
        (["rx", "rx-checksumming", "rx-checksum"], Feature.RXCSUM),
        (
            ["tx", "tx-checksumming"],
            Feature.IP_CSUM | Feature.IPV6_CSUM | Feature.HW_CSUM | Feature.FCOE_CRC | Feature.SCTP_CRC,
        ),
        (["sg", "scatter-gather"], Feature.SG | Feature.FRAGLIST),
        (
            ["tso", "tcp-segmentation-offload"],
            Feature.TSO | Feature.TSO6 | Feature.TSO_ECN | Feature.TSO_ACCECN | Feature.TSO_MANGLEID,
        ),
        (["ufo", "udp-fragmentation-offload", "tx-udp-fragmentation"], Feature.GSO_UDP),
        (["gso", "generic-segmentation-offload", "tx-generic-segmentation"], Feature.GSO),
        (["gro", "generic-receive-offload", "rx-gro"], Feature.GRO),
        (["lro", "large-receive-offload", "rx-lro"], Feature.LRO),
        (["rxvlan", "rx-vlan-offload", "rx-vlan-hw-parse"], Feature.HW_VLAN_CTAG_RX),
        (["txvlan", "tx-vlan-offload", "tx-vlan-hw-insert"], Feature.HW_VLAN_CTAG_TX),
        (["ntuple", "ntuple-filters", "rx-ntuple-filter"], Feature.NTUPLE),
        (["rxhash", "receive-hashing", "rx-hashing"], Feature.RXHASH),
        (["uso", "tx-udp-segmentation"], Feature.GSO_UDP_L4),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_short_long_and_kernel_names(names, feature):
    for name in names:
        assert feature_named(name) == feature


def test_an_unknown_name_is_a_key_error():
    with pytest.raises(KeyError):
        feature_named("nosuch")


# Dependencies


@given(st.sets(st.sampled_from(list(ALL))), st.sets(st.sampled_from(["tx-gre-segmentation", "tx-tcp-mangleid-segmentation"])))
def test_the_rules_say_what_the_conditions_say(on, partial):
    left = fix_features(bits(on), bits(partial))
    assert left == bits(fixed(on, partial))
    assert fix_features(left, bits(partial)) == left


@pytest.mark.parametrize(
    ("on", "falls", "words"),
    [
        (
            "tx-checksum-ip-generic tx-checksum-ipv4 tx-checksum-ipv6",
            "tx-checksum-ipv4 tx-checksum-ipv6",
            "tx-checksum-ip-generic",
        ),
        ("tx-checksum-ipv4 tx-tcp-segmentation", "tx-tcp-segmentation", "needs tx-scatter-gather"),
        (
            "tx-scatter-gather tx-checksum-ipv6 tx-tcp-segmentation",
            "tx-tcp-segmentation",
            "tx-checksum-ip-generic or tx-checksum-ipv4",
        ),
        ("tx-scatter-gather tx-checksum-ipv4 tx-tcp6-segmentation", "tx-tcp6-segmentation", "or tx-checksum-ipv6"),
        ("tx-scatter-gather tx-tcp-mangleid-segmentation", "tx-tcp-mangleid-segmentation", "needs tx-tcp-segmentation"),
        ("tx-scatter-gather tx-tcp-ecn-segmentation", "tx-tcp-ecn-segmentation", "needs tx-tcp-segmentation or"),
        ("tx-generic-segmentation", "tx-generic-segmentation", "needs tx-scatter-gather"),
        ("tx-checksum-ipv4 tx-udp-segmentation", "tx-udp-segmentation", "tx-checksum-ipv4 with tx-checksum-ipv6"),
        ("tx-checksum-ipv6 tls-hw-tx-offload", "tls-hw-tx-offload", "needs tx-checksum-ip-generic or"),
        ("tls-hw-rx-offload", "tls-hw-rx-offload", "needs rx-checksum"),
        ("rx-gro-hw", "rx-gro-hw", "needs rx-checksum"),
        ("rx-checksum rx-gro-hw rx-lro", "rx-lro", "cannot be on with rx-gro-hw"),
        ("rx-checksum rx-gro-hw rx-lro rx-fcs", "rx-gro-hw rx-lro", "cannot be on with rx-fcs"),
        ("tx-scatter-gather tx-udp-fragmentation", "tx-udp-fragmentation", "needs tx-checksum-ip-generic or"),
        ("tx-udp-segmentation tx-checksum-ipv4 tx-checksum-ipv6", "", ""),
        ("tls-hw-tx-offload tx-checksum-ip-generic", "", ""),
        ("tx-tcp-accecn-segmentation rx-lro tx-gre-segmentation", "", ""),
    ],
)
def test_what_falls_and_why(on, falls, words):
    wanted = bits(on.split())
    assert names_of(wanted & ~fix_features(wanted)) == sorted(falls.split(), key=list(ALL).index)
    for name in falls.split():
        rule = broken_rule(ALL[name], wanted)
        assert rule is not None
        assert words in rule.explain()


def test_every_rule_has_a_reason():
    for rule in RULES:
        assert rule.drops
        assert rule.why
        assert bool(rule.needs) != bool(rule.beside)


def test_what_returns_when_its_need_comes_back():
    off = request(PORT_FEATURES, {"sg": False})
    assert not off.active & (Feature.SG | Feature.TSO | Feature.GSO)
    assert off.wanted & Feature.TSO
    assert request(off, {"sg": True}) == PORT_FEATURES
    # What was switched off meanwhile stays off.
    assert request(request(off, {"tx-tcp6-segmentation": False}), {"sg": True}).active == PORT_FEATURES.active & ~Feature.TSO6


def test_fixed_features_stay():
    state = FeatureState(hw=Feature.SG, wanted=Feature.SG, active=Feature.SG | Feature.RXCSUM)
    assert request(state, {"rx": False, "lro": True}) == state
    assert state.fixed & Feature.RXCSUM
    assert not state.fixed & Feature.SG


def test_on_wins_where_two_names_mean_one_feature():
    state = FeatureState(hw=Feature.GRO, wanted=Feature.NONE, active=Feature.NONE)
    assert request(state, {"gro": True, "rx-gro": False}).active == Feature.GRO
    assert request(state, {"rx-gro": False, "gro": True}).active == Feature.GRO


def test_what_is_never_changed_refuses_the_whole_request():
    state = PORT_FEATURES._replace(nochange=Feature.VLAN_CHALLENGED)
    with pytest.raises(Refused, match="vlan-challenged: no program may change it; nothing was changed"):
        request(state, {"gro": False, "vlan-challenged": True})


def test_a_device_that_cuts_tunnels_by_gso_partial():
    partial = Feature.GSO_GRE | Feature.GSO_UDP_TUNNEL
    some = partial | Feature.GSO_PARTIAL | Feature.SG
    state = FeatureState(hw=some, wanted=some, active=some, partial=partial)
    assert request(state, {"tx-gso-partial": False}).active == Feature.SG
    assert request(request(state, {"tx-gso-partial": False}), {"tx-gso-partial": True}) == state


def test_lro_goes_by_force_where_frames_are_forwarded():
    lro = request(PORT_FEATURES, {"lro": True})
    assert lro.active & Feature.LRO
    assert disable_lro(lro) == PORT_FEATURES
    assert disable_lro(PORT_FEATURES) == PORT_FEATURES


def test_lro_gives_way_to_gro_in_the_card_and_comes_back():
    some = Feature.RXCSUM | Feature.GRO_HW | Feature.LRO
    state = request(FeatureState(some, Feature.NONE, Feature.NONE), {"rx": True, "lro": True})
    both = request(state, {"rx-gro-hw": True})
    assert both.active == Feature.RXCSUM | Feature.GRO_HW
    assert request(both, {"rx": False}).active == Feature.LRO
    assert request(both, {"rx-gro-hw": False}).active == Feature.RXCSUM | Feature.LRO


@pytest.mark.parametrize(
    ("name", "near"),
    [("tso6", "tso"), ("TSO", "tso"), ("tx-udp-segmentatoin", "tx-udp-segmentation"), ("rx-gro-hww", "rx-gro-hw")],
)
def test_an_unknown_name_brings_the_nearest(name, near):
    with pytest.raises(BadInput) as error:
        request(PORT_FEATURES, {name: True})
    assert str(error.value).startswith(f"{name}: no such feature; nearest: ")
    assert near in str(error.value).split(": ")[2].split(", ")


# Text, beside what real ethtool printed

_FIXED = (
    "tx-checksum-ipv4 tx-checksum-ipv6 tx-checksum-fcoe-crc rx-lro rx-ntuple-filter rx-hashing rx-vlan-filter vlan-challenged "
    "tx-gso-robust tx-fcoe-segmentation tx-gso-partial tx-tunnel-remcsum-segmentation tx-esp-segmentation loopback rx-fcs rx-all "
    "rx-vlan-stag-filter l2-fwd-offload hw-tc-offload esp-hw-offload esp-tx-csum-hw-offload rx-udp_tunnel-port-offload "
    "tls-hw-tx-offload tls-hw-rx-offload rx-gro-hw tls-hw-record macsec-hw-offload hsr-tag-ins-offload hsr-tag-rm-offload "
    "hsr-fwd-offload hsr-dup-offload"
)
_VETH = bits(KERNEL_NAMES) & ~bits(_FIXED.split())
_ON = _VETH & ~(Feature.NOCACHE_COPY | Feature.GRO_FRAGLIST | Feature.GRO_UDP_FWD)
VETH = FeatureState(hw=_VETH, wanted=_ON, active=_ON, nochange=Feature.VLAN_CHALLENGED)
"""A veth with GRO switched on."""


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_transcript(path):
    """The switches of a transcript on our state of a veth give its text to the byte."""
    change, _, after = path.read_text().partition("$ ethtool -k e1\n")
    command, _, printed = change.partition("\n")
    # In one of them GRO had been switched off before.
    state = request(VETH, {"gro": path.stem != "tx-off"})
    before = of_card(state)
    requested = requested_bits(before, read_switches(command.split()[4:]))
    device = of_card(request(state, requested))
    assert command.startswith("$ ethtool -K e1 ")
    assert changes_text(device, change_between(before, device, requested)) == printed
    assert features_text("e1", device) == after


def test_there_are_transcripts():
    assert len(CASES) == 5


def test_names_of_a_newer_kernel():
    names = ("tx-checksum-quic", "rx-gro", "", "rx-teleport", "tx-checksum-ipv4")
    device = DeviceFeatures(names, frozenset(names[1:4]), frozenset(), frozenset({"tx-checksum-quic", "rx-gro"}), frozenset())
    assert features_text("new0", device) == (
        "Features for new0:\ntx-checksumming: on\n\ttx-checksum-quic: on [fixed]\n\ttx-checksum-ipv4: off [fixed]\n"
        "generic-receive-offload: on [requested off]\nrx-teleport: off\n"
    )
    (parsed,) = json.loads(features_json("new0", device))
    assert parsed["tx-checksumming"] == {"active": True, "fixed": None, "requested": None}
    assert parsed["rx-teleport"] == {"active": False, "fixed": False, "requested": False}
    requested = requested_bits(device, [("tx", False), ("rx-teleport", True)])
    assert requested == {"tx-checksum-quic": False, "tx-checksum-ipv4": False, "rx-teleport": True}
    after = device._replace(wanted=frozenset({"rx-teleport"}))
    change = change_between(device, after, requested)
    assert failures(after, [("tx", False), ("rx-teleport", True)], change) == {
        "tx-checksum-quic": "[fixed] on, this device cannot change it",
        "rx-teleport": "the device's driver keeps it off",
    }
    with pytest.raises(BadInput, match="rx-teleprot: no such feature; nearest: rx-teleport"):
        requested_bits(device, [("rx-teleprot", True)])


def test_an_empty_name_is_no_feature():
    with pytest.raises(BadInput, match=": no such feature; ethtool -k lists them"):
        requested_bits(of_card(PORT_FEATURES), [("", True)])


def test_a_request_of_nothing_changes_nothing():
    device = of_card(PORT_FEATURES)
    change = change_between(device, device, requested_bits(device, [("ufo", False)]))
    assert nothing_changed(change)
    assert changes_text(device, change) == ""


# Our own cards


@pytest.fixture
def cards(monkeypatch):
    """Settings of cards by path, in place of their files."""
    kept = {"dir/a.nic": NicSettings()}
    store = ModuleType("pktpath.nic.store")
    store.load_nic = kept.__getitem__
    store.save_nic = kept.__setitem__
    monkeypatch.setitem(sys.modules, "pktpath.nic.store", store)
    return kept


def test_what_is_a_card():
    assert is_card("a.nic")
    assert is_card("./eth0")
    assert not is_card("eth0")
    assert not is_card("nic")


def test_show_a_card(cards, capsys):
    assert show_features("dir/a.nic", as_json=False) == 0
    text = capsys.readouterr().out
    assert text.startswith("Features for dir/a.nic:\nrx-checksumming: on\ntx-checksumming: on\n\ttx-checksum-ipv4: off [fixed]\n")
    assert "\nlarge-receive-offload: off\n" in text
    assert len(text.splitlines()) == 64
    assert show_features("dir/a.nic", as_json=True) == 0
    (parsed,) = json.loads(capsys.readouterr().out)
    assert parsed["ifname"] == "dir/a.nic"
    assert parsed["large-receive-offload"] == {"active": False, "fixed": False, "requested": False}


def test_change_a_card(cards, capsys):
    assert change_features("dir/a.nic", ["sg", "off", "lro", "on"], as_json=False) == 0
    out, err = capsys.readouterr()
    assert out == (
        "Actual changes:\ntx-scatter-gather: off\ntx-scatter-gather-fraglist: off\ntx-generic-segmentation: off [not requested]\n"
        "rx-lro: on\ntx-tcp-segmentation: off [not requested]\ntx-tcp-ecn-segmentation: off [not requested]\n"
        "tx-tcp-mangleid-segmentation: off [not requested]\ntx-tcp6-segmentation: off [not requested]\n"
    )
    assert err == ""
    assert cards["dir/a.nic"] == replace(NicSettings(), features=request(PORT_FEATURES, {"sg": False, "lro": True}))
    assert change_features("dir/a.nic", ["gso", "on", "ntuple", "on"], as_json=False) == 2
    out, err = capsys.readouterr()
    assert out == "Actual changes:\ntx-generic-segmentation: off [requested on]\nrx-ntuple-filter: off [requested on]\n"
    assert err.splitlines() == [
        NOTHING_CHANGED,
        "tx-generic-segmentation: needs tx-scatter-gather, as a segment is a header of its own beside a piece of payload",
        "rx-ntuple-filter: [fixed] off, this device cannot change it",
    ]
    assert change_features("dir/a.nic", ["sg", "on", "lro", "off"], as_json=False) == 0
    assert cards["dir/a.nic"] == NicSettings()


def test_what_changes_nothing_is_not_written(cards, monkeypatch):
    store = sys.modules["pktpath.nic.store"]
    monkeypatch.setattr(store, "save_nic", None)
    assert change_features("dir/a.nic", ["gro", "on"], as_json=False) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "dir/a.nic: no feature to switch; name some, each with on or off"),
        (["gro"], "gro: on or off must follow, not nothing"),
        (["gro", "maybe"], "gro: on or off must follow, not 'maybe'"),
        (["gro", "off", "tso"], "tso: on or off must follow, not nothing"),
        (["groo", "off"], "groo: no such feature; nearest: gro"),
        (["gro", "off", "x" * 50, "on"], "no such feature; ethtool -k lists them"),
    ],
)
def test_words_that_mean_nothing(words, message, cards):
    with pytest.raises(BadInput) as error:
        change_features("dir/a.nic", words, as_json=False)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert cards == {"dir/a.nic": NicSettings()}


def test_nothing_heavy_is_imported():
    code = (
        "import sys, pktpath.cli.ethtool_features, pktpath.host.features; "
        "sys.exit(any(name in sys.modules for name in ('numpy', 'numba', 'pyroute2', 'rich')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
