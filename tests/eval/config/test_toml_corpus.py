"""The public conformance corpus of TOML (https://github.com/toml-lang/toml-test), if it is there.

Set TOML_TEST to its directory ``tests``. Every valid file has to give the values of tomli with a place for each, every
invalid one an error of ours with a place.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tomli

from nexis_eval.config import plain, toml
from nexis_eval.config.errors import ConfigError

from .test_positions import check

CORPUS = os.environ.get("TOML_TEST")
pytestmark = [pytest.mark.peers, pytest.mark.skipif(CORPUS is None, reason="TOML_TEST does not name the corpus")]


def files(kind: str) -> list[Path]:
    root = Path(CORPUS or ".")
    listed = (root / "files-toml-1.1.0").read_text().split()
    return [root / name for name in listed if name.startswith(kind) and name.endswith(".toml")]


def test_valid_files_are_read_and_every_value_has_its_place() -> None:
    for path in files("valid/"):
        text = toml.decode(path.read_bytes(), "x")
        values = plain.read(text)
        assert values is None or values == tomli.loads(text), path
        check(text)


def test_invalid_files_are_refused_with_a_place() -> None:
    for path in files("invalid/"):
        with pytest.raises(ConfigError) as caught:
            toml.parse(toml.decode(path.read_bytes(), "x"), "x")
        assert caught.value.place is not None, path
        assert caught.value.place.line >= 1, path
        assert caught.value.hint, path
