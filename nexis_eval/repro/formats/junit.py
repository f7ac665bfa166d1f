"""Reports as JUnit XML, which every CI service shows as test results. Pure."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from nexis_eval.repro.formats.text import view_lines
from nexis_eval.repro.report import Report, Status, Subject

MAX_LINES = 60
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(report: Report) -> str:
    """One test suite with a test case for each subject."""
    suites = ElementTree.Element("testsuites")
    suite = ElementTree.SubElement(
        suites,
        "testsuite",
        name=_legal(report.title),
        tests=str(len(report.subjects)),
        failures=str(report.count(Status.DIFFERS, Status.FOLLOWS)),
        errors=str(report.count(Status.FAILED)),
        time=f"{sum(subject.duration_ns for subject in report.subjects) / 1e9:.3f}",
    )
    for subject in report.subjects:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname=_legal(f"repro.{subject.platform}" if subject.platform else "repro"),
            name=_legal(subject.name),
            time=f"{subject.duration_ns / 1e9:.3f}",
        )
        if subject.status is Status.SAME:
            continue
        kind = "error" if subject.status is Status.FAILED else "failure"
        causes = dict.fromkeys(str(each.verdict.cause) for each in subject.differences if each.verdict)
        message = ", ".join(causes) or (subject.notes[0] if subject.notes else str(subject.status))
        element = ElementTree.SubElement(case, kind, type=str(subject.status), message=_legal(message))
        element.text = _legal("\n".join(_lines(subject)))
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _lines(subject: Subject) -> list[str]:
    lines = list(subject.notes)
    for difference in subject.differences:
        lines.append(f"{difference.path}: {difference.change}")
        lines += [f"  {verdict.cause}: {'; '.join(verdict.why)}" for verdict in difference.verdicts()]
        if difference.view is not None:
            lines += [f"  {line}" for line in view_lines(difference.view, MAX_LINES)]
    return lines


def _legal(text: str) -> str:
    """XML 1.0 has no place for most control characters, not even escaped."""
    return _ILLEGAL.sub("\ufffd", text)
