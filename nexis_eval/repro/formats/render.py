"""The output formats by name. Pure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath

from nexis_eval.repro.formats.html import to_html
from nexis_eval.repro.formats.json import to_json
from nexis_eval.repro.formats.junit import to_junit
from nexis_eval.repro.formats.markdown import to_markdown
from nexis_eval.repro.formats.sarif import to_sarif
from nexis_eval.repro.formats.text import to_text
from nexis_eval.repro.report import Report
from nexis_eval.secrets import hidden

FORMATS: dict[str, Callable[[Report], str]] = {
    "text": to_text,
    "json": to_json,
    "junit": to_junit,
    "sarif": to_sarif,
    "markdown": to_markdown,
    "html": to_html,
}
"""Each takes a report and gives a whole document."""


ENDINGS = {
    ".json": "json",
    ".xml": "junit",
    ".sarif": "sarif",
    ".md": "markdown",
    ".html": "html",
}


def format_of(path: PurePath) -> str:
    """The format that a file's name asks for; text if it asks for none."""
    return ENDINGS.get(path.suffix.lower(), "text")


def render(report: Report, name: str, *, colour: bool = False) -> str:
    """The document in the format called ``name``; only text knows colours."""
    return hidden(to_text(report, colour=colour) if name == "text" else FORMATS[name](report))
