from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from nexis_store.cli.common import human_size, parse_duration, parse_size
from nexis_store.cli.main import COMMANDS, run
from nexis_store.errors import NexisError
from nexis_store.store import Store
from tests.store.test_store import add


@pytest.fixture
def sample(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("NEXIS_STORE", str(store.root))
    one = add(store, "one", {"usr/bin/one": b"one" * 500, "usr/share/text": b"hello\n"})
    two = add(store, "two", {"usr/bin/two": b"two"}, (one.digest,))
    store.set_root("top", two.digest)
    add(store, "loose", {"usr/bin/one": b"ONE!", "usr/share/text": b"hello\n"})
    store.session.close()
    return store


def out(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert run(arguments) == code
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_worth_reading(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "exit codes" in text and len(text) > 500


def test_general_help_and_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0 and run([]) == 2 and run(["--version"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)
    assert run(["lss"]) == 2
    assert "did you mean 'ls'" in capsys.readouterr().err


def test_looking(sample: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert [line.split()[-1] for line in out(capsys, "ls").splitlines()] == ["loose", "one", "two"]
    assert "usr/share/text" in out(capsys, "ls", "one")
    assert json.loads(out(capsys, "ls", "one", "--json"))[2]["path"] == "usr/bin/one"
    assert "references" in out(capsys, "info", "two")
    assert json.loads(out(capsys, "info", "two", "--json"))["name"] == "two"
    assert out(capsys, "cat", "one", "usr/share/text") == "hello\n"
    assert out(capsys, "tree", "two").splitlines()[1].startswith("└── one ")
    assert out(capsys, "references", "two").split()[-1] == "one"
    assert out(capsys, "referrers", "one").split()[-1] == "two"
    assert [line.split()[-1] for line in out(capsys, "closure", "two").splitlines()] == ["two", "one"]
    assert out(capsys, "why-alive", "one") == "top: two -> one\n"
    assert "no root keeps loose" in out(capsys, "why-alive", "loose", code=1)
    assert out(capsys, "diff", "one", "loose", code=1) == "~ usr/bin/one (1500 became 4 bytes)\n"
    assert out(capsys, "diff", "one", "one") == ""
    assert "two" in out(capsys, "du", "--closure", "two")
    assert json.loads(out(capsys, "stats", "--json"))["artifacts"] == 3


def test_roots(sample: Store, capsys: pytest.CaptureFixture[str]) -> None:
    out(capsys, "roots", "--set", "more/one", "one")
    assert set(json.loads(out(capsys, "roots", "--json"))) == {"top", "more/one"}
    out(capsys, "roots", "--remove", "top")
    assert out(capsys, "roots").split()[0] == "more/one"


def test_collecting(sample: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert "would remove 1 artifact," in out(capsys, "gc", "--dry-run")
    assert json.loads(out(capsys, "gc", "--json"))["collected"] == 1
    assert "removed 0 artifacts" in out(capsys, "gc")
    add(sample, "more", {"more": b""})
    sample.session.close()
    assert "being freed" in out(capsys, "gc", "--background")
    deadline = time.monotonic() + 60
    while os.listdir(sample.layout.trash):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert out(capsys, "gc", "--empty-trash") == "freed 0 B\n"


def test_adding(sample: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/file").write_text("x")
    digest = out(capsys, "add", str(tmp_path / "tree"), "--root", "added").strip()
    assert str(sample.roots()["added"]) == digest
    found = json.loads(out(capsys, "add", str(tmp_path / "tree/sub/file"), "--json"))
    assert (Path(found["path"]) / "file").read_text() == "x"


def test_verifying_and_repairing(sample: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert out(capsys, "verify", "--contents", "--refcounts").endswith("no problems\n")
    one = sample.path(sample.find("one"))
    good = (one / "usr/share/text").stat().st_ino
    loose = sample.path(sample.find("loose"))
    text = loose / "usr/share/text"
    text.unlink()
    text.write_bytes(b"HELLO\n")
    (one / "usr/bin/one").unlink()
    problems = out(capsys, "verify", "--contents", code=4)
    assert "damaged" in problems and "missing" in problems
    assert "2 problems" in problems
    repaired = out(capsys, "verify", "--contents", "--repair")
    assert repaired.count("repaired: ") == 2 and repaired.endswith("no problems\n")
    assert text.read_bytes() == b"hello\n" and (one / "usr/bin/one").read_bytes() == b"one" * 500
    assert (one / "usr/share/text").stat().st_ino == good


def test_errors_are_messages(sample: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(NexisError, match="has no 'nothing'"):
        run(["info", "nothing"])
    monkeypatch.setenv("NEXIS_STORE", str(tmp_path / "none"))
    with pytest.raises(NexisError, match="there is no store"):
        run(["ls"])


def test_units() -> None:
    assert [human_size(each) for each in (0, 999, 1024, 5 << 20, 3 << 40)] == [
        "0 B", "999 B", "1.0 KiB", "5.0 MiB", "3.0 TiB",
    ]  # fmt: skip
    assert parse_size("500M") == 500 << 20 and parse_size("2GiB") == 2 << 30 and parse_size("17") == 17
    assert parse_duration("30d") == 30 * 86400 * 10**9
