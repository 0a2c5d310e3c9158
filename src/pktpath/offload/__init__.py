"""Offloads: a batch in, a batch out.

Enters: parsed descriptors. Leaves: descriptors whose frames are merged (gro), cut (gso), put
together (reassembly) or verified (checksum). An offload does no I/O and reads no global switch:
what it may do comes as a value (`KernelRules`, `Feature`). A frame that it does not understand
passes unchanged, and every refusal has a `Reason`.
"""
