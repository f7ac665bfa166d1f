"""What 'pip install' puts on a machine is the whole engine: code, rules, templates, and it runs from there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
SOURCES = ("nexis_eval", "nexis_store", "rules", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md")
MAIN = "from nexis_eval.cli.main import main; raise SystemExit(main())"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The contents of the wheel, unpacked; made from a copy, since setuptools leaves its work beside the sources."""
    place = tmp_path_factory.mktemp("wheel")
    copy = place / "copy"
    copy.mkdir()
    for name in SOURCES:
        source = TOP / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    options = ("--disable-pip-version-check", "-q", "--no-deps", "--no-build-isolation", "--no-index")
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "-w", place, copy], check=True, cwd=place)
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place / "site")
    return place / "site"


def data_files(top: Path) -> set[str]:
    return {
        path.relative_to(top).as_posix()
        for path in top.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }


def test_every_data_file_is_installed(installed: Path) -> None:
    for package in ("nexis_eval", "nexis_store"):
        assert data_files(TOP / package) <= data_files(installed / package)
    rules = installed / "nexis_eval/rules"
    assert data_files(TOP / "rules") == data_files(rules)
    for name in data_files(rules):
        assert (rules / name).read_bytes() == (TOP / "rules" / name).read_bytes(), name


def test_it_runs_from_where_it_is_installed(installed: Path) -> None:
    facts = (
        "import nexis_eval.places, nexis_eval.repro.tools as tools\n"
        "from nexis_eval.toolchain import load_toolchain\n"
        "print(nexis_eval.places.RULES)\n"
        "tools.tool_graph(load_toolchain(nexis_eval.places.RULES))\n"
    )
    assert ran(installed, "-c", facts).stdout == f"{installed / 'nexis_eval/rules'}\n"
    done = ran(installed, "-c", MAIN, "targets", TOP / "examples/minimal", "--locked")
    assert any(line.startswith("busybox") for line in done.stdout.splitlines()), done.stderr


def ran(installed: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": str(installed), "XDG_CACHE_HOME": str(installed.parent / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done
