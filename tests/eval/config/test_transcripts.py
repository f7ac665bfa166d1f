"""The transcripts in ``docs/commands`` are what the commands print.

A block after ``<!-- transcript in DIRECTORY -->`` is run by a shell, line by line, in a copy of that directory.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    page for page in (ROOT / "docs/commands").glob("*.md") if "<!-- transcript in " in page.read_text(encoding="utf-8")
)
_BLOCK = re.compile(r"(<!-- transcript in (\S+) -->\n```console\n)(.*?)(?=^```$)", re.DOTALL | re.MULTILINE)


def transcript(commands: list[str], directory: Path) -> str:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "NO_COLOR": "1",
        "COLUMNS": "100",
        "LC_ALL": "C.UTF-8",
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


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_transcripts(page: Path, tmp_path: Path, accept: bool) -> None:
    text = page.read_text()

    def run(match: re.Match[str]) -> str:
        directory = tmp_path / f"at{match.start()}"
        shutil.copytree(ROOT / match[2], directory)
        return match[1] + transcript(re.findall(r"^\$ (.*)$", match[3], re.MULTILINE), directory)

    found = _BLOCK.sub(run, text)
    if accept:
        page.write_text(found)
    assert page.read_text() == found
