"""Reports as one self-contained HTML page, to be sent to a colleague or kept with a CI run."""

from __future__ import annotations

from pathlib import Path

from nexis_eval.repro.findings import CURES, Cause, View
from nexis_eval.repro.report import Report, Status

TEMPLATE = Path(__file__).with_name("report.html.j2")
HUES = {
    Cause.TIMESTAMP: 28,
    Cause.PATH: 200,
    Cause.ORDER: 270,
    Cause.RANDOMNESS: 330,
    Cause.IDENTITY: 175,
    Cause.LOCALE: 145,
    Cause.CPU: 220,
    Cause.UNINITIALISED: 0,
    Cause.ADDRESS: 345,
    Cause.PERMISSIONS: 50,
    Cause.KERNEL: 245,
    Cause.FILESYSTEM: 190,
    Cause.ENVIRONMENT: 90,
}
"""Angles on the colour wheel, so that one cause has one colour in every report."""

MARKS = {Status.SAME: "✓", Status.DIFFERS: "✗", Status.FOLLOWS: "↳", Status.FAILED: "!"}


def to_html(report: Report) -> str:
    """The page; nothing in it is loaded from elsewhere, and no script runs."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup, escape

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)

    def coded(text: str) -> Markup:
        """Turns what stands between backticks into code."""
        words = enumerate(text.split("`"))
        return Markup("").join(Markup("<code>{}</code>").format(word) if at % 2 else escape(word) for at, word in words)

    environment.filters["coded"] = coded
    template = environment.from_string(TEMPLATE.read_text())
    return template.render(
        report=report,
        Status=Status,
        counts=[(status, report.count(status)) for status in Status],
        causes=report.causes(),
        most=max((count for _, count in report.causes()), default=1),
        cures=CURES,
        hue=lambda cause: HUES.get(cause, 0),
        grey=lambda cause: cause not in HUES,
        mark=MARKS.__getitem__,
        line_class=line_class,
        opened=is_opened,
        duration=lambda ns: f"{ns / 1e9:.1f} s" if ns else "",
    )


def line_class(line: str) -> str:
    """How a line of a unified diff is shown."""
    if line.startswith("@@"):
        return "place"
    return {"-": "old", "+": "new"}.get(line[:1], "same")


def is_opened(view: View) -> bool:
    """Whether a view has something of its own to show besides its parts."""
    return bool(view.diff) or view.kind == "field" or not view.parts
