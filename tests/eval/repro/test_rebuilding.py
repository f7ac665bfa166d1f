"""The example system built again from its record and the sources alone: the same ISO."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nexis_store.store import default_store_root
from tests.eval.sandbox.rooms import require_sandbox

MINIMAL = Path("examples/minimal").resolve()


def repro(directory: Path, *arguments: object, store: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("nexis-eval"), "repro", *map(str, arguments)],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NEXIS_STORE": str(store)},
    )


@pytest.mark.slow
def test_the_minimal_system_from_its_record_alone(tmp_path: Path) -> None:
    """In an empty store and an empty directory; the files that come out are those that the provenance names."""
    require_sandbox()
    recorded, elsewhere = tmp_path / "recorded", tmp_path / "elsewhere"
    recorded.mkdir()
    elsewhere.mkdir()
    done = repro(
        recorded, "record", MINIMAL, "-o", "record.json", "--provenance", "provenance.json", store=default_store_root()
    )
    assert done.returncode == 0, done.stderr
    (recorded / "record.json").rename(elsewhere / "record.json")
    arguments = ("rebuild", "record.json", "--result", "result", "-o", "report.json")
    done = repro(elsewhere, *arguments, store=tmp_path / "empty")
    assert done.returncode == 0, done.stderr
    report = json.loads((elsewhere / "report.json").read_text())
    assert (report["result"], report["exit_code"]) == ("the same", 0)
    subjects = json.loads((recorded / "provenance.json").read_text())["subject"]
    assert "nexisos-x86_64.iso" in {each["name"] for each in subjects}
    for each in subjects:
        content = (elsewhere / "result" / each["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == each["digest"]["sha256"], each["name"]
    assert not list((tmp_path / "empty").glob("*/*/*")), "the store of the rebuild is gone, the one it lay in is empty"
