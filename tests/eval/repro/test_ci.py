"""The CI recipe: the steps that the workflows list, executed here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from nexis_eval.repro.record import encode_record
from nexis_store.store import Store, default_store_root
from tests.eval.repro.test_record import built, system

TOP = Path(__file__).resolve().parents[3]
CI = TOP / "examples/ci"
PROVE = (CI / "prove").resolve()
WORKFLOWS = ("github.yml", "gitlab.yml", "forgejo.yml")


@dataclass(frozen=True)
class Job:
    """One run of a job: its shell steps, and the files it hands on and gets."""

    name: str
    steps: tuple[str, ...]
    gives: tuple[str, ...]


def jobs(workflow: str) -> list[Job]:
    """What a service would run, in order: matrices multiplied out, expressions replaced."""
    value = yaml.safe_load((CI / workflow).read_text())
    return list(gitlab_jobs(value) if workflow == "gitlab.yml" else actions_jobs(value))


def actions_jobs(value: dict[str, Any]) -> Iterator[Job]:
    """GitHub's and Forgejo's form."""
    for name, job in value["jobs"].items():
        for cell in job.get("strategy", {}).get("matrix", {}).get("include", [{}]):

            def filled(text: str, cell: dict[str, str] = cell) -> str:
                return re.sub(r"\$\{\{ matrix\.(\w+) \}\}", lambda match: cell[match[1]], text)

            uploads = [each["with"]["path"] for each in job["steps"] if "upload-artifact" in each.get("uses", "")]
            runs = tuple(filled(each["run"]) for each in job["steps"] if "run" in each)
            yield Job(cell.get("name", name), runs, tuple(map(filled, uploads)))


def gitlab_jobs(value: dict[str, Any]) -> Iterator[Job]:
    """GitLab's form: hidden jobs are templates."""
    before = tuple(value["default"]["before_script"])
    for name in ("first", "second", "compare"):
        job = value.get(value[name].get("extends", ""), {}) | value[name]
        paths = tuple(each.replace("$CI_JOB_NAME", name) for each in job["artifacts"]["paths"])
        yield Job(name, (*before, *job["script"]), paths)


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
    first, second, compare = jobs(workflow)
    assert (first.gives, second.gives, compare.gives) == (("record-first.json",), ("record-second.json",), ("reports",))
    assert compare.steps[-1] == "examples/ci/prove compare record-first.json record-second.json reports"
    for job in (first, second):
        assert job.steps[-1].startswith('examples/ci/prove record "$SYSTEM" "record-' if "gitlab" in workflow else
                                        f'examples/ci/prove record "$SYSTEM" record-{job.name}.json')  # fmt: skip
        assert any("make setup venv" in step for step in job.steps)
    value = yaml.safe_load((CI / workflow).read_text())
    assert (value.get("env") or value["variables"])["SYSTEM"] == "examples/minimal"


def test_githubs_older_runner_is_given_a_python_that_will_do() -> None:
    """Its own, 3.10, is too old for the virtual environment."""
    build = yaml.safe_load((CI / "github.yml").read_text())["jobs"]["build"]
    (setup,) = (each for each in build["steps"] if each.get("uses", "").startswith("actions/setup-python@"))
    assert setup["with"]["python-version"] == "${{ matrix.python }}"
    least = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    for cell in build["strategy"]["matrix"]["include"]:
        assert [*map(int, cell["python"].split("."))] >= [*map(int, least.split("."))]


class Runner:
    """A machine of a CI service: a fresh checkout, an account and a store of its own.

    ``sudo`` and ``apt-get`` are taken away: what they do is the service's business, and this machine has it done.
    """

    def __init__(self, path: Path, store: Path | None) -> None:
        self.checkout, self.home, self.bin = path / "checkout", path / "home", path / "bin"
        subprocess.run(["git", "clone", "--quiet", "--local", TOP, self.checkout], check=True)
        self.home.mkdir()
        self.bin.mkdir()
        for name in ("sudo", "apt-get"):
            (self.bin / name).write_text("#!/bin/sh\n")
            (self.bin / name).chmod(0o755)
        self.store = store or path / "store"

    def run(self, step: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """One step, as the services run it."""
        return subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", step],
            cwd=self.checkout,
            env={
                "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                "HOME": str(self.home),
                "NEXIS_STORE": str(self.store),
                "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache/pip")),
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.mark.slow
@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_the_steps_of_a_workflow(tmp_path: Path, workflow: str) -> None:
    """All jobs, each on a runner of its own: GitHub's from nothing, the others with what the store here has."""
    artifacts = tmp_path / "artifacts"
    artifacts.mkdir()
    for job in jobs(workflow):
        runner = Runner(tmp_path / job.name, None if workflow == "github.yml" else default_store_root())
        for each in artifacts.iterdir():
            shutil.copy(each, runner.checkout)
        for step in job.steps:
            done = runner.run(step, SYSTEM="examples/minimal", CI_JOB_NAME=job.name)
            assert done.returncode == 0, f"{job.name}: {step}\n{done.stdout}{done.stderr}"
        for each in job.gives:
            if (runner.checkout / each).is_file():
                shutil.copy(runner.checkout / each, artifacts)
        if job.name == "compare":
            report = json.loads((runner.checkout / "reports/report.json").read_text())
            assert report["result"].endswith("the same")
            assert {each["status"] for each in report["subjects"]} == {"same"}


@pytest.mark.parametrize(("banner", "code"), [("hello", 0), ("goodbye", 1)])
def test_comparing_as_the_workflows_do(tmp_path: Path, banner: str, code: int) -> None:
    hook = tmp_path / "hook.sh"
    hook.write_text("echo hook\n")
    for name, text in (("first", "hello"), ("second", banner)):
        with Store.open(tmp_path / name) as store:
            (tmp_path / f"record-{name}.json").write_text(encode_record(built(store, system(hook, text))))
    result = prove(
        tmp_path, *jobs("github.yml")[-1].steps[-1].split()[1:], GITHUB_STEP_SUMMARY=str(tmp_path / "summary.md")
    )
    assert result.returncode == code, result.stderr
    reports = tmp_path / "reports"
    assert {path.name for path in reports.iterdir()} == {
        f"report.{each}" for each in ("html", "xml", "sarif", "md", "json")
    }
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
