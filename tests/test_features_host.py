"""Features of real devices: what we read, switch and print, beside the installed ethtool."""

import json
import random
import sys

import pytest

from pktpath.cli.ethtool_features import change_features, show_features
from pktpath.control.features_text import NOTHING_CHANGED
from pktpath.device_features import requested_bits
from pktpath.errors import BadInput, Refused
from pktpath.features import GROUPS, KERNEL_NAMES, Feature, FeatureState, request
from pktpath.host import genetlink
from pktpath.host.features import read_by_ioctl, read_features, write_by_ioctl, write_features
from support.feature_devices import KINDS, Namespace

pytestmark = pytest.mark.oracle
CALLS = 14
NAMES = [name for name in KERNEL_NAMES if name != "vlan-challenged"]
WORDS = [group.short for group in GROUPS] * 3 + [group.long for group in GROUPS] + NAMES


@pytest.fixture(scope="module")
def theirs():
    with Namespace() as namespace:
        yield namespace


@pytest.fixture(scope="module")
def ours():
    with Namespace() as namespace:
        yield namespace


@pytest.fixture(autouse=True)
def kind_is_there(request, theirs):
    dev = getattr(request.node, "callspec", None) and request.node.callspec.params.get("dev")
    if dev in theirs.missing:
        pytest.skip(f"no {dev} here: {theirs.missing[dev]}")


def some_words(rng):
    return [word for _ in range(rng.choice((1, 1, 2, 3, 5))) for word in (rng.choice(WORDS), rng.choice(("on", "off")))]


def compare_state(dev, theirs, ours):
    text = theirs.run("ethtool", "-k", dev).stdout
    assert text.startswith(f"Features for {dev}:\n")
    assert ours.call(show_features, dev, as_json=False) == (0, text, "")
    # What real ethtool says of our device is the same too: it is in the state that we print.
    assert ours.run("ethtool", "-k", dev).stdout == text
    assert ours.call(show_features, dev, as_json=True) == (0, theirs.run("ethtool", "--json", "-k", dev).stdout, "")


def compare_change(dev, words, theirs, ours):
    real = theirs.run("ethtool", "-K", dev, *words)
    status, out, err = ours.call(change_features, dev, words, as_json=False)
    assert out == real.stdout, words
    assert (NOTHING_CHANGED in err.splitlines()) == (NOTHING_CHANGED in real.stderr.splitlines()), words
    # Where ethtool gives up, so do we; and we say so of less than that.
    assert real.returncode in {0, 1}
    assert status == (2 if len(err.splitlines()) > (NOTHING_CHANGED in err) else 0)
    assert status == 2 or real.returncode == 0
    compare_state(dev, theirs, ours)
    return status, out, err


@pytest.mark.parametrize("dev", KINDS)
def test_the_same_switches_by_ethtool_and_by_us(dev, theirs, ours):
    rng = random.Random(f"features of {dev}")
    compare_state(dev, theirs, ours)
    printed = 0
    for _ in range(CALLS):
        _, out, _ = compare_change(dev, some_words(rng), theirs, ours)
        printed += bool(out)
    assert printed >= 3


@pytest.mark.parametrize(
    "lines",
    [
        ["sg off", "tso on", "sg on", "tcp-segmentation-offload off", "tso on"],
        ["tso off sg off", "tx-tcp-segmentation on", "sg on", "tso on"],
        ["tx off", "tx on", "lro on gro on", "gro off lro on"],
        ["tso on tso off", "tso off tso on", "tx-tcp-segmentation on tso off", "tso on"],
        ["ufo on", "ufo off", "ufo on tso off", "tso on"],
        ["rx-checksumming off rx on", "rx-vlan-offload off txvlan off", "rxvlan on tx-vlan-hw-insert on"],
        ["lro on", "ntuple on", "hsr-dup-offload on", "rx-gro-list on", "rx-gro-list off"],
    ],
    ids=lambda lines: lines[0],
)
@pytest.mark.parametrize("dev", ["veth", "tap_open"])
def test_known_sequences(dev, lines, theirs, ours):
    for line in lines:
        compare_change(dev, line.split(), theirs, ours)


