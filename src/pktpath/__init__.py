"""pktpath: the Linux and Open vSwitch packet path in Python."""

__version__ = "0.1.0"
