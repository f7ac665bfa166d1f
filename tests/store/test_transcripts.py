"""The transcripts of ``docs/commands/nexis-store.md`` are what the commands print, one after another in one place."""

from __future__ import annotations

import re
from pathlib import Path

from nexis_store.cli.main import COMMANDS
from tests.transcripts import commands_of, transcript

PAGE = Path(__file__).parents[2] / "docs/commands/nexis-store.md"
_BLOCK = re.compile(r"(?<=^```console\n)(.*?)(?=^```$)", re.DOTALL | re.MULTILINE)


def test_transcripts(tmp_path: Path, accept: bool) -> None:
    text = PAGE.read_text()
    found = _BLOCK.sub(lambda match: transcript(commands_of(match[1]), tmp_path, tmp_path / "store"), text)
    if accept:
        PAGE.write_text(found)
    assert PAGE.read_text() == found


def test_every_command_has_a_section_and_is_shown_at_work() -> None:
    text = PAGE.read_text()
    shown = "".join(_BLOCK.findall(text))
    for command in COMMANDS:
        assert f"\n## {command}\n" in text
        assert re.search(rf"^\$ .*nexis-store {command}\b", shown, re.MULTILINE), command
