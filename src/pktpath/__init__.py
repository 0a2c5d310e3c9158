"""pktpath: the Linux and Open vSwitch packet path in Python."""
