"""Every reader accepts what it should, answers what was found before, and what is damaged in the plainest ways."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.explore import FINDS
from tests.fuzz.mutation import mutated
from tests.fuzz.readers import READERS, ROOT, Reader, allowed

EXAMPLES = 40


def read(reader: Reader, data: bytes, directory: Path) -> None:
    directory.mkdir()
    try:
        reader.read(data, directory)
    except Exception as error:
        if not allowed(reader, error):
            raise


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_seeds_are_accepted(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "seeds").mkdir()
    seeds = reader.seeds(tmp_path / "seeds")
    if not seeds:
        pytest.skip("the tool that makes its seeds is not installed")
    accepted = 0
    for number, seed in enumerate(seeds):
        (tmp_path / str(number)).mkdir()
        try:
            reader.read(seed, tmp_path / str(number))
        except Exception as error:
            assert allowed(reader, error), error
        else:
            accepted += 1
    assert accepted, "no seed is accepted: changes to them would find nothing"


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_damage_is_answered(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "seeds").mkdir()
    seeds = reader.seeds(tmp_path / "seeds")
    if not seeds:
        pytest.skip("the tool that makes its seeds is not installed")
    rng = random.Random(reader.name)
    for number in range(EXAMPLES):
        read(reader, mutated(rng, seeds), tmp_path / f"mutant-{number}")


@pytest.mark.parametrize("path", sorted(FINDS.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_was_found_stays_cured(path: Path, tmp_path: Path) -> None:
    reader = next(reader for reader in READERS if reader.name == path.parent.name)
    read(reader, path.read_bytes(), tmp_path / "place")


def test_the_explorer_explores() -> None:
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.explore",
        "--minutes",
        "0.02",
        "--jobs",
        "1",
        "--seed",
        "1",
        "url-template",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "url-template" in done.stdout and " 0 finds" in done.stdout
