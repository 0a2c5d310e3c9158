"""The switch: which way a frame goes, by an Open-vSwitch-style datapath.

Enters: a parsed batch. Leaves: a list of frames for each port, and upcalls. A frame's key is looked up in the
exact-match cache, then among the megaflows; what neither knows goes up to the slow path (`xlate`), which
answers with actions and with the bits of the key that it looked at. Knows ports by number only.
"""
