"""A server for each test, and an environment without the user's store, passwords and proxies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nexis_eval.fetch import url
from tests.eval.fetch import servers


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "NETRC"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("NEXIS_STORE", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(url, "FIRST_DELAY_SECONDS", 0.01)


@pytest.fixture
def site() -> Iterator[servers.Site]:
    with servers.site() as running:
        yield running
