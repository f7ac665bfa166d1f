"""Reports as one self-contained HTML page, to be sent to a colleague or kept with a CI run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from nexis_eval.repro.findings import Cause
from nexis_eval.repro.report import Report, Status, Subject

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
    Cause.RECIPE: 260,
}
"""Angles on the colour wheel, so that one cause has one colour in every report."""

MARKS = {Status.SAME: "✓", Status.DIFFERS: "✗", Status.FOLLOWS: "↳", Status.FAILED: "!"}

MAX_LISTED = 8
"""As many subjects that are the same may stand in a row between others; of more only the number is told at first."""
MAX_OPEN_PATHS = 5
"""Differing paths of one subject that are shown at once; the others open on a click."""


@dataclass(frozen=True, slots=True)
class Group:
    """Subjects that are shown together: one with something to tell, or neighbours of which there is nothing to tell."""

    subjects: tuple[Subject, ...]
    is_plain: bool
    is_folded: bool = False


def groups(subjects: Sequence[Subject]) -> list[Group]:
    """``subjects`` in their order, with long rows of those that are the same put aside where something else is not."""
    all_plain = all(map(_is_plain, subjects))
    found = []
    for is_plain, run in groupby(subjects, _is_plain):
        members = tuple(run)
        if is_plain:
            found.append(Group(members, True, is_folded=len(members) > MAX_LISTED and not all_plain))
        else:
            found += [Group((each,), False) for each in members]
    return found


def _is_plain(subject: Subject) -> bool:
    return subject.status is Status.SAME and not subject.differences and not subject.notes


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
    environment.filters["identity"] = id
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        report=report,
        Status=Status,
        counts=[(status, report.count(status)) for status in Status],
        causes=report.causes(),
        most=max((count for _, count in report.causes()), default=1),
        groups=groups(report.subjects),
        attention=[
            (number, each)
            for number, each in enumerate(report.subjects)
            if each.status in (Status.DIFFERS, Status.FAILED)
        ],
        numbers={id(each): number for number, each in enumerate(report.subjects)},
        max_open=MAX_OPEN_PATHS,
        hue=lambda cause: HUES.get(cause, 0),
        grey=lambda cause: cause not in HUES,
        mark=MARKS.__getitem__,
        line_class=line_class,
        duration=lambda ns: f"{ns / 1e9:.1f} s" if ns else "",
    )


def line_class(line: str) -> str:
    """How a line of a unified diff is shown."""
    if line.startswith("@@"):
        return "place"
    return {"-": "old", "+": "new"}.get(line[:1], "same")
