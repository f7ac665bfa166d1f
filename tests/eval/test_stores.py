"""``[store] profile`` decides what a store is made with, and says how to change one that is there."""

from __future__ import annotations

import argparse
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from nexis_eval.cli import stores
from nexis_eval.cli.evaluation import evaluate
from nexis_store.maintenance import backend_of, migrate
from nexis_store.store import Store

ROOT = Path(__file__).parents[2]


def arguments(tmp_path: Path, profile: str = "", *overrides: str) -> argparse.Namespace:
    file = tmp_path / "system.toml"
    if not file.exists():
        shutil.copytree(ROOT / "examples/minimal", tmp_path, dirs_exist_ok=True)
    text = (ROOT / "examples/minimal/system.toml").read_text()
    file.write_text(text + (f'\n[store]\nprofile = "{profile}"\n' if profile else ""))
    return argparse.Namespace(
        file=file, arch="x86_64", profile=[], overrides=list(overrides), store=tmp_path / "store", locked=True
    )


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def profile_of(args: argparse.Namespace) -> str:
    return evaluate(args).summary.store_profile


def open_store(args: argparse.Namespace) -> Store:
    return stores.open_store(args, profile_of(args))


def store_to_ask(args: argparse.Namespace) -> AbstractContextManager[Store]:
    return stores.store_to_ask(args, profile_of(args))


def backend(store: Store) -> str:
    with store:
        return backend_of(store.layout)


@pytest.mark.parametrize(("profile", "expected"), [("desktop", "lmdb"), ("server", "rocksdb")])
def test_a_new_store_is_made_as_configured(tmp_path: Path, profile: str, expected: str) -> None:
    assert backend(open_store(arguments(tmp_path, profile))) == expected


def test_a_switch_on_the_command_line_counts(tmp_path: Path) -> None:
    assert backend(open_store(arguments(tmp_path, "", "store.profile=server"))) == "rocksdb"


def test_a_store_that_is_there_keeps_its_backend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backend(open_store(arguments(tmp_path, "desktop"))) == "lmdb"
    assert capsys.readouterr().err == ""
    with open_store(arguments(tmp_path, "server")) as store:
        assert backend_of(store.layout) == "lmdb"
        assert "'nexis-store migrate --to rocksdb' moves them" in capsys.readouterr().err
        migrate(store.layout, store.database, "rocksdb")
    assert backend(open_store(arguments(tmp_path, "server"))) == "rocksdb"
    assert backend(open_store(arguments(tmp_path, "auto"))) == "rocksdb"
    assert backend(open_store(arguments(tmp_path))) == "rocksdb"
    assert capsys.readouterr().err == ""


def test_who_only_asks_makes_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with store_to_ask(arguments(tmp_path)) as store:
        assert list(store.roots()) == []
    assert "there is no store at" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()
    backend(open_store(arguments(tmp_path)))
    with store_to_ask(arguments(tmp_path)) as store:
        assert store.root == tmp_path / "store"
    assert capsys.readouterr().err == ""


def test_an_include_may_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backend(open_store(arguments(tmp_path, "desktop"))) == "lmdb"
    given = arguments(tmp_path)
    (tmp_path / "deep").mkdir()
    system = tmp_path / "system.toml"
    system.write_text('includes.paths = ["deep"]\n' + system.read_text())
    (tmp_path / "deep/more.toml").write_text("[arch.x86_64.includes]\npaths = [\n  '../store.inc',\n]\n")
    # The words of a setting in a text of several lines, or in a comment, set nothing.
    (tmp_path / "store.inc").write_text('# profile of the store\nstore.profile = "server"\n')
    assert backend(open_store(given)) == "lmdb"
    assert "'nexis-store migrate --to rocksdb' moves them" in capsys.readouterr().err
