"""The script that rotates logs, run for real; its table is a part's (test_parts)."""

from __future__ import annotations

import gzip
import subprocess
import time
from pathlib import Path

import pytest

from nexis_eval.system.templates import text


class Rotation:
    def __init__(self, directory: Path) -> None:
        self.log = directory / "log dir" / "x.log"
        self.log.parent.mkdir()
        self.rules = directory / "rules"
        self.state = directory / "state"
        self.script = directory / "rotate-logs"
        self.script.write_text(text("rotate-logs"))

    def run(self, rule: str) -> list[str]:
        self.rules.write_text(f"# a comment\n\n{rule}\n")
        done = subprocess.run(
            ["sh", str(self.script), str(self.rules), str(self.state)], capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return sorted(each.name for each in self.log.parent.iterdir())


@pytest.fixture
def rotation(tmp_path: Path) -> Rotation:
    return Rotation(tmp_path)


def test_rotates_what_is_larger_and_keeps_as_many_as_it_should(rotation: Rotation) -> None:
    for number in range(5):
        rotation.log.write_text(f"{number}" * 200)
        names = rotation.run(f"100 3 0 0 {rotation.log}")
    assert names == ["x.log", "x.log.1", "x.log.2", "x.log.3"]
    assert rotation.log.read_text() == ""
    assert [(rotation.log.parent / f"x.log.{n}").read_text()[0] for n in (1, 2, 3)] == ["4", "3", "2"]


def test_leaves_alone_what_is_small(rotation: Rotation) -> None:
    rotation.log.write_text("x" * 100)
    assert rotation.run(f"100 3 0 0 {rotation.log}") == ["x.log"]


def test_compresses(rotation: Rotation) -> None:
    rotation.log.write_text("x" * 200)
    assert rotation.run(f"100 3 1 0 {rotation.log}") == ["x.log", "x.log.1.gz"]
    assert gzip.decompress((rotation.log.parent / "x.log.1.gz").read_bytes()) == b"x" * 200


def test_rotates_by_age(rotation: Rotation) -> None:
    rotation.log.write_text("x")
    assert rotation.run(f"0 3 0 1 {rotation.log}") == ["x.log"]
    (stamp,) = rotation.state.iterdir()
    stamp.write_text(f"{int(time.time()) - 86401}\n")
    assert rotation.run(f"0 3 0 1 {rotation.log}") == ["x.log", "x.log.1"]


def test_a_directory_stands_for_the_logs_in_it(rotation: Rotation) -> None:
    rotation.log.write_text("x" * 200)
    rotation.log.with_name("y.log").write_text("y" * 200)
    assert rotation.run(f"100 2 0 0 {rotation.log.parent}") == ["x.log", "x.log.1", "y.log", "y.log.1"]
    # What was rotated is not a log itself.
    assert rotation.run(f"100 2 0 0 {rotation.log.parent}") == ["x.log", "x.log.1", "y.log", "y.log.1"]


def test_the_writer_goes_on_writing(rotation: Rotation) -> None:
    with rotation.log.open("a") as writer:
        writer.write("x" * 200)
        writer.flush()
        rotation.run(f"100 3 0 0 {rotation.log}")
        writer.write("after")
    assert rotation.log.read_text() == "after"
