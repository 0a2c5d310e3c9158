"""Settings in files: what of a device stands below /sys/class/net, which CPUs may serve an interrupt, how the kernel was started.

As `cat FILE` and `grep . FILES` print them. Source: Documentation/ABI/testing/sysfs-class-net, sysfs-class-net-queues;
Documentation/core-api/irq/irq-affinity.rst.
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import Setting
from pktpath.doctor.parse.section import Section, parser

_NET = r"/?sys/class/net/(?P<net>[^\s:|;]+)"
_IRQ = r"/?proc/irq/(?P<irq>\d{1,9})/smp_affinity_list"
_LINE = re.compile(rf"\s*(?:{_NET}|{_IRQ}):(?P<value>.{{0,4000}})$")


@parser("sysfs", command=rf"(?:cat|e?grep|head)\b[^|;]*?(?<!\w)(?:{_NET}|{_IRQ})", shape=r"/(?:sys/class/net/[^\s:]+|proc/irq/\d+/smp_affinity_list):")
def sysfs(section: Section) -> Iterator[Fact]:
    """A line a file, or one value of the file in the command."""
    fields = section.fields
    for line in section.lines:
        if found := _LINE.match(line.text):
            yield _setting(section, line, found.groupdict(), found["value"])
        elif line.text.strip() and (fields.get("net") or fields.get("irq")) and "*" not in section.command:
            yield _setting(section, line, fields, line.text)
            fields = {}


@parser(
    "/proc/cmdline",
    command=r"cat\s+/?proc/cmdline",
    shape=r"BOOT_IMAGE=\S+ ",
    file=r"proc[/_]cmdline$",
)
def cmdline(section: Section) -> Iterator[Fact]:
    """A setting a word: `isolcpus=2-7`; words without = have an empty value."""
    for line in section.lines:
        for word in line.text.split()[:500]:
            name, _, value = word.partition("=")
            yield Setting(at=section.place(line), where="cmdline", name=name, value=value)
        return


def _setting(section: Section, line, fields: dict[str, str | None], value: str) -> Setting:  # type: ignore[no-untyped-def]
    where, name = ("irq", fields.get("irq")) if fields.get("irq") else ("sysfs", fields.get("net"))
    return Setting(at=section.place(line), where=where, name=name or "", value=value.strip())
