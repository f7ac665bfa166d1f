from __future__ import annotations

from collections.abc import Iterator

import pytest

from nexis_eval.evaluation import update


@pytest.fixture(autouse=True, scope="session")
def bugs_are_raised() -> Iterator[None]:
    """An edit that cannot be taken in because of a bug fails the test, and is not evaluated as a whole."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(update, "FALLBACK", update.MISTAKES)
        yield
