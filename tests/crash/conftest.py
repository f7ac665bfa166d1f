"""Where the crash tests put what they make, and what none of them may do."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A directory that costs no disk: what is killed a thousand times need not be written to one."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as directory:
        yield Path(directory)


@pytest.fixture(autouse=True)
def no_database_in_this_process() -> Iterator[None]:
    """Tests that run after one that opened RocksDB here would wait forever in their first child."""
    before = "rocksdict" in sys.modules
    yield
    assert before or "rocksdict" not in sys.modules, "open the store in a child: tests.crash.children"
