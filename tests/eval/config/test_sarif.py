"""Reports in SARIF are what its standard says, for each of the broken configurations.

Set SARIF_SCHEMA to ``sarif-schema-2.1.0.json`` of https://github.com/oasis-tcs/sarif-spec.
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import jsonschema
import pytest

from nexis_eval.cli.main import run
from tests.eval.config.test_golden_errors import CASES, options_of, read_case, write_files

SCHEMA = os.environ.get("SARIF_SCHEMA")
pytestmark = [pytest.mark.peers, pytest.mark.skipif(SCHEMA is None, reason="SARIF_SCHEMA does not name the schema")]


def test_reports_are_as_the_standard_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = json.loads(Path(SCHEMA or "").read_text(encoding="utf-8"))
    validator = jsonschema.validators.validator_for(schema)(schema)
    for case in CASES:
        preamble, files = read_case(case)
        expected = files.pop("expected").decode()
        directory = tmp_path / case.stem
        directory.mkdir()
        write_files(files, directory)
        monkeypatch.chdir(directory)
        assert run(["check", "system.toml", *shlex.split(options_of(preamble)), "--format", "sarif"]) == 2
        report = json.loads(capsys.readouterr().out)
        assert [each.message for each in validator.iter_errors(report)] == [], case.name
        assert len(report["runs"][0]["results"]) == expected.count(": error: "), case.name
