"""Write the page and the Markdown report from templates; everything they are given is escaped."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from harness.printable import printable
from reports import growth, markup, summary, together, units
from reports.islands import Island
from reports.load import Report, Section
from reports.markup import Table
from reports.plots import Drawing

if TYPE_CHECKING:
    from jinja2 import Environment

CARD_HEADS = ("name", "checksum", "protocol", "notes")
"""What of a dataset card is shown apart from the plain list of its facts."""

SCRIPTS = ("page.js", "sort.js", "filter.js", "versus.js", "items.js")
"""The page's script in the order of its parts."""


@dataclass(frozen=True)
class Chapter:
    """What the page shows of one dataset."""

    section: Section
    sentences: tuple[str, ...]
    fairness: tuple[str, ...]
    tables: dict[str, Table]
    drawings: tuple[Drawing, ...]
    island: Island | None = None


class Across(NamedTuple):
    """What the page shows across datasets: all of them together, and collections in several sizes."""

    whole: together.Chapter | None
    grown: Sequence[growth.Chapter]


class Ready(str):
    """A piece of Markdown that must not be escaped again."""

    __slots__ = ()


def page(report: Report, chapters: tuple[Chapter, ...], across: Across) -> str:
    """Write the page: one file that needs nothing else and asks no network.

    Its one script is named by its hash, so that nothing else in the page can run, whatever a passage may hold.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=_loader()
    )
    # The SVGs are our own; texts in them were escaped or turned into outlines when they were drawn.
    environment.filters |= {"svg": lambda drawing: Markup(drawing.svg), "href": quote, "anchor": anchor}
    # Escaped by `islands.embed`; a script's own text knows no other escapes.
    environment.filters |= {"island": lambda island: Markup(island.json)}
    code = script()
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    extra = {"script": Markup(code), "script_hash": f"sha256-{digest}"}
    return _render(environment, "index.html.j2", report, chapters, across, **extra)


def script() -> str:
    """Join the parts of the page's script; each may use what stands before it."""
    parts = (resources.files("reports").joinpath("templates", name).read_text(encoding="utf-8") for name in SCRIPTS)
    return '\n(() => {\n"use strict";\n' + "\n".join(parts) + "})();\n"


def markdown(report: Report, chapters: tuple[Chapter, ...], across: Across) -> str:
    """Write the same as Markdown with links to the figures' files."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=False,
        # Escapes every value that is placed, for Markdown instead of HTML.
        finalize=lambda value: value if isinstance(value, Ready) else markup.md(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=_loader(),
    )
    environment.filters |= {
        "table": lambda table: Ready(markup.to_md(table, report.home)),
        "href": lambda path: Ready(quote(path)),
        "code": lambda text: Ready(_fence(text)),
    }
    return _render(environment, "report.md.j2", report, chapters, across)


def anchor(name: str) -> str:
    """Turn a name into one that may stand as an id and behind "#"."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)


def _loader() -> Any:
    from jinja2 import PackageLoader

    return PackageLoader("reports", "templates")


def _render(
    environment: Environment,
    template: str,
    report: Report,
    chapters: tuple[Chapter, ...],
    across: Across,
    **extra: object,
) -> str:
    text = environment.get_template(template).render(
        report=report,
        chapters=chapters,
        grown=across.grown,
        whole=across.whole,
        failures=summary.failures(report),
        limits=summary.limits(report),
        notes=[str(n) for n in report.experiment.get("notes") or ()],
        about=_about(report),
        environment=summary.facts(report.experiment.get("environment") or {}),
        command=_command(report),
        config=json.dumps(report.experiment.get("config"), indent=2, ensure_ascii=False),
        cards=[(s, summary.facts({k: v for k, v in s.card.items() if k not in CARD_HEADS})) for s in report.sections],
        facts=summary.facts,
        units=units,
        **extra,
    )
    return text.rstrip() + "\n"


def _about(report: Report) -> list[tuple[str, str]]:
    """List what was run, in short."""
    pairs = [
        ("Experiment", report.text("name")),
        ("Started", report.text("created")),
        ("Harness", report.text("harness_version")),
        ("Fingerprint", report.text("fingerprint")),
        ("Split", report.text("split")),
        ("Hits asked for", report.text("depth")),
        ("Primary measure", units.label(report.primary)),
        ("Seeds", ", ".join(map(str, report.seeds))),
    ]
    return [(name, value) for name, value in pairs if value]


def _command(report: Report) -> str:
    """Write the command that repeats the run; where the program lay on that machine is nobody's concern."""
    argv = [str(a) for a in report.experiment.get("command") or ()]
    if not argv:
        return ""
    return shlex.join([PurePosixPath(argv[0].replace("\\", "/")).name, *argv[1:]])


def _fence(text: str) -> str:
    """Fence a block of code with more backticks than it holds in a row."""
    text = printable(text)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
