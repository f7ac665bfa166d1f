"""The JSON Schema in the engine of real TOML editors: taplo, which is also that of Even Better TOML in VS Code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from nexis_eval.config import reference
from tests.eval.config.test_reference import BAD, GOOD, ROOT, SPEC

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(shutil.which("taplo") is None, reason="taplo is not installed: npm install -g @taplo/cli"),
]


def refused(files: Iterable[Path], directory: Path) -> set[Path]:
    """The files in which taplo finds a mistake."""
    schema = directory / "nexis.schema.json"
    schema.write_text(json.dumps(reference.json_schema()))
    command = ["taplo", "lint", "--colors", "never", "--no-auto-config", "--schema", schema.as_uri(), *map(str, files)]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    found = {Path(path) for path in re.findall(r'invalid file error=.* path="(.*)"', done.stdout + done.stderr)}
    assert (done.returncode != 0) == bool(found), done.stderr
    return found


def written(texts: Iterable[str], directory: Path) -> list[Path]:
    files = []
    for number, text in enumerate(texts):
        file = directory / f"{number}.toml"
        file.write_text(f"{text}\n")
        files.append(file)
    return files


def test_it_accepts_what_is_right(tmp_path: Path) -> None:
    examples = [*ROOT.glob("examples/*/*.toml"), SPEC / "system.toml", *SPEC.glob("packages/*.toml")]
    assert len(examples) > 8
    assert refused([*written(GOOD, tmp_path), *examples], tmp_path) == set()


def test_it_refuses_what_is_wrong(tmp_path: Path) -> None:
    files = written(BAD, tmp_path)
    assert refused(files, tmp_path) == set(files)
