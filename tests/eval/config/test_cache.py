"""The evaluation cache: right or silent."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nexis_eval.config.cache import EvaluationCache, Request, program_files
from nexis_eval.config.check import local_paths
from nexis_eval.config.load import load_with_origins

OLD = time.time() - 1000


@pytest.fixture
def system(tmp_path: Path) -> Path:
    root = tmp_path / "system"
    (root / "parts").mkdir(parents=True)
    for name, text in {
        "system.toml": 'includes.paths = ["parts", "more/*.toml", "one.toml"]\n',
        "one.toml": '[[packages]]\nname = "a"\npatches = ["fix.patch"]\n',
        "parts/a.toml": '[system]\nhostname = "a"\n',
        "more/b.toml": "",
        "fix.patch": "x",
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
        os.utime(root / name, (OLD, OLD))
    return root


@pytest.fixture
def cache(system: Path, tmp_path: Path) -> EvaluationCache:
    cache = EvaluationCache(tmp_path / "cache")
    remember(cache, system)
    return cache


def request(system: Path) -> Request:
    return Request(system / "system.toml", "x86_64")


def remember(cache: EvaluationCache, system: Path, during: Callable[[], object] = lambda: None) -> None:
    began = time.time_ns()
    config, origins = load_with_origins(system / "system.toml")
    files = [*config.files, *(local.path for local, _, _ in local_paths(config)), system / "nexis.lock"]
    during()
    cache.put(request(system), began, origins.listings, files, b"summary", b"graph\nbytes")


def test_nothing_changed(cache: EvaluationCache, system: Path) -> None:
    known = cache.get(request(system))
    assert known is not None
    assert [known.part(number) for number in range(2)] == [b"summary", b"graph\nbytes"]


def test_an_edit_while_evaluating_is_not_taken_for_what_was_read(system: Path, tmp_path: Path) -> None:
    def edit() -> None:
        time.sleep(0.02)  # longer than a tick of the clock that stamps files
        (system / "one.toml").write_text("")

    cache = EvaluationCache(tmp_path / "other")
    remember(cache, system, edit)
    assert cache.find(request(system)) is None
    remember(cache, system)
    assert cache.get(request(system)) is not None


def test_touching_is_no_change(cache: EvaluationCache, system: Path) -> None:
    os.utime(system / "one.toml")
    assert cache.get(request(system)) is not None


@pytest.mark.parametrize("name", ["system.toml", "one.toml", "parts/a.toml", "more/b.toml", "fix.patch"])
def test_any_file_that_was_read(cache: EvaluationCache, system: Path, name: str) -> None:
    text = (system / name).read_text()
    (system / name).write_text(text + "#")
    assert cache.get(request(system)) is None
    (system / name).write_text(text)
    assert cache.get(request(system)) is not None
    (system / name).unlink()
    assert cache.get(request(system)) is None


@pytest.mark.parametrize("name", ["parts/c.toml", "more/c.toml", "nexis.lock"])
def test_a_file_that_is_new(cache: EvaluationCache, system: Path, name: str) -> None:
    (system / name).write_text("")
    assert cache.get(request(system)) is None


def test_a_new_file_that_no_pattern_matches(cache: EvaluationCache, system: Path) -> None:
    (system / "parts/readme.md").write_text("")
    assert cache.get(request(system)) is not None


def test_a_change_in_the_same_moment_is_seen(system: Path, tmp_path: Path) -> None:
    cache = EvaluationCache(tmp_path / "cache")
    path = system / "one.toml"
    path.write_text(path.read_text())
    remember(cache, system)
    found = path.stat()
    path.write_text(path.read_text().replace("fix", "gix"))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert cache.get(request(system)) is None


def test_other_requests(cache: EvaluationCache, system: Path) -> None:
    file = system / "system.toml"
    for other in (
        Request(file, "riscv64"),
        Request(file, "x86_64", ("p",)),
        Request(file, "x86_64", (), ("p",)),
        Request(system / "one.toml", "x86_64"),
    ):
        assert cache.get(other) is None


@pytest.mark.parametrize("data", [b"", b"nonsense", b"x" * 32 + b"\0\0\0\1N", b"x" * 32 + b"\xff\xff\xff\xff"])
def test_damage_is_no_answer(cache: EvaluationCache, system: Path, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "cache" / request(system).name()).write_bytes(data)
    assert cache.find(request(system)) is None


@pytest.mark.parametrize("place", [0, 33, 40, 200])
def test_a_damaged_head_is_no_answer(cache: EvaluationCache, system: Path, tmp_path: Path, place: int) -> None:
    path = tmp_path / "cache" / request(system).name()
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert cache.find(request(system)) is None


def test_a_damaged_part_is_no_answer(cache: EvaluationCache, system: Path, tmp_path: Path) -> None:
    path = tmp_path / "cache" / request(system).name()
    path.write_bytes(path.read_bytes()[:-1])
    known = cache.get(request(system))
    assert known is not None
    assert (known.part(0), known.part(1)) == (b"summary", None)


def test_it_says_what_changed(cache: EvaluationCache, system: Path) -> None:
    (system / "one.toml").write_text("")
    (system / "fix.patch").unlink()
    known = cache.find(request(system))
    assert known is not None
    assert known.changed() == [str(system / "one.toml"), str(system / "fix.patch")]
    assert known.same_listings()


def test_the_program_is_part_of_it() -> None:
    assert Path(__file__).parents[3] / "nexis_eval/config/load.py" in program_files()


def test_another_installation_keeps_records_of_its_own(monkeypatch: pytest.MonkeyPatch, system: Path) -> None:
    request = Request(system, "x86_64")
    name = request.name()
    monkeypatch.setattr("nexis_eval.config.cache._PROGRAM", "/elsewhere/nexis_eval/config/cache.py")
    assert request.name() != name
