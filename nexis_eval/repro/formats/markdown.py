"""Reports as GitHub-flavoured Markdown, for summaries of CI jobs and comments. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import dedent

from nexis_eval.repro.formats.text import view_lines
from nexis_eval.repro.report import Report, Status, Subject

MARKS = {Status.SAME: "✅", Status.DIFFERS: "❌", Status.FOLLOWS: "↳", Status.FAILED: "⚠️"}
MAX_DIFFERENCES = 10
MAX_LINES = 30


def to_markdown(report: Report) -> str:
    """A table of all subjects, then the differences folded away."""
    lines = [f"## {_escape(report.title)}", "", f"**{_escape(report.headline())}**", ""]
    lines += [f"- {_escape(name)}: {_escape(value)}" for name, value in report.facts if value]
    lines += [f"- before: {_escape(report.before)}", f"- after: {_escape(report.after)}", ""]
    built = any(subject.rounds for subject in report.subjects)
    lines += [
        f"| | what | platform |{' rounds | seconds |' if built else ''} paths | cause |",
        f"|---|---|---|{'---:|---:|' if built else ''}---:|---|",
    ]
    for subject in report.subjects:
        causes = dict.fromkeys(str(verdict.cause) for each in subject.differences for verdict in each.verdicts())
        count = len(subject.differences) or ""
        named = ", ".join(causes) or (_escape(subject.notes[0].splitlines()[0]) if subject.notes else "")
        work = f" {subject.rounds} | {subject.duration_ns / 1e9:.0f} |" if built else ""
        lines.append(
            f"| {MARKS[subject.status]} | {_escape(subject.name)} | {subject.platform} |{work} {count} | {named} |"
        )
    for subject in report.subjects:
        if subject.differences or len(subject.notes) > 1 or any("\n" in note for note in subject.notes):
            lines += ["", *_folded(subject)]
    return "\n".join(lines) + "\n"


def _folded(subject: Subject) -> Iterator[str]:
    yield f"<details><summary>{_escape(subject.name)}: {subject.status}</summary>"
    yield ""
    for note in subject.notes:
        first, *rest = note.splitlines() or [""]
        yield f"- {_escape(first)}"
        if rest:
            yield from ("", *_fenced(dedent("\n".join(rest)).splitlines()))
    for difference in subject.differences[:MAX_DIFFERENCES]:
        yield ""
        yield f"#### {_code(difference.path)} ({difference.change})"
        for verdict in difference.verdicts():
            yield f"- **{verdict.cause}**: {_escape('; '.join(verdict.why))}"
            # Our own words, with code in them, so there is nothing to escape.
            yield f"  - cure: {verdict.cure}"
        if difference.view is not None:
            yield from ("", *_fenced(view_lines(difference.view, MAX_LINES)))
    if len(subject.differences) > MAX_DIFFERENCES:
        yield f"- and {len(subject.differences) - MAX_DIFFERENCES} more paths"
    yield ""
    yield "</details>"


def _fenced(lines: Sequence[str]) -> Iterator[str]:
    fence = "`" * max(3, 1 + max((line.count("`") for line in lines), default=0))
    yield from (f"{fence}diff", *lines, fence)


def _escape(text: str) -> str:
    flat = " ".join(text.split())
    for letter in "\\`*_[]<>|#":
        flat = flat.replace(letter, f"\\{letter}")
    return flat


def _code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"
