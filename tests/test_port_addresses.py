"""Ethernet addresses of ports: what the kernel says of their interfaces, wherever these are."""

import pytest

from pktpath.control.config import port_from_table
from pktpath.control.port_addresses import PortAddresses
from pktpath.errors import BadInput
from support.switch_netns import ip, named_namespace


def port(name, **table):
    return port_from_table("br0", name, table)


@pytest.mark.oracle
def test_the_kernel_s_own_words():
    with named_namespace("link add v0 address 02:00:00:00:00:0a type veth peer name v1") as space:
        addresses = PortAddresses()
        addresses.note(1, port("p1", type="packet", interface="v0", netns=space))
        assert addresses(1) == "02:00:00:00:00:0a"
        ip(space, "link set v0 address 02:00:00:00:00:0b")
        assert addresses(1) == "02:00:00:00:00:0b"
        # Gone, or moved away: what it had.
        ip(space, "link del v0")
        assert addresses(1) == "02:00:00:00:00:0b"


def test_ports_without_an_interface_have_none():
    asked = []

    def get(*words):
        asked.append(words)
        if words[0] == "none":
            message = "no such interface"
            raise BadInput(message)
        return "02:00:00:00:00:01"

    addresses = PortAddresses(get)
    addresses.note(1, port("none", type="tap"))
    addresses.note(2, port("m1", type="memory"))
    addresses.note(3, port("c1", type="pcap"))
    assert [addresses(number) for number in (1, 2, 3, 4)] == [""] * 4
    # Another port of the same number has nothing of the first one.
    addresses.note(1, port("vm1", type="tap", interface="tapx", netns="there"))
    assert addresses(1) == "02:00:00:00:00:01"
    addresses.note(1, port("m1", type="memory"))
    assert addresses(1) == ""
    assert asked[-1] == ("tapx", "there", "mac")
