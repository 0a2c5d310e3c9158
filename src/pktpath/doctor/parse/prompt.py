"""Lines that somebody typed: which prompt they stand behind, and which command it is in the end.

Source: the transcripts and documents of the tests; sosreport names its files after commands.
"""

import re
from typing import NamedTuple

_SHELL = re.compile(
    r"\s{0,8}(?:\(\S+\) ?)?(?:\[[^\]]{1,80}\] ?|[\w.-]+@[\w.-]+[^$#%>]{0,80}|[~/][\w./-]* ?)?"
    r"(?:([$#]) +|(#)(?=(?:ovs-|ethtool |ip |tc |cat /|nstat|netstat |perf |strace )))(\S.*)"
)
_NAMED = re.compile(r"\s{0,8}(?:\(\S+\) ?)?(?:\[[^\]]{1,80}\] ?|[\w.-]+@[\w.-]+)")
_HYPHENS = str.maketrans(
    {"\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{HYPHEN}": "-", "\N{MINUS SIGN}": "-", "\N{NO-BREAK SPACE}": " "}
)
_WRAPPERS = re.compile(
    r"(?:sudo(?:\s+-[ugpCDhRT]\s+\w+|\s+-[A-Za-z]+)*"
    r"|time(?:\s+-p)?|nohup|stdbuf(?:\s+-\S+)+|nice(?:\s+-n\s*\S+)?|taskset(?:\s+-\w+)?\s+\S+|env"
    r"|timeout(?:\s+-\w+\s+[A-Z]\w*|\s+--?[\w=-]+)*\s+[\d.]+[smhd]?"
    r"|watch(?:\s+-\w+(?:\s+[\d.]+)?)*"
    r"|(?:ba)?sh\s+-l?c|\w+=\S*)\s+"
)
_NETNS = re.compile(r"ip\s+(?:netns\s+exec|-n(?:etns)?)\s+(\S+)\s+")
_ENTERED = re.compile(r"nsenter\s+(?:-t\s*|--target[= ])(\d{1,10})\s+(?:-n|--net)\s+")
_OVS = re.compile(r"\s+(?:-t\s*\S+|--target[= ]\S+|--db[= ]\S+|-T\s*\d+|--timeout[= ]\d+|--no-names|--names)(?=\s|$)")
_OWN = (
    ("pktpath appctl", "ovs-appctl"), ("pktpath dpctl", "ovs-dpctl"), ("pktpath ofctl", "ovs-ofctl"),
    ("pktpath ethtool", "ethtool"),
)  # fmt: skip


class Command(NamedTuple):
    """What was typed."""

    text: str
    """Without what only runs it: `ethtool -k e1`."""
    scope: str
    """The network namespace that it ran in, else empty."""
    bare: bool
    """Whether only a # stood before it, as before comments."""
    typed: str = ""
    """With its wrappers: `timeout -s INT 10 strace -c -p 5` tells how long it ran."""


def command_of(line: str) -> Command | None:
    """Return the command behind a prompt; None for a line without a prompt."""
    if "$ " not in line and "# " not in line and line.lstrip()[:1] != "#":
        return None
    found = _SHELL.match(line)
    if not found or len(line) > 4000:
        return None
    text, scope = plain(found[3])
    bare = found[2] is not None or (found[1] == "#" and not _NAMED.match(line))
    return Command(text, scope, bare, found[3]) if text else None


def plain(typed: str) -> tuple[str, str]:
    """Return a command without its wrappers, its path and Open vSwitch's targets; and its network namespace."""
    text, scope = typed.translate(_HYPHENS).strip(), ""
    while True:
        if wrapper := _WRAPPERS.match(text):
            text = text[wrapper.end() :].lstrip("'\"")
        elif inside := _NETNS.match(text):
            scope = inside[1]
            rest = text[inside.end() :]
            text = rest if "exec" in inside[0] else f"ip {rest}"
        elif entered := _ENTERED.match(text):
            scope, text = f"pid-{entered[1]}", text[entered.end() :]
        else:
            break
    if text.startswith("/"):
        path, _, rest = text.partition(" ")
        text = f"{path.rsplit('/', 1)[1]} {rest}".rstrip()
    for own, theirs in _OWN:
        if text.startswith(own):
            text = theirs + text[len(own) :]
    if text.startswith("ovs-"):
        text = _OVS.sub("", text)
    return text, scope
