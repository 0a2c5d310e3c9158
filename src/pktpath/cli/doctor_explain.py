"""`pktpath doctor explain`: what a mechanism or a finding is."""

import shutil
import sys
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import click

from pktpath.cli import verbatim
from pktpath.cli.doctor_print import print_lines

if TYPE_CHECKING:
    from pktpath.doctor.report.text import Line


def _complete_topic(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from pktpath.doctor.explain import topics

    return [name for name, _ in topics() if name.lower().startswith(incomplete.lower())]


@click.command(short_help="What something is, when it helps and hurts, what it depends on, how to see it.")
@click.argument("words", nargs=-1, metavar="[TOPIC]", shell_complete=_complete_topic)
def explain(words: tuple[str, ...]) -> None:
    r"""Explain a topic, or any finding by its id, in half a page; list them without TOPIC.

    \b
    pktpath doctor explain
    pktpath doctor explain tso
    pktpath doctor explain tso-off-for-want-of-checksum

    Exit status: 0 done, 1 there is no such topic.
    """
    from pktpath.doctor import explain as texts

    if words:
        print_lines(_page_lines(texts.explain(" ".join(words)), texts.SECTIONS))
    else:
        print_lines(_list_lines({"Topics": texts.topics(), "Findings": texts.findings()}))


def _page_lines(text: str, sections: Collection[str]) -> "Iterator[Line]":
    from pktpath.doctor.report.text import Span

    for number, line in enumerate(text.splitlines()):
        yield (Span(line, "title" if number == 0 or line in sections else ""),)


def _list_lines(lists: dict[str, list[tuple[str, str]]]) -> "Iterator[Line]":
    from pktpath.doctor.report.text import Span
    from pktpath.doctor.report.words import line_of

    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for title, rows in lists.items():
        yield (Span(title, "title"),)
        width = max((len(name) for name, _ in rows), default=0)
        for name, line in rows:
            room = max(columns - width - 4, 20) if columns else len(line)
            yield Span(f"  {name:<{width}}  ", "command"), Span(line_of(line, room))


explain.help = verbatim(explain.help)
