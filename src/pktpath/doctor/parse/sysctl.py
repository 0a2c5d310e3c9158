"""`sysctl`, and one file below /proc/sys that `cat` printed: settings by their dotted names.

Of settings that every device has (`net.ipv4.conf.DEV.…`, some dozens for each), only those of `all` and `default` are kept,
and whether a device forwards. Source: sysctl(8).
"""

import re
from collections.abc import Iterator

from pktpath.doctor.facts.base import Fact
from pktpath.doctor.facts.host import Setting
from pktpath.doctor.parse.section import Section, parser

_LINE = re.compile(r"\s*((?:abi|crypto|debug|dev|fs|kernel|net|user|vm)[./][\w./:@-]{2,200}?) ?= ?(.{0,4000})$")
_DOTS = str.maketrans("/.", "./")
_OF_DEVICE = re.compile(r"net\.ipv[46]\.(?:conf|neigh)\.(?!all\.|default\.).+\.(?!forwarding$)\w+$")


@parser(
    "sysctl",
    command=r"sysctl\b(?P<words>[^|;]*)",
    shape=r"net\.(?:core|ipv4|ipv6|netfilter)\.[\w./-]+ = ",
)
def sysctl(section: Section) -> Iterator[Fact]:
    """A line a setting; a value alone, as -n prints it, where the command says which."""
    words = section.fields.get("words", "").split()
    names = [word.partition("=")[0].replace("/", ".") for word in words if not word.startswith("-")]
    bare = names[0] if len(names) == 1 and any(re.match(r"-[a-z]*n|--values", word) for word in words) else ""
    for line in section.lines:
        if found := _LINE.match(line.text):
            name = found[1].replace("/", ".")
            if not _OF_DEVICE.match(name):
                yield Setting(at=section.place(line), where="sysctl", name=name, value=_value(found[2]))
        elif bare and line.text.strip():
            yield Setting(at=section.place(line), where="sysctl", name=bare, value=_value(line.text))
            bare = ""


@parser(
    "/proc/sys",
    command=r"cat\s+/?proc/sys/(?P<name>[\w./@-]+)\s*$",
    file=r"(?:^|[/_])proc/sys/(?P<name>[\w./@-]+)$",
)
def proc_sys(section: Section) -> Iterator[Fact]:
    """One file, by its path: a dot in a name there, as of a VLAN device, is a slash in the name of the setting."""
    name = section.fields.get("name", "").translate(_DOTS)
    for line in section.lines:
        if line.text.strip():
            yield Setting(at=section.place(line), where="sysctl", name=name, value=_value(line.text))
            return


def _value(text: str) -> str:
    # Three numbers of tcp_rmem stand apart by tabs.
    return " ".join(text[:4000].split())
