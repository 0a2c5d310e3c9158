"""Datapaths and their ports as `dpctl/show`, `dpif/show` and `dpctl/dump-dps` of Open vSwitch 3.1 write them."""

from collections.abc import Mapping

from pktpath.switch.views import DatapathView, PortView

_UNITS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def port_type(port: PortView) -> str:
    """Return what stands in parentheses behind a port: `tap: mtu=1500`; nothing for a kind without a name."""
    options = ", ".join(f"{name}={value}" for name, value in sorted(port.options.items()))
    return f"{port.kind}: {options}" if options else port.kind


def show(view: DatapathView, *, statistics: bool = False, masks: bool = False) -> str:
    """Return the text of `dpctl/show`.

    Args:
        view: the datapath.
        statistics: add what each port counted (`-s`).
        masks: add the line `masks:` that the kernel's datapath has and the userspace datapath of Open vSwitch leaves out.

    """
    rows = [f"{view.name}:", f"  lookups: hit:{view.hit} missed:{view.missed} lost:{view.lost}", f"  flows: {view.flows}"]
    if masks:
        packets = view.hit + view.missed
        share = view.mask_lookups / packets if packets else 0.0
        rows.append(f"  masks: hit:{view.mask_lookups} total:{view.masks} hit/pkt:{share:.2f}")
    for port in sorted(view.ports, key=lambda port: port.number):
        kind = port_type(port)
        rows.append(f"  port {port.number}: {port.name}" + (f" ({kind})" if kind else ""))
        if statistics:
            rows += _statistics(port.counters)
    return "".join(f"{row}\n" for row in rows)


def _statistics(counters: Mapping[str, int]) -> list[str]:
    def told(*words: tuple[str, str]) -> str:
        return " ".join(f"{word}:{counters.get(name, '?')}" for word, name in words)

    received = told(
        ("packets", "rx_packets"),
        ("errors", "rx_errors"),
        ("dropped", "rx_dropped"),
        ("overruns", "rx_over_errors"),
        ("frame", "rx_frame_errors"),
    )
    sent = told(
        ("packets", "tx_packets"),
        ("errors", "tx_errors"),
        ("dropped", "tx_dropped"),
        ("aborted", "tx_aborted_errors"),
        ("carrier", "tx_carrier_errors"),
    )
    sizes = "  ".join(
        f"{way} bytes:{counters.get(name, '?')}{_human(counters.get(name, 0))}"
        for way, name in (("RX", "rx_bytes"), ("TX", "tx_bytes"))
    )
    return [f"    RX {received}", f"    TX {sent}", f"    {told(('collisions', 'collisions'))}", f"    {sizes}"]


def _human(value: int) -> str:
    for size, unit in _UNITS:
        if value >= size:
            return f" ({value / size:.1f} {unit})"
    return ""


def dpif_show(view: DatapathView) -> str:
    """Return the text of `dpif/show`: ports by bridge, with both of their numbers."""
    rows = [f"{view.name}: hit:{view.hit} missed:{view.missed}"]
    for bridge in sorted({port.bridge for port in view.ports if port.bridge}):
        rows.append(f"  {bridge}:")
        for port in sorted((port for port in view.ports if port.bridge == bridge), key=lambda port: port.name):
            kind = port_type(port)
            rows.append(f"    {port.name} {port.openflow}/{port.number}:" + (f" ({kind})" if kind else ""))
    return "".join(f"{row}\n" for row in rows)


def dump_dps(view: DatapathView) -> str:
    """Return the text of `dpctl/dump-dps`."""
    return f"{view.name}\n"


def dpif_dump_dps(view: DatapathView) -> str:
    """Return the text of `dpif/dump-dps`: the datapath's type and each bridge."""
    kind = view.name.partition("@")[0]
    return "".join(f"{kind}@{bridge}\n" for bridge in sorted({port.bridge for port in view.ports if port.bridge}))
