"""The transcripts of ``docs/commands/nexis-store.md`` are what the commands print, one after another in one place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from nexis_store.cli.main import COMMANDS

PAGE = Path(__file__).parents[2] / "docs/commands/nexis-store.md"
_BLOCK = re.compile(r"(?<=^```console\n)(.*?)(?=^```$)", re.DOTALL | re.MULTILINE)


def transcript(commands: list[str], directory: Path) -> str:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "NEXIS_STORE": str(directory / "store"),
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "100",
    }
    lines = []
    for command in commands:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        lines += [f"$ {command}\n", done.stdout.replace(str(directory), ".")]
    return "".join(lines)


def test_transcripts(tmp_path: Path, accept: bool) -> None:
    text = PAGE.read_text()
    found = _BLOCK.sub(lambda match: transcript(re.findall(r"^\$ (.*)$", match[1], re.MULTILINE), tmp_path), text)
    if accept:
        PAGE.write_text(found)
    assert PAGE.read_text() == found


def test_every_command_has_a_section_and_is_shown_at_work() -> None:
    text = PAGE.read_text()
    shown = "".join(_BLOCK.findall(text))
    for command in COMMANDS:
        assert f"\n## {command}\n" in text
        assert re.search(rf"^\$ .*nexis-store {command}\b", shown, re.MULTILINE), command