def state_of(device):
    def features(names):
        bits = Feature.NONE
        for name in names:
            bits |= KERNEL_NAMES[name]
        return bits

    return FeatureState(*(features(names) for names in (device.hw, device.wanted, device.active, device.nochange)))


@pytest.mark.parametrize("dev", ["lo", "veth", "bridge", "vxlan", "ifb"])
def test_the_kernel_does_what_the_rules_say(dev, theirs):
    """Devices whose drivers have no rules of their own, so that only the core's are seen."""
    rng = random.Random(f"rules for {dev}")
    state = state_of(theirs.do(read_features, dev))
    fallen = 0
    for _ in range(40):
        words = some_words(rng)
        requested = requested_bits(theirs.do(read_features, dev), zip(words[::2], (w == "on" for w in words[1::2]), strict=True))
        theirs.run("ethtool", "-K", dev, *words)
        state = request(state, requested)
        assert state == state_of(theirs.do(read_features, dev)), words
        fallen += bool(state.wanted & ~state.active)
    assert fallen or dev == "lo"


def test_the_kernel_has_the_names_that_we_have(theirs):
    names = [name for name in theirs.do(read_features, "lo").names if name]
    if set(names) - set(KERNEL_NAMES):
        pytest.skip(f"this kernel is newer than 6.18: {sorted(set(names) - set(KERNEL_NAMES))}")
    assert names == list(KERNEL_NAMES)


@pytest.mark.parametrize("dev", KINDS)
def test_ioctl_says_what_netlink_says(dev, ours):
    assert ours.do(read_by_ioctl, dev) == ours.do(read_features, dev)


def test_ioctl_changes_what_netlink_changes(theirs, ours):
    state = theirs.do(read_features, "veth")
    ours.do(write_features, "veth", {name: name in state.wanted for name in state.hw})
    rng = random.Random(7)
    for _ in range(20):
        requested = {rng.choice(NAMES): rng.random() < 0.5 for _ in range(3)}
        change = theirs.do(write_features, "veth", requested)
        assert ours.do(write_by_ioctl, "veth", requested) == change
        assert ours.do(read_by_ioctl, "veth") == theirs.do(read_features, "veth")


def test_without_the_netlink_family_the_ioctl_answers(ours, monkeypatch):
    def absent(*_):
        raise genetlink.NoNetlink

    expected = ours.do(read_features, "veth")
    monkeypatch.setattr("pktpath.host.features.ask", absent)
    assert ours.do(read_features, "veth") == expected
    assert ours.do(write_features, "veth", {"rx-lro": True}).missed == {"rx-lro"}


def test_a_family_that_is_not_there(ours):
    from pktpath.host.features import _GET, _request

    with pytest.raises(genetlink.NoNetlink):
        ours.do(genetlink.ask, "pktpath-none", _request(_GET, "lo"), "lo", "reading")


# Refusals


@pytest.mark.parametrize("dev", ["nodev", "", "x" * 15, "x" * 16, "x" * 200, "a b", "\udc80", "é" * 8])
@pytest.mark.parametrize("function", [read_features, read_by_ioctl])
def test_no_such_device(function, dev, ours):
    with pytest.raises(BadInput, match="no such device in this network namespace; there are: lo, ") as error:
        ours.do(function, dev)
    assert "\n" not in str(error.value)


def test_no_such_device_to_change(ours):
    for function in (write_features, write_by_ioctl):
        with pytest.raises(BadInput, match="nodev: no such device"):
            ours.do(function, "nodev", {"rx-gro": True})


@pytest.mark.parametrize("function", ["write_features", "write_by_ioctl"])
def test_no_permission_names_the_capability(function, ours):
    code = f"from pktpath.host.features import {function}; {function}('veth', {{'rx-gro': True}})"
    done = ours.run("setpriv", "--bounding-set=-net_admin", sys.executable, "-c", code)
    assert done.stderr.splitlines()[-1] == ("pktpath.errors.Refused: veth: changing features needs CAP_NET_ADMIN (run as root)")


def test_reading_needs_no_permission(ours):
    code = "from pktpath.cli.ethtool_features import show_features; show_features('veth', as_json=False)"
    done = ours.run("setpriv", "--bounding-set=-net_admin", sys.executable, "-c", code)
    assert done.stdout == ours.run("ethtool", "-k", "veth").stdout != ""


