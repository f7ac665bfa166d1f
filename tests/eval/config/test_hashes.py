"""Hashes: placeholders load and are refused where they are needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexis_eval.config.errors import ConfigErrors
from nexis_eval.config.hashes import declared_hash
from nexis_eval.config.load import load
from nexis_eval.diagnostics import render

SPEC = Path(__file__).parent / "spec"


def test_a_placeholder_is_refused_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SPEC)
    config = load(Path("system.toml"))
    with pytest.raises(ConfigErrors) as caught:
        declared_hash(config, config.packages["libpng"].hash or "", ("packages", "libpng", "hash"))
    assert (
        render(caught.value, colour=False)
        == """\
system.toml:62:8: error: a hash is needed here, and 'sha256:abc123...' is only a placeholder [C0513]
  62 | hash = "sha256:abc123..."
     |        ^^^^^^^^^^^^^^^^^^
hint: write the whole digest, or delete the key and run 'nexis-eval lock'"""
    )


def test_a_whole_digest() -> None:
    config = load(SPEC / "system.toml")
    assert declared_hash(config, "sha256:" + "0" * 64, ("packages", "libpng", "hash")) == ("sha256", "0" * 64)
