"""docs/store-library.md shows how to embed the store: its examples are one program, and it runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_examples_run(tmp_path: Path) -> None:
    page = (ROOT / "docs/store-library.md").read_text()
    examples = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(examples) > 5
    program = tmp_path / "program.py"
    program.write_text("\n".join(examples))
    done = subprocess.run(
        [sys.executable, "-W", "error", program],
        cwd=tmp_path,
        env={**os.environ, "MY_STORE": str(tmp_path / "store"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "usr/bin/hello f 21" in done.stdout and "the store has no" in done.stdout


def test_the_types_are_there_for_programs_that_use_the_library() -> None:
    assert resources.files("nexis_store").joinpath("py.typed").is_file()
