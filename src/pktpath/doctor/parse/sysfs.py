"""Single settings that `cat` printed: of a device below /sys/class/net, of an interrupt, of the kernel's start.

What `grep . FILE…` prints, with the path before each value, is read in `file_values`. Source:
Documentation/ABI/testing/sysfs-class-net, sysfs-class-net-queues; Documentation/core-api/irq/irq-affinity.rst.
"""

from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import Setting
from pktpath.doctor.parse.section import Section, parser

_NET = r"/?sys/class/net/(?P<net>[^\s:|;*?]+)"
_IRQ = r"/?proc/irq/(?P<irq>\d{1,9})/smp_affinity_list"


@parser("sysfs", command=rf"cat\s+(?:{_NET}|{_IRQ})\s*$")
def sysfs(section: Section) -> Iterator[Fact]:
    """The first line that says something."""
    irq, net = section.fields.get("irq"), section.fields.get("net")
    for line in section.lines:
        if value := line.text.strip()[:4000]:
            yield Setting(at=section.place(line), where="irq" if irq else "sysfs", name=irq or net or "", value=value)
            return


@parser("/proc/cmdline", command=r"cat\s+/?proc/cmdline", shape=r"BOOT_IMAGE=\S+ ", file=r"proc[/_]cmdline$")
def cmdline(section: Section) -> Iterator[Fact]:
    """A setting a word: `isolcpus=2-7`; words without = have an empty value."""
    for line in section.lines:
        for word in line.text.split()[:500]:
            name, _, value = word.partition("=")
            yield Setting(at=section.place(line), where="cmdline", name=name, value=value)
        return
