"""The flow that a real Open vSwitch extracts from a frame, as fields of our key."""

import ipaddress
import re
import shutil
import struct
import subprocess

TYPES = {"ip": 0x800, "tcp": 0x800, "udp": 0x800, "icmp": 0x800, "sctp": 0x800, "igmp": 0x800}
TYPES |= {"ipv6": 0x86DD, "tcp6": 0x86DD, "udp6": 0x86DD, "icmp6": 0x86DD, "sctp6": 0x86DD, "arp": 0x806, "rarp": 0x8035}
TYPES |= {"mpls": 0x8847, "mplsm": 0x8848}
PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1, "sctp": 132, "tcp6": 6, "udp6": 17, "icmp6": 58, "sctp6": 132}
FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns")
FRAGMENTS = {"no": 0, "yes": 1, "first": 1, "later": 3}
RENAMED = {"icmp_type": "tp_src", "icmp_code": "tp_dst", "arp_spa": "nw_src", "arp_tpa": "nw_dst", "arp_op": "nw_proto"}
RENAMED |= {"nd_sll": "arp_sha", "nd_tll": "arp_tha"}


def missing():
    """Say what is missing to ask Open vSwitch, or None."""
    return None if shutil.which("ovs-ofctl") else "ovs-ofctl is missing: apt-get install openvswitch-switch"


def write_pcap(path, frames):
    """Write frames as a capture file."""
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1))
        for frame in frames:
            out.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)


def parse_pcap(path):
    """Return the fields of each frame of a capture as `ovs-ofctl parse-pcap` prints them."""
    done = subprocess.run(["ovs-ofctl", "parse-pcap", str(path)], capture_output=True, text=True, check=True)
    text = done.stdout.replace("\n", " ")
    # A frame that is not IP ends without a newline in some versions, so flows are found by how they begin.
    return [fields_of(flow) for flow in re.findall(r"\S*?in_port=ANY\S*", text)]


def fields_of(flow):
    """Return a flow's fields by the names of our key, those that are not zero; `tags` counts its tags."""
    found = {"tags": 0}
    for word in flow.split(","):
        name, _, value = word.partition("=")
        if not value:
            found["dl_type"] = TYPES.get(name, 0)
            found["nw_proto"] = PROTOCOLS.get(name, 0)
        elif name == "dl_vlan":
            found["tags"] = 1
            found["vlan_tci"] = found.get("vlan_tci", 0) | 0x1000 | int(value)
        elif name == "dl_vlan_pcp":
            found["vlan_tci"] = found.get("vlan_tci", 0) | int(value) << 13
        elif name == "dl_vlan1":
            found["tags"] = 2
        elif name == "vlan_tci" and int(value, 16):
            found["tags"] = 1
            found["vlan_tci"] = int(value, 16)
        elif name in ("nw_ecn", "nw_tos"):
            found["nw_tos"] = found.get("nw_tos", 0) | int(value)
        elif name == "nw_frag":
            found[name] = FRAGMENTS[value]
        elif name == "tcp_flags":
            found[name] = flags_of(value)
        elif name not in ("in_port", "vlan_tci1", "dl_vlan_pcp1") and not name.startswith(
            ("mpls", "igmp", "nd_reserved", "nd_options")
        ):
            found[RENAMED.get(name, name)] = value_of(value)
    return {name: value for name, value in found.items() if value or name == "tags"}


def flags_of(text):
    """Return tcp_flags; bits without a name stand in brackets, in hexadecimal."""
    if text == "0":
        return 0
    return sum(int(word[1:-1], 16) if word[0] == "[" else 1 << FLAGS.index(word) for word in text.split("|"))


def value_of(text):
    if re.fullmatch(r"(..:){5}..", text):
        return int(text.replace(":", ""), 16)
    if ":" in text or text.count(".") == 3:
        return int(ipaddress.ip_address(text))
    return int(text, 0)
