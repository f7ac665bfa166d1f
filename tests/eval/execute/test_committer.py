"""A step that is cancelled while what it left is being landed."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from nexis_eval.execute import committer
from nexis_eval.execute.committer import Committer, Landed
from nexis_store.digest import BuildKey, DerivationId
from nexis_store.realisation import Realisation
from nexis_store.store import Store

KEY = BuildKey.of(b"key")


def prepare(store: Store, out: Path, begun: threading.Event) -> Landed:
    part = store.prepare_directory(out, "x", normalise=False)
    begun.set()
    return (part,), Realisation(KEY, DerivationId(KEY), "x", {"out": part.digest})


def test_a_landing_that_takes_long_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "PATIENCE_SECONDS", 0.0)
    (tmp_path / "out").mkdir()
    begun = threading.Event()
    with Store.open(tmp_path / "store") as store:
        # Reading it would take minutes, and as much again on the disk nothing.
        status = os.statvfs(tmp_path)
        with open(tmp_path / "out/x", "wb") as file:
            file.truncate(status.f_bavail * status.f_frsize // 10 * 9)

        def land() -> Landed:
            begun.set()
            return prepare(store, tmp_path / "out", begun)

        async def work() -> None:
            async with Committer(store) as landing:
                task = asyncio.create_task(landing.commit(land))
                await asyncio.to_thread(begun.wait)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

        asyncio.run(work())
        assert list(store.artifacts()) == [] and store.realisation(KEY) is None
        assert not store.stopped.is_set()


def test_a_landing_that_is_nearly_over_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x").write_bytes(b"x")
    begun, go = threading.Event(), threading.Event()
    with Store.open(tmp_path / "store") as store:

        def land() -> Landed:
            begun.set()
            go.wait()
            return prepare(store, tmp_path / "out", begun)

        async def work() -> None:
            async with Committer(store) as landing:
                task = asyncio.create_task(landing.commit(land))
                await asyncio.to_thread(begun.wait)
                task.cancel()
                await asyncio.sleep(0)
                go.set()
                with pytest.raises(asyncio.CancelledError):
                    await task

        asyncio.run(work())
        assert store.realisation(KEY) is not None
