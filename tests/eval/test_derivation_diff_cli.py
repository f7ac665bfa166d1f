"""``nexis-eval derivation diff`` as a person uses it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nexis_eval.cli.main import run
from nexis_store.errors import NexisError

EXAMPLE = Path(__file__).parents[2] / "examples/minimal"


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLE, tmp_path / "changed")
    system = tmp_path / "changed/system.toml"
    system.write_text(system.read_text().replace('"--static"', '"--static", "--zprefix"'))
    return system


def test_a_changed_flag(changed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["derivation", "diff", str(EXAMPLE), str(changed), "--json"]) == 1
    value = json.loads(capsys.readouterr().out)
    (cause,) = value["causes"]
    assert cause["label"] == "zlib-1.2.13"
    assert cause["place"].startswith(f"{changed}:")
    assert [change["field"] for change in cause["changes"]] == ["script"]
    assert "iso" in value["follows"]


def test_a_target_that_the_change_does_not_reach(changed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["derivation", "diff", f"{EXAMPLE}#argon2", f"{changed}#argon2"]) == 0
    assert "is the same recipe on both sides" in capsys.readouterr().out


def test_a_record_of_a_build_in_whatever_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show-derivation", "--recursive", "--json", str(EXAMPLE), "zlib"]) == 0
    graph = json.loads(capsys.readouterr().out)
    graph["derivations"] = dict(reversed(graph["derivations"].items()))
    (tmp_path / "record.json").write_text(json.dumps({"graph": graph}))
    assert run(["derivation", "diff", str(tmp_path / "record.json"), f"{EXAMPLE}#zlib"]) == 0


def test_a_file_with_derivations(changed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show-derivation", "--recursive", "--json", str(EXAMPLE), "zlib"]) == 0
    (tmp_path / "zlib.json").write_text(capsys.readouterr().out)
    assert run(["derivation", "diff", str(tmp_path / "zlib.json"), f"{EXAMPLE}#zlib"]) == 0
    assert run(["derivation", "diff", str(tmp_path / "zlib.json"), f"{changed}#zlib"]) == 1
    assert "+  --static --zprefix" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("last", "last"), "both sides are what was last built"),
        (("{tmp}/a.json", "{example}"), "cannot read {tmp}/a.json: No such file or directory"),
        (("{tmp}/b.json", "{example}"), "{tmp}/b.json holds no derivations"),
        (("{tmp}/c.json", "{example}"), "{tmp}/c.json lacks what zlib-1.2.13 needs"),
        (("{tmp}/d.json", "{example}"), "{tmp}/d.json holds 0 derivations that no other needs"),
        (("{example}#nothing", "{example}"), "this system has no target 'nothing'"),
        (("last", "{example}"), "this store knows no build of 'minimal' for x86_64"),
    ],
)
def test_what_cannot_be_compared(
    words: tuple[str, str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "b.json").write_text('{"format": 1}')
    run(["show-derivation", "--json", str(EXAMPLE), "zlib"])
    (tmp_path / "c.json").write_text(capsys.readouterr().out)
    (tmp_path / "d.json").write_text('{"format": 1, "targets": {}, "derivations": {}}')
    before, after = (each.format(tmp=tmp_path, example=EXAMPLE) for each in words)
    with pytest.raises(NexisError) as caught:
        run(["derivation", "diff", before, after, "--store", str(tmp_path / "store")])
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(message.format(tmp=tmp_path))
