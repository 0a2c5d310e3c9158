"""A diagnosis as one page: text, tables and inline SVG; nothing is loaded from elsewhere.

Enters: a diagnosis. Leaves: HTML that is well-formed XML too; the same diagnosis gives the same page. Whatever stands in the
evidence, the page's policy lets no script run but its own, and nothing be fetched.
"""

import base64
import hashlib
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pktpath import __version__
from pktpath.doctor.diagnose import Diagnosis
from pktpath.doctor.facts.perf import SampledStack
from pktpath.doctor.finding import Severity
from pktpath.doctor.report.flame import flame_of, svg_of
from pktpath.doctor.report.tables import calls_of, features_of, sources_of, threads_of
from pktpath.doctor.report.words import asked_by, clean, count_of, counts, grouped, line_of, named, sure, verdict

_NOTHING_ELSE = "base-uri 'none'; form-action 'none'"
_OPEN = 3
"""Findings that are unfolded when the page opens, notes apart."""


def page_of(diagnosis: Diagnosis, *, about: str = "") -> str:
    """Return the page.

    Args:
        diagnosis: what is told.
        about: what was looked at, in a few words: a host and the time, or files.

    """
    environment = Environment(
        loader=PackageLoader("pktpath.doctor.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        finalize=_harmless,
    )
    environment.filters |= {"line": line_of, "sure": sure, "named": named, "lines": _recipe, "count": count_of}
    style, script = (_asset(environment, name) for name in ("report.css", "report.js"))
    case = diagnosis.case
    flame = flame_of(case.all(SampledStack))
    groups = grouped(diagnosis.findings)
    return environment.get_template("report.html.jinja").render(
        version=__version__,
        about=about,
        policy=f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; {_NOTHING_ELSE}",
        style=style,
        script=script,
        verdict=verdict(diagnosis),
        worst=named(diagnosis.worst) if diagnosis.worst else "well",
        counts=counts(diagnosis.findings),
        sources=sources_of(case),
        live=case.live,
        groups=groups,
        unfolded={number for number, group in enumerate(groups) if number < _OPEN and group.first.severity > Severity.NOTE},
        flame=flame,
        flame_svg=svg_of(flame) if flame.boxes else "",
        threads=threads_of(case),
        calls=calls_of(case),
        matrix=features_of(case),
        well=diagnosis.well,
        missing=diagnosis.missing,
        unasked_count=len(diagnosis.unasked),
        unasked=asked_by(diagnosis.unasked),
    )


def _harmless(value: Any) -> Any:
    """Clean all that is put into the page; what is markup already was cleaned when it was made."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _asset(environment: Environment, name: str) -> Markup:
    loader = environment.loader
    assert loader is not None
    # Ours, and not from outside.
    return Markup(loader.get_source(environment, name)[0])  # noqa: S704


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _recipe(how: str) -> tuple[str, str]:
    """Return the file that a recipe is for, empty for a command, and the lines to put there."""
    first, _, rest = clean(how).partition("\n")
    return (first[:-1], rest) if rest and first.endswith(":") else ("", clean(how))
