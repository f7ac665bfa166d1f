from __future__ import annotations

from pathlib import Path

import pytest

from tests.eval.sandbox.rooms import Room, require_sandbox


@pytest.fixture
def room(tmp_path: Path) -> Room:
    require_sandbox()
    return Room.make(tmp_path)
