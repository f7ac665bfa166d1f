"""tools/repro-table, which makes the tables of docs/reproducibility.md from reports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from nexis_eval.repro.formats.render import render
from nexis_eval.repro.report import Report, Status, Subject

TOOL = Path(__file__).resolve().parents[3] / "tools" / "repro-table"


def table(*paths: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, TOOL, *paths], capture_output=True, text=True, check=False)


def report(path: Path, arch: str, *subjects: Subject) -> Path:
    path.write_text(render(Report("a title", "one", "other", subjects, (("architecture", arch),)), "json"))
    return path


def test_architectures_side_by_side(tmp_path: Path) -> None:
    one = report(tmp_path / "1.json", "x86_64", Subject("b-1", rounds=2), Subject("only-here-2", rounds=1))
    two = report(tmp_path / "2.json", "riscv64", Subject("b-1", rounds=1), Subject("a-1", rounds=1))
    made = table(one, two)
    assert made.stdout == (
        "| step | x86_64 | riscv64 |\n"
        "|---|---|---|\n"
        "| a-1 |  | same, 1 round |\n"
        "| b-1 | same, 2 rounds | same, 1 round |\n"
        "| only-here-2 | same, 1 round |  |\n"
    )
    assert made.returncode == 0


def test_the_later_report_on_a_step_counts(tmp_path: Path) -> None:
    bad = report(tmp_path / "bad.json", "x86_64", Subject("a-1", status=Status.DIFFERS, rounds=1))
    good = report(tmp_path / "good.json", "x86_64", Subject("a-1", rounds=1))
    assert (table(bad, good).returncode, table(good, bad).returncode) == (0, 1)
    assert "| a-1 | differs, 1 round |" in table(good, bad).stdout


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"format": "nexis record 2"}')
    refused = table(tmp_path / "other.json")
    assert refused.returncode == 2
    assert "other.json is no report of 'nexis-eval repro check': its format is 'nexis record 2'" in refused.stderr
    assert table().returncode == 2
