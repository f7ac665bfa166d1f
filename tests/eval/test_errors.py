"""The table of errors: complete, documented, each code once."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexis_eval import errors
from nexis_eval.cli.bug import report
from nexis_eval.cli.explain_error import UnknownCodeError
from nexis_eval.cli.main import run

ROOT = Path(__file__).parents[2]


def test_each_code_is_declared_once() -> None:
    assert errors.shared_codes() == {}


def test_each_error_is_explained() -> None:
    table = errors.table()
    assert {"C0201", "E0002", "S0001"} <= set(table)
    assert "E0001" not in table, "the root of all errors, which nobody meets"
    for entry in table.values():
        assert entry.title.endswith((".", ")", "?")), entry.code
        assert entry.exit_code in errors.EXIT_CODES, entry.code


def test_the_documentation_is_that_of_the_program(accept: bool) -> None:
    page = ROOT / "docs/errors.md"
    if accept:
        page.write_text(errors.markdown())
    assert page.read_text() == errors.markdown()


def test_explain_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain-error", "c0201"]) == 0
    assert capsys.readouterr().out.startswith("C0201 (exit code 2: the configuration or the command line is wrong)\n")
    assert run(["explain-error"]) == 0
    assert "C0201  There is no such setting." in capsys.readouterr().out
    with pytest.raises(UnknownCodeError) as caught:
        run(["explain-error", "C9201"])
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("did you mean C")


def test_a_bug_is_told_without_traceback(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    try:
        raise KeyError("zlib")
    except KeyError as error:
        assert report(error) == 70
    message = capsys.readouterr().err
    assert "this is a bug in nexis-eval" in message
    assert "Traceback" not in message
    (file,) = tmp_path.glob("nexis-eval-bug-*.txt")
    assert str(file) in message
    assert "Traceback" in file.read_text()


def test_a_bug_is_told_even_where_nothing_can_be_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    assert report(ValueError("x")) == 70
    assert "ValueError: x" in capsys.readouterr().err