@pytest.mark.parametrize("words", ["vlan-challenged on", "gro off vlan-challenged off", "vlan-challenged off tso on"])
def test_what_is_never_changed_changes_nothing(words, theirs, ours):
    real = theirs.run("ethtool", "-K", "veth", *words.split())
    assert "attempt to change non-ethtool features" in real.stderr
    before = ours.run("ethtool", "-k", "veth").stdout
    with pytest.raises(Refused, match=r"veth: no program may change vlan-challenged \[fixed\]; nothing was changed"):
        ours.call(change_features, "veth", words.split(), as_json=False)
    with pytest.raises(Refused):
        ours.do(write_by_ioctl, "veth", {"vlan-challenged": True, "rx-gro": True})
    with pytest.raises(Refused):
        ours.do(write_features, "veth", {"vlan-challenged": True, "rx-gro": True})
    assert ours.run("ethtool", "-k", "veth").stdout == before


@pytest.mark.parametrize("words", ["nosuch on", "TSO off", "gro off tx-udp-fragmentation on", "tx-checksum-* off"])
def test_names_that_ethtool_refuses_too(words, theirs, ours):
    real = theirs.run("ethtool", "-K", "veth", *words.split())
    assert "bit name not found" in real.stderr
    before = ours.run("ethtool", "-k", "veth").stdout
    with pytest.raises(BadInput, match="no such feature"):
        ours.call(change_features, "veth", words.split(), as_json=False)
    assert ours.run("ethtool", "-k", "veth").stdout == before


# Why


def reset(namespace, dev="veth"):
    namespace.run("ethtool", "-K", dev, "sg", "on", "tx", "on", "tso", "on", "gso", "on", "gro", "off")


def test_every_failure_has_a_line_and_a_reason(ours):
    reset(ours)
    assert ours.call(change_features, "veth", ["sg", "off"], as_json=False)[::2] == (0, "")
    status, _, err = ours.call(change_features, "veth", ["tx-tcp-segmentation", "on", "rx-lro", "on"], as_json=False)
    assert status == 2
    assert err.splitlines() == [
        NOTHING_CHANGED,
        "tx-tcp-segmentation: needs tx-scatter-gather, as a segment is a header of its own beside a piece of payload",
        "rx-lro: [fixed] off, this device cannot change it",
    ]
    reset(ours)


def test_a_driver_that_says_no(ours):
    words = ["tx-checksum-ip-generic", "on", "tx-tcp6-segmentation", "on"]
    status, _, err = ours.call(change_features, "tap", words, as_json=False)
    first, second, third = err.splitlines()
    assert status == 2
    assert first == NOTHING_CHANGED
    assert second == "tx-checksum-ip-generic: the device's driver keeps it off"
    assert third.startswith("tx-tcp6-segmentation: needs tx-checksum-ip-generic or tx-checksum-ipv6, as who cuts must ")


def test_a_group_is_on_without_the_members_that_the_device_lacks(ours):
    reset(ours)
    ours.run("ethtool", "-K", "veth", "tx", "off")
    status, out, err = ours.call(change_features, "veth", ["tx", "on"], as_json=False)
    assert (status, err) == (0, "")
    assert "tx-checksum-ipv4: off [requested on]" in out


def test_a_group_that_cannot_go_off(ours):
    status, _, err = ours.call(change_features, "lo", ["sg", "off"], as_json=False)
    assert status == 2
    assert err.splitlines() == [
        NOTHING_CHANGED,
        "tx-scatter-gather: [fixed] on, this device cannot change it",
        "tx-scatter-gather-fraglist: [fixed] on, this device cannot change it",
    ]


def test_a_change_as_json(ours):
    reset(ours)
    status, out, _ = ours.call(change_features, "veth", ["sg", "off", "lro", "on", "ufo", "on"], as_json=True)
    (change,) = json.loads(out)
    assert status == 2
    assert change["ifname"] == "veth"
    assert change["changed"]["tx-scatter-gather"] == {"active": False, "requested": False}
    assert change["changed"]["tx-tcp-segmentation"] == {"active": False, "requested": None}
    assert change["missed"]["rx-lro"]["why"] == "[fixed] off, this device cannot change it"
    assert change["absent"] == {"ufo": "this kernel has no tx-udp-fragmentation"}
    reset(ours)
