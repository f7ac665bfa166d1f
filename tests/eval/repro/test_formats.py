"""The reports in every format: whole documents that the programs they are meant for can read."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from nexis_eval.repro.causes import judge
from nexis_eval.repro.findings import CURES, Cause, Difference, Evidence, Strength, View
from nexis_eval.repro.formats.render import FORMATS, render
from nexis_eval.repro.report import Report, Status, Subject

EVIL = "<script>alert('&')</script> | `x` \x07"


@pytest.fixture
def report() -> Report:
    evidence = (Evidence(Cause.TIMESTAMP, Strength.PROOF, f"dates {EVIL}"),)
    field = View("mtime", "field", "1", "2", evidence=evidence)
    text = View("readme", "text", diff=("@@ -1 +1 @@", f"-{EVIL}", "+```new"))
    view = View("data.tar", "tar", parts=(View("readme", "member", parts=(field, text)),))
    difference = Difference(f"usr/share/{EVIL}", "content", "a", "b", view, judge(evidence, ("time",)))
    return Report(
        f"A report {EVIL}",
        "before",
        "after",
        (
            Subject("good-1.0", "x86_64"),
            Subject("bad-1.0", "x86_64", Status.DIFFERS, (difference,), ("bisected",), duration_ns=1_500_000_000),
            Subject("after-1.0", "x86_64", Status.FOLLOWS, notes=("follows from bad-1.0",)),
            Subject("broken-1.0", "x86_64", Status.FAILED, notes=("the build failed", EVIL)),
        ),
        (("system", "demo"),),
    )


def test_exit_codes(report: Report) -> None:
    same, differs, follows, failed = report.subjects
    assert Report("", "", "", (same,)).exit_code == 0
    assert Report("", "", "", (same, differs, failed)).exit_code == 1
    assert Report("", "", "", (follows,)).exit_code == 1
    assert Report("", "", "", (same, failed)).exit_code == 2
    assert Report("", "", "", ()).exit_code == 2
    assert [Report("", "", "", (each,)).headline() for each in (same, differs, failed)] == [
        "the same",
        "it differs",
        "it could not be compared",
    ]
    assert report.headline() == "2 of 4 differ, 1 of them only as a consequence; 1 could not be compared"


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_says_the_essentials(report: Report, name: str) -> None:
    text = render(report, name)
    for word in ("bad-1.0", "broken-1.0", "timestamp"):
        assert word in text
    assert text.endswith("\n") or name == "html"


def test_json(report: Report) -> None:
    value = json.loads(render(report, "json"))
    assert value["exit_code"] == 1
    assert [each["status"] for each in value["subjects"]] == ["same", "differs", "follows", "failed"]
    assert value["subjects"][1]["differences"][0]["verdicts"][0]["culprits"] == ["time"]


def test_junit(report: Report) -> None:
    suite = ElementTree.fromstring(render(report, "junit")).find("testsuite")
    assert suite is not None
    assert [suite.get(key) for key in ("tests", "failures", "errors")] == ["4", "2", "1"]
    assert [[child.tag for child in case] for case in suite] == [[], ["failure"], ["failure"], ["error"]]


def test_sarif(report: Report) -> None:
    value = json.loads(render(report, "sarif"))
    assert value["version"] == "2.1.0"
    (run,) = value["runs"]
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    assert len(run["results"]) == 3
    for result in run["results"]:
        assert result["ruleId"] in rules
        assert result["level"] in ("error", "note")
        assert " " not in result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]


@pytest.mark.peers
@pytest.mark.skipif("SARIF_SCHEMA" not in os.environ, reason="SARIF_SCHEMA does not name the standard's schema")
def test_sarif_is_what_the_standard_says(report: Report) -> None:
    """With ``sarif-schema-2.1.0.json`` of https://github.com/oasis-tcs/sarif-spec."""
    import jsonschema

    schema = json.loads(Path(os.environ["SARIF_SCHEMA"]).read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    for subjects in (report.subjects, (), report.subjects[:1]):
        value = json.loads(render(replace(report, subjects=subjects), "sarif"))
        assert [each.message for each in validator.iter_errors(value)] == []


def test_markdown_cannot_be_broken_out_of(report: Report) -> None:
    text = render(report, "markdown")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "1.0" in line]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [6, 6, 6, 6]
    assert "````diff" in text


def test_markdown_shows_code_as_code_and_a_changed_recipe_as_a_diff(report: Report) -> None:
    note = "the recipe changed: script:\n  -  --static\n  +  --static ``` --zprefix"
    text = render(replace(report, subjects=(replace(report.subjects[0], notes=(note,)),)), "markdown")
    assert "- the recipe changed: script:\n\n````diff\n-  --static\n+  --static ``` --zprefix\n````\n" in text
    cures = re.findall(r"^  - cure: (.*)$", render(report, "markdown"), re.MULTILINE)
    assert any("`gzip -n`" in cure for cure in cures)
    assert not any("\\" in cure for cure in cures)


def test_markdown_tells_the_rounds_of_a_check(report: Report) -> None:
    checked = replace(report, subjects=(Subject("good-1.0", "x86_64", rounds=3, duration_ns=61_400_000_000),))
    text = render(checked, "markdown")
    assert "| | what | platform | rounds | seconds | paths | cause |\n|---|---|---|---:|---:|---:|---|\n" in text
    assert "| ✅ | good-1.0 | x86_64 | 3 | 61 |  |  |" in text


class Checker(HTMLParser):
    VOID = frozenset(("meta", "br", "hr", "link", "img"))

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_well_formed_self_contained_and_escaped(report: Report) -> None:
    text = render(report, "html")
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert all(address.startswith("#s") and f'id="{address[1:]}"' in text for address in checker.addresses)
    assert "url(" not in text and "@import" not in text
    assert "&lt;script&gt;" in text


def test_html_puts_aside_what_is_the_same_and_leads_to_what_is_not(report: Report) -> None:
    same = tuple(Subject(f"same-{number}", "x86_64", rounds=2) for number in range(20))
    text = render(replace(report, subjects=(*same, *report.subjects)), "html")
    assert "<summary>21 are the same: same-0 … good-1.0</summary>" in text
    assert re.findall(r'<a href="#(s\d+)">([^<]*)</a>', text) == [("s21", "bad-1.0"), ("s23", "broken-1.0")]
    alone = render(replace(report, subjects=same), "html")
    assert "are the same:" not in alone
    assert alone.count('<th scope="row">') == 20


def test_html_tells_a_cure_once_for_a_subject(report: Report) -> None:
    bad = report.subjects[1]
    several = replace(bad, differences=tuple(replace(bad.differences[0], path=f"p{n}") for n in range(9)))
    text = render(replace(report, subjects=(several,)), "html")
    assert text.count("<b>Cure:</b>") == 1
    assert text.count('<details class="path" open>') == 5
    assert text.count('<details class="path">') == 4


def test_colours_only_when_asked(report: Report) -> None:
    assert "\x1b[" not in render(report, "text")
    assert "\x1b[31m" in render(report, "text", colour=True)


def test_every_cause_has_a_cure() -> None:
    assert set(CURES) == set(Cause)
