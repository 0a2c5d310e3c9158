"""Switches that give the receive path more CPUs."""

from pktpath.doctor.finding import Remedy


def rps(dev: str, cpus: int) -> Remedy:
    """Return the remedy that spreads one queue over all CPUs in software (Documentation/networking/scaling.rst)."""
    mask = _mask(cpus)
    path = f"/sys/class/net/{dev}/queues/rx-0/rps_cpus"
    match = f'ACTION=="add", SUBSYSTEM=="net", NAME=="{dev}", ATTR{{queues/rx-0/rps_cpus}}="{mask}"'
    return Remedy(
        command=f"echo {mask} > {path}",
        effect="Receive packet steering hands each flow to one of these CPUs after the driver's poll.",
        cost="An interrupt between CPUs for each batch; one single flow stays on one CPU; latency rises a little when idle.",
        undo=f"echo 0 > {path}",
        verify="/proc/net/softnet_stat: column 10 (received_rps) rises on the other CPUs, and NET_RX spreads in /proc/softirqs",
        lasting=(("udev", f"/etc/udev/rules.d/90-pktpath-{dev}-rps.rules:\n{match}"),),
    )


def irq_affinity(irq: str, cpu: str, before: str, effect: str) -> Remedy:
    """Return the remedy that sends one interrupt to another CPU (Documentation/core-api/irq/irq-affinity.rst)."""
    path = f"/proc/irq/{irq}/smp_affinity_list"
    return Remedy(
        command=f"echo {cpu} > {path}",
        effect=effect,
        cost="irqbalance, where it runs, may move it again; drivers with managed interrupts refuse.",
        undo=f"echo {before or 'OLD'} > {path}" + ("" if before else f"  # note `cat {path}` before"),
        verify=f"/proc/interrupts: line {irq} now counts under that CPU",
        lasting=(("irqbalance", "systemctl enable --now irqbalance spreads all of them, and again after a restart"),),
    )


def _mask(cpus: int) -> str:
    """Return the hexadecimal mask of the first so many CPUs, in words of 32 bits as the kernel reads them."""
    text = f"{(1 << max(1, cpus)) - 1:x}"
    first = len(text) % 8 or 8
    return ",".join([text[:first], *(text[at : at + 8] for at in range(first, len(text), 8))])
