"""Reports as SARIF 2.1.0, which code-scanning views of forges show. Pure."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from nexis_eval.repro.findings import CURES, Cause, Difference
from nexis_eval.repro.report import Report, Status, Subject

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
INCOMPARABLE = "could-not-compare"


def rule_id(cause: Cause) -> str:
    """The name of a cause as an identifier."""
    return cause.value.replace(" ", "-")


def to_sarif(report: Report) -> str:
    """One run with a rule for each cause and a result for each differing path."""
    results: list[dict[str, Any]] = []
    for subject in report.subjects:
        results += [_result(subject, each) for each in subject.differences]
        if subject.status is Status.FAILED or (subject.status is not Status.SAME and not subject.differences):
            results.append(_bare(subject))
    rules = [
        {
            "id": rule_id(cause),
            "shortDescription": {"text": f"Not reproducible: {cause}"},
            "help": {"text": cure},
            "defaultConfiguration": {"level": "error"},
        }
        for cause, cure in CURES.items()
    ]
    rules.append({"id": INCOMPARABLE, "shortDescription": {"text": "Could not be compared"}})
    run = {
        "tool": {"driver": {"name": "nexis-eval repro", "rules": rules}},
        "properties": dict(report.facts),
        "results": results,
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _place(subject: Subject, path: str) -> list[dict[str, Any]]:
    uri = quote(f"{subject.name}/{path}" if path else subject.name, errors="surrogateescape")
    return [{"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}}}]


def _result(subject: Subject, difference: Difference) -> dict[str, Any]:
    verdict = difference.verdict
    cause = verdict.cause if verdict else Cause.UNKNOWN
    reasons = "; ".join(verdict.why) if verdict else ""
    text = f"{subject.name}: {difference.path} differs ({difference.change}): {cause}. {reasons}"
    return {
        "ruleId": rule_id(cause),
        "level": "note" if subject.status is Status.FOLLOWS else "error",
        "message": {"text": text.strip()},
        "locations": _place(subject, difference.path),
        "partialFingerprints": {"nexis/v1": f"{subject.name}:{difference.path}:{difference.change}"},
    }


def _bare(subject: Subject) -> dict[str, Any]:
    rule = {Status.FAILED: INCOMPARABLE, Status.FOLLOWS: rule_id(Cause.INPUT)}
    return {
        "ruleId": rule.get(subject.status, rule_id(Cause.UNKNOWN)),
        "level": "note" if subject.status is Status.FOLLOWS else "error",
        "message": {"text": f"{subject.name} {subject.status}. {' '.join(subject.notes)}".strip()},
        "locations": _place(subject, ""),
    }
