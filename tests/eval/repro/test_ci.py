"""The CI recipe: the steps that the workflows list, executed here."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from nexis_eval.repro.record import encode_record
from nexis_store.store import Store
from tests.eval.repro.test_record import built, system

CI = Path("examples/ci")
PROVE = (CI / "prove").resolve()
WORKFLOWS = ("github.yml", "gitlab.yml", "forgejo.yml")


def steps(workflow: str) -> list[list[str]]:
    """The lines of a workflow that run the script, as words."""
    text = (CI / workflow).read_text()
    return [line.split() for line in re.findall(r"examples/ci/prove (.*)", text)]


def prove(directory: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROVE, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NEXIS_STORE": str(directory / "no-store"), **environment},
    )


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_each_workflow_records_twice_and_compares_what_was_recorded(workflow: str) -> None:
    words = steps(workflow)
    assert {each[0] for each in words} == {"record", "compare"}
    (compare,) = [each for each in words if each[0] == "compare"]
    assert compare[1:] == ["record-first.json", "record-second.json", "reports"]
    (record,) = [each for each in words if each[0] == "record"]
    assert record[1] == '"$SYSTEM"'
    assert re.fullmatch(r'"?record-(\$\{\{|\$CI_JOB_NAME|matrix).*', record[2])
    assert "examples/minimal" in (CI / workflow).read_text()


@pytest.mark.parametrize(("banner", "code"), [("hello", 0), ("goodbye", 1)])
def test_comparing_as_the_workflows_do(tmp_path: Path, banner: str, code: int) -> None:
    hook = tmp_path / "hook.sh"
    hook.write_text("echo hook\n")
    for name, text in (("first", "hello"), ("second", banner)):
        with Store.open(tmp_path / name) as store:
            (tmp_path / f"record-{name}.json").write_text(encode_record(built(store, system(hook, text))))
    result = prove(tmp_path, *steps("github.yml")[-1], GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md"))
    assert result.returncode == code, result.stderr
    reports = tmp_path / "reports"
    assert {path.name for path in reports.iterdir()} == {"report.html", "report.xml", "report.sarif", "report.md"}
    suite = ElementTree.parse(reports / "report.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("failures") != "0") == bool(code)
    assert bool(json.loads((reports / "report.sarif").read_text())["runs"][0]["results"]) == bool(code)
    assert (tmp_path / "summary.md").read_text() == (reports / "report.md").read_text()


def test_what_cannot_be_compared_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    assert prove(tmp_path, "compare", "a.json", "missing.json", "reports").returncode == 2
    assert prove(tmp_path).returncode == 2


@pytest.mark.slow
def test_recording_on_two_machines(tmp_path: Path) -> None:
    """Two stores from nothing, a real package: the records agree, and each can be built again."""
    for name in ("first", "second"):
        result = prove(
            tmp_path,
            "record",
            str(Path("examples/minimal").resolve()),
            f"record-{name}.json",
            "zlib",
            NEXIS_STORE=str(tmp_path / name),
        )
        assert result.returncode == 0, result.stderr
    result = prove(tmp_path, "compare", "record-first.json", "record-second.json", "reports")
    assert result.returncode == 0, result.stdout + result.stderr
    result = prove(
        tmp_path,
        "check",
        str(Path("examples/minimal").resolve()),
        "checked",
        "zlib",
        NEXIS_STORE=str(tmp_path / "first"),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    nexis = Path(".venv/bin/nexis-eval").resolve()
    again = subprocess.run(
        [nexis, "repro", "rebuild", "record-first.json", "--store", tmp_path / "third"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stdout + again.stderr
    assert "the same" in again.stdout
