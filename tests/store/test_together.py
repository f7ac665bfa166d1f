"""Several artifacts and what they are the results of, committed as one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nexis_store import fs
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.errors import NotInStoreError
from nexis_store.realisation import Realisation
from nexis_store.store import Store
from nexis_store.together import Part


def part(store: Store, directory: Path, name: str, text: str, references: tuple[TreeDigest, ...] = ()) -> Part:
    place = directory / name
    (place / "usr/share").mkdir(parents=True)
    (place / "usr/share/file").write_text(text)
    return store.prepare_directory(place, name, references=references)


def result(name: str, *parts: Part) -> tuple[tuple[Part, ...], Realisation]:
    outputs = {f"out{index}" if index else "out": each.digest for index, each in enumerate(parts)}
    return parts, Realisation(BuildKey.of(name.encode()), DerivationId.of(name.encode()), name, outputs)


def test_many_builds_cost_two_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(tmp_path / "store") as store:
        builds = [result(f"b{n}", part(store, tmp_path, f"b{n}", f"content {n}" * 500)) for n in range(5)]
        assert list(store.artifacts()) == []
        calls: list[str] = []
        monkeypatch.setattr(fs, "intercept", lambda call, _: calls.append(call))
        store.record_together(builds)
        monkeypatch.undo()
        assert [call for call in calls if "sync" in call] == ["syncfs", "fdatasync"]
        for parts, realisation in builds:
            assert store.realisation(realisation.key) == realisation
            assert (store.path(parts[0].digest) / "usr/share/file").stat().st_mode & 0o777 == 0o444
        assert os.listdir(store.layout.staging) == []
        assert not list(store.verify(contents=True))
        # The contents are offered to later artifacts.
        with store.writer("again") as writer:
            writer.file("copy", b"content 3" * 500)
            again = writer.commit()
        shared = store.path(builds[3][0][0].digest) / "usr/share/file"
        assert (again.path / "copy").stat().st_ino == shared.stat().st_ino


def test_equal_outputs_of_two_builds_are_one_artifact(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        one, two = part(store, tmp_path, "one", "same"), part(store, tmp_path, "two", "same")
        store.record_together([result("one", one), result("two", two)])
        assert one.digest == two.digest
        assert len(list(store.artifacts())) == 1
        assert os.listdir(store.layout.staging) == []


def test_all_or_none(tmp_path: Path) -> None:
    """One that refers to what is not there takes the others along, and nothing of them is left."""
    with Store.open(tmp_path / "store") as store:
        good = part(store, tmp_path, "good", "good")
        bad = part(store, tmp_path, "bad", "bad", (TreeDigest.of(b"nowhere"),))
        with pytest.raises(NotInStoreError, match="bad refers to"):
            store.record_together([result("good", good), result("bad", bad)])
        assert list(store.artifacts()) == []
        assert store.realisation(BuildKey.of(b"good")) is None
        assert os.listdir(store.layout.staging) == []
        assert not list(tmp_path.glob("store/[0-9a-f][0-9a-f]/*/*"))
