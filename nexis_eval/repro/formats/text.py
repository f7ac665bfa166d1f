"""Reports for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nexis_eval.repro.findings import Difference, Strength, View
from nexis_eval.repro.report import Report, Status, Subject

MARKS = {Status.SAME: ("✓", "32"), Status.DIFFERS: ("✗", "31"), Status.FOLLOWS: ("↳", "33"), Status.FAILED: ("!", "35")}
MAX_DIFFERENCES = 20
MAX_LINES = 12

Paint = Callable[[str, str], str]


def to_text(report: Report, *, colour: bool = False) -> str:
    """The whole report, ending in its headline."""

    def paint(text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colour else text

    lines = [paint(report.title, "1")]
    lines += [f"  {name}: {value}" for name, value in report.facts if value]
    lines += [f"  - {report.before}", f"  + {report.after}", ""]
    width = max((len(subject.name) for subject in report.subjects), default=0)
    for subject in report.subjects:
        mark, code = MARKS[subject.status]
        lines.append(f"{paint(mark, code)} {subject.name.ljust(width)}  {_summary(subject)}")
        lines += [f"    {line}" for line in _details(subject, paint)]
    lines += ["", paint(report.headline(), "1")]
    return "\n".join(lines) + "\n"


def _summary(subject: Subject) -> str:
    words = ["not compared" if subject.status is Status.FAILED else str(subject.status)]
    if subject.differences:
        count = len(subject.differences)
        words.append(f"in {count} path{'s' if count > 1 else ''}")
    if subject.platform:
        words.append(f"({subject.platform})")
    return " ".join(words)


def _details(subject: Subject, paint: Paint) -> Iterator[str]:
    for note in subject.notes:
        yield from note.splitlines()
    for difference in subject.differences[:MAX_DIFFERENCES]:
        # Why is said once, by the note, and there is nothing to cure.
        yield from _difference(difference, paint, judged=subject.status is not Status.FOLLOWS)
    if len(subject.differences) > MAX_DIFFERENCES:
        yield f"and {len(subject.differences) - MAX_DIFFERENCES} more paths"


def _difference(difference: Difference, paint: Paint, *, judged: bool) -> Iterator[str]:
    values = ""
    if difference.change != "content" and difference.before and difference.after:
        values = f": {difference.before} → {difference.after}"
    yield f"{paint(difference.path or '(the file)', '1')}: {difference.change}{values}"
    for verdict in difference.verdicts() if judged else ():
        culprits = f" (varying {', '.join(verdict.culprits)})" if verdict.culprits else ""
        yield f"  cause: {paint(str(verdict.cause), '33')}{culprits}"
        for reason in verdict.why[:2]:
            yield f"    {reason}"
        yield f"  cure: {verdict.cure}"
    if difference.view is not None and difference.view.kind != "field":
        yield from (f"  {line}" for line in view_lines(difference.view, MAX_LINES))


def view_lines(view: View, limit: int) -> list[str]:
    """The first ``limit`` lines of what differs, each with the path of parts that leads to it."""
    lines = list(_walk(view, ""))
    return lines if len(lines) <= limit else [*lines[:limit], f"… {len(lines) - limit} more lines"]


def _walk(view: View, prefix: str) -> Iterator[str]:
    if view.kind == "field":
        yield f"{prefix}{view.title}: {view.before or 'absent'} → {view.after or 'absent'}"
    elif view.diff:
        if prefix:
            yield f"{prefix}{view.title} ({view.kind}):"
        yield from view.diff
    elif not view.parts:
        yield f"{prefix}{view.title}: " + "; ".join(
            each.why for each in view.evidence if each.strength > Strength.FOLLOWS
        )
    for part in view.parts:
        yield from _walk(part, f"{prefix}{view.title} > " if prefix or view.kind != "member" else "")
