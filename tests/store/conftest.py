"""A store in a directory of its own."""

from __future__ import annotations

import ctypes  # noqa: F401  # Libraries that are imported late, to which somebody else may have no way.
import os
import pickle  # noqa: F401
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import nexis_store.metadata.rocksdb  # noqa: F401
from nexis_store.store import Store
from tests.crash.children import in_child

SOMEBODY = 65534


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that belongs to ``somebody`` and that everybody can reach."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        if os.geteuid() == 0:
            os.chown(path, SOMEBODY, SOMEBODY)
        yield Path(path)


def somebody(body: Callable[[], None]) -> None:
    """Run ``body`` in a child as a user whom permissions bind, as they do not bind root."""

    def bound() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(SOMEBODY)
            os.setuid(SOMEBODY)
        body()

    status, output = in_child(bound)
    assert status == 0, output


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as opened:
        yield opened
        assert list(opened.verify(contents=True)) == []
