"""The steps of a translation as `ofproto/trace` prints them."""

from collections.abc import Iterable

from pktpath.control.flow_actions import action_text
from pktpath.control.flow_match import match_text
from pktpath.switch.rules import Rule
from pktpath.switch.walk import Bucket, Hit, Step


def trace_text(bridge: str, steps: Iterable[Step]) -> str:
    """Return the part from the bridge's name to the last action, without a line before or after."""
    lines = [f'bridge("{bridge}")', "-------------"]
    for depth, what in steps:
        actions_at = 4 + 8 * depth
        match what:
            case Hit(table, rule):
                text = "No match." if rule is None else _rule(rule)
                lines.append(f"{' ' * _table_at(depth)}{table:2d}. {text}")
                lines += [] if rule is not None and rule.actions else [f"{' ' * actions_at}drop"]
            case Bucket(number):
                lines.append(f"{' ' * actions_at}bucket {number}")
            case str():
                last = what.startswith("Translation failed")
                lines.append(what if last else f"{' ' * (actions_at + 1)}{what}")
            case _:
                lines.append(f"{' ' * actions_at}{action_text(what)}")
    return "\n".join(lines) + "\n"


def _table_at(depth: int) -> int:
    return 0 if not depth else 8 * depth - 4


def _rule(rule: Rule) -> str:
    match = match_text(rule.value, rule.mask)
    cookie = f", cookie {rule.cookie:#x}" if rule.cookie else ""
    return f"{match + ', ' if match else ''}priority {rule.priority}{cookie}"
