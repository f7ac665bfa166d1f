"""Rendering of errors, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nexis_eval.cli.main import run
from nexis_eval.config.errors import ConfigErrors
from nexis_eval.config.load import load
from nexis_eval.diagnostics import as_json, as_sarif, render
from nexis_store.errors import NexisError, Place

BROKEN = '[system]\nhostnmae = "x"\n[[packages]]\nname = "a"\ndependencies = ["b"]\n'


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConfigErrors:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "system.toml").write_text(BROKEN)
    with pytest.raises(ConfigErrors) as caught:
        load(Path("system.toml"))
    return caught.value


def test_an_error_without_place_is_one_line_and_its_hint() -> None:
    assert render(NexisError("it broke", hint="mend it"), colour=False) == "error: it broke [E0001]\nhint: mend it"


def test_an_error_in_a_file_that_is_gone(tmp_path: Path) -> None:
    error = NexisError("it broke", place=Place(str(tmp_path / "gone.toml"), 3, 4))
    assert render(error, colour=False) == f"{tmp_path}/gone.toml:3:4: error: it broke [E0001]"


def test_a_place_beyond_the_end_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    assert render(NexisError("m", place=Place(str(path), 9, 9)), colour=False).count("\n") == 0
    assert "    | ^" not in render(NexisError("m", place=Place(str(path), 1, 9)), colour=False)


def test_colour_adds_escapes_and_nothing_else(broken: ConfigErrors) -> None:
    import re

    coloured = render(broken, colour=True)
    assert "\x1b[31;1m" in coloured
    assert re.sub("\x1b\\[[0-9;]*m", "", coloured) == render(broken, colour=False)


def test_a_file_cannot_steer_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("x\x1b[2J\u202ey")
    shown = render(NexisError("m", place=Place(str(path), 1, 1)), colour=False)
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_json(broken: ConfigErrors) -> None:
    first = as_json(broken.errors[0])
    assert first["code"] == "C0201"
    assert first["place"] == {"file": "system.toml", "line": 2, "column": 1, "length": 8}
    assert first["hint"] == "did you mean 'hostname'?"
    json.dumps([as_json(each) for each in broken.errors])


def test_sarif(broken: ConfigErrors) -> None:
    log = as_sarif(broken.errors, "1")
    (sarif_run,) = json.loads(json.dumps(log))["runs"]
    assert [each["ruleId"] for each in sarif_run["results"]] == ["C0201", "C0501"]
    rules = sarif_run["tool"]["driver"]["rules"]
    assert [rules[each["ruleIndex"]]["id"] for each in sarif_run["results"]] == ["C0201", "C0501"]
    region = sarif_run["results"][0]["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": 2, "startColumn": 1, "endColumn": 9}


@pytest.mark.usefixtures("broken")
def test_check_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check"]) == 2
    assert "2 errors" in capsys.readouterr().out
    assert run(["check", "--format", "json"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert report["valid"] is False
    assert [each["code"] for each in report["errors"]] == ["C0201", "C0501"]
    assert run(["check", "--format", "sarif"]) == 2
    assert json.loads(capsys.readouterr().out)["version"] == "2.1.0"
    assert run(["check", "--arch", "vax"]) == 2
    assert "unknown architecture" in capsys.readouterr().out
    Path("system.toml").write_text('[system]\nhostname = "x"\n')
    assert run(["check"]) == 0
    assert capsys.readouterr().out == "system.toml: no mistakes (x86_64, aarch64, riscv64: 1 file)\n"
    assert run(["check", "-q"]) == 0
    assert capsys.readouterr().out == ""
    assert run(["check", "--format", "json"]) == 0
    expected = {"valid": True, "errors": [], "lacking": [], "without_effect": [], "closed_ports": []}
    assert json.loads(capsys.readouterr().out) == expected


def test_check_evaluates_unless_it_is_to_be_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "system.toml").write_text(
        '[[packages]]\nname = "a"\nversion = "1"\nsource = "https://example.org/a.tar.gz"\n'
        f'hash = "sha256:{"0" * 64}"\nbuild_system = "mak"\n'
    )
    assert run(["check", "--quick", "."]) == 0
    capsys.readouterr()
    assert run(["check"]) == 2
    output = capsys.readouterr().out
    assert output.startswith("system.toml:6:16: error: ")
    assert "did you mean 'make'?" in output
    assert "no mistakes" not in output


def test_what_is_not_pinned_is_a_mistake_only_where_it_must_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table = '[[packages]]\nname = "{}"\nversion = "1"\nsource = "https://example.org/{}.tar.gz"\n'
    (tmp_path / "system.toml").write_text(table.format("a", "a") + table.format("b", "b"))
    assert run(["check"]) == 0
    assert capsys.readouterr().out.startswith("system.toml: note: 2 sources not pinned yet: run 'nexis-eval lock'\n")
    assert run(["check", "--strict"]) == 2
    assert capsys.readouterr().out.count("[E0401]") == 2
