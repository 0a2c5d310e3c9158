"""What depends on what, written out as conditions over names: the twin of the rules in `pktpath.features`."""


def fixed(on: set[str], partial: set[str] = frozenset()) -> set[str]:
    """Return what stays on of a set of kernel names."""
    on = set(on)
    generic, four, six = "tx-checksum-ip-generic", "tx-checksum-ipv4", "tx-checksum-ipv6"
    tso, tso6, ecn, mangle = (f"tx-tcp{kind}-segmentation" for kind in ("", "6", "-ecn", "-mangleid"))
    if generic in on:
        on -= {four, six}
    both = generic in on or {four, six} <= on
    if "tx-scatter-gather" not in on:
        on -= {tso, tso6, ecn, mangle}
    if tso in on and generic not in on and four not in on:
        on -= {tso, ecn}
    if generic not in on and six not in on:
        on -= {tso6}
    if tso not in on:
        on -= {mangle}
    if not on & {tso, tso6, mangle}:
        on -= {ecn}
    if "tx-scatter-gather" not in on:
        on -= {"tx-generic-segmentation", "tx-udp-fragmentation"}
    if not both:
        on -= {"tx-udp-fragmentation"}
    if "tx-gso-partial" not in on:
        on -= partial
    if "rx-checksum" not in on:
        on -= {"rx-gro-hw", "tls-hw-rx-offload"}
    if "rx-fcs" in on:
        on -= {"rx-lro", "rx-gro-hw"}
    if "rx-gro-hw" in on:
        on -= {"rx-lro"}
    if not both:
        on -= {"tls-hw-tx-offload", "tx-udp-segmentation"}
    return on
