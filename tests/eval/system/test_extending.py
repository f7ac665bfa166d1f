"""The changes that docs/extending.md shows are in the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
_BLOCK = re.compile(r"```diff\n\+\+\+ (\S+)\n(.*?)```", re.DOTALL)
CHANGES = _BLOCK.findall((ROOT / "docs/extending.md").read_text())


@pytest.mark.parametrize(("file", "change"), CHANGES, ids=[file for file, _ in CHANGES])
def test_the_change_was_made(file: str, change: str) -> None:
    text = (ROOT / file).read_text()
    for hunk in change.split("@@\n"):
        lines = hunk.splitlines(keepends=True)
        assert all(line[0] in "+ " for line in lines)
        assert "".join(line[1:] for line in lines) in text


def test_a_section_is_four_pieces() -> None:
    section = (ROOT / "docs/extending.md").read_text().partition("## A section")[2].partition("\n## ")[0]
    assert [file for file, _ in _BLOCK.findall(section)] == [
        "nexis_eval/config/settings.py",
        "nexis_eval/config/model.py",
        "nexis_eval/system/swap.py",
        "nexis_eval/system/parts.py",
    ]
