"""Reports as JSON, the complete form (``docs/formats/record.md``). Pure."""

from __future__ import annotations

import json
from typing import Any

from nexis_eval.repro.findings import Difference, Verdict, View
from nexis_eval.repro.report import Report, Subject

FORMAT = "nexis repro report 1"


def to_json(report: Report) -> str:
    """The report as one JSON object."""
    return json.dumps(report_value(report), indent=2, ensure_ascii=False) + "\n"


def report_value(report: Report) -> dict[str, Any]:
    """The report as plain values."""
    return {
        "format": FORMAT,
        "title": report.title,
        "before": report.before,
        "after": report.after,
        "result": report.headline(),
        "exit_code": report.exit_code,
        "facts": [{"name": name, "value": value} for name, value in report.facts],
        "causes": [{"cause": str(cause), "paths": count} for cause, count in report.causes()],
        "subjects": [_subject(subject) for subject in report.subjects],
    }


def _subject(subject: Subject) -> dict[str, Any]:
    return {
        "name": subject.name,
        "platform": subject.platform,
        "status": str(subject.status),
        "before": subject.before,
        "after": subject.after,
        "notes": list(subject.notes),
        "rounds": subject.rounds,
        "duration_ns": subject.duration_ns,
        "differences": [_difference(each) for each in subject.differences],
    }


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "path": difference.path,
        "change": difference.change,
        "before": difference.before,
        "after": difference.after,
        "verdicts": [_verdict(each) for each in difference.verdicts()],
        "view": None if difference.view is None else _view(difference.view),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "cause": str(verdict.cause),
        "culprits": None if verdict.culprits is None else list(verdict.culprits),
        "why": list(verdict.why),
        "cure": verdict.cure,
    }


def _view(view: View) -> dict[str, Any]:
    value: dict[str, Any] = {"title": view.title, "kind": view.kind}
    if view.kind == "field":
        value |= {"before": view.before, "after": view.after}
    if view.diff:
        value["diff"] = list(view.diff)
    if view.evidence:
        value["evidence"] = [
            {"cause": str(each.cause), "strength": int(each.strength), "why": each.why} for each in view.evidence
        ]
    if view.parts:
        value["parts"] = [_view(part) for part in view.parts]
    return value
