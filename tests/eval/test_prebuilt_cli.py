"""The specification's vim as a person meets it: ``nexis-eval lock`` and ``build``, what they print, what is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nexis_eval.cli.main import run
from nexis_eval.evaluation import directories, whole
from nexis_eval.packages.errors import PackageError
from nexis_store.cli.main import run as run_store
from tests.eval.fetch.servers import Site
from tests.eval.roots import RULE_TOOLS, make_rules
from tests.eval.sandbox.rooms import require_sandbox
from tests.eval.vim import ARCHIVE, archive, program, release

BUILT = "#!/bin/sh\necho built\n"


@dataclass(frozen=True)
class Person:
    """In the directory of the configuration."""

    forge: Site
    directory: Path
    capsys: pytest.CaptureFixture[str]

    def offer(self, status: int = 0, machine: int = 62) -> None:
        """Release an archive whose program ends with ``status``."""
        self.forge.page(ARCHIVE, archive(program(self.directory / "program", status, machine)))

    def lock(self) -> str:
        """What is told. The downloads go into a store that building does not use: it has to fetch them again."""
        assert run(["lock", "--store", "another"]) == 0
        shown = self.capsys.readouterr()
        return shown.err + shown.out

    def build(self, *arguments: str, code: int = 0) -> str:
        self.capsys.readouterr()
        assert run(["build", "vim", *arguments]) == code
        return self.capsys.readouterr().err

    def tree(self, *arguments: str) -> Path:
        self.capsys.readouterr()
        assert run(["build", "vim", "--offline", "--json", *arguments]) == 0
        shown = self.capsys.readouterr()
        return Path(json.loads(shown.out)["results"]["vim"]["out"]["path"])

    def kept(self, tree: Path) -> str:
        """What the store tells of ``tree``."""
        self.capsys.readouterr()
        assert run_store(["info", str(tree)]) == 0
        return self.capsys.readouterr().out


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_sandbox()
    for tool in ("gcc", "git", *RULE_TOOLS):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    return make_rules(tmp_path_factory.mktemp("rules"))


@pytest.fixture
def person(
    tmp_path: Path, rules: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Person]:
    for module in (whole, directories):
        monkeypatch.setattr(module, "RULES", rules)
    monkeypatch.setenv("NEXIS_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    forge = release(tmp_path)
    try:
        yield Person(forge, tmp_path, capsys)
    finally:
        forge.close()


def assert_fell_back(person: Person, shown: str, reason: str) -> None:
    tree = person.tree()
    assert (tree / "usr/bin/vim").read_text() == BUILT
    assert (tree / "usr/share/vim/text").read_text() == "one\nfixed\n"
    assert (tree / "usr/share/vim/environment").read_text() == "hello xterm-256color /usr/share/vim/vimfiles\n"
    assert reason in next(line for line in shown.splitlines() if "choose vim-9.1.1: " in line)
    kept = person.kept(tree)
    assert "made by     vim-9.1.1 (fallback, " in kept
    assert "            built from source: " in kept
    assert reason in kept


def test_the_ready_made_program_is_taken_where_it_is_good(person: Person) -> None:
    person.offer()
    told = person.lock()
    assert "vim prebuilt x86_64: 9.1.1 (sha256:" in told
    shown = person.build()
    assert "from source" not in shown
    assert "building vim-smoke-test-9.1.1 (x86_64)" in shown
    tree = person.tree()
    assert (tree / "usr/bin/vim").read_bytes() == (person.directory / "program").read_bytes()
    assert "made by     vim-9.1.1 (prebuilt, " in person.kept(tree)


def test_upstream_had_none_when_it_was_locked(person: Person) -> None:
    assert f"vim 9.1.1 has no prebuilt archive for x86_64 ({person.forge.url}{ARCHIVE})" in person.lock()
    assert_fell_back(person, person.build(), "upstream has no such file (404)")


def test_it_is_gone_since_it_was_locked(person: Person) -> None:
    person.offer()
    person.lock()
    del person.forge.pages[ARCHIVE]
    shown = person.build()
    assert f"{person.forge.url}{ARCHIVE}" in shown
    assert "  building from source instead\n" in shown
    assert_fell_back(person, shown, "404")


def test_another_file_than_was_locked(person: Person) -> None:
    person.offer()
    person.lock()
    person.offer(status=3)
    shown = person.build()
    assert "  building from source instead\n" in shown
    assert_fell_back(person, shown, "was expected, sha256:")


def test_it_is_for_another_architecture(person: Person) -> None:
    person.offer(machine=183)
    person.lock()
    shown = person.build()
    assert "note: vim-9.1.1 was made for x86_64, but /usr/bin/vim is for aarch64\n  building from source inst" in shown
    assert_fell_back(person, shown, "vim-9.1.1 was made for x86_64, but /usr/bin/vim is for aarch64")


def test_its_smoke_test_fails(person: Person) -> None:
    person.offer(status=3)
    person.lock()
    shown = person.build()
    assert "note: vim-smoke-test-9.1.1 failed in phase 'smoke-test': " in shown
    assert_fell_back(person, shown, "the smoke test of vim failed with status 3: vim --version")
    counted = [line[1:].split("]")[0].split("/") for line in shown.splitlines() if line.startswith("[")]
    assert all(int(done) <= int(total) for done, total in counted), shown


def test_from_source_because_it_was_asked_for(person: Person) -> None:
    person.offer()
    person.lock()
    asked = len(person.forge.asked(ARCHIVE))
    shown = person.build("--no-prebuilt")
    assert "choose" not in shown
    assert len(person.forge.asked(ARCHIVE)) == asked
    tree = person.tree("--no-prebuilt")
    assert (tree / "usr/bin/vim").read_text() == BUILT
    assert "made by     vim-9.1.1 (built, " in person.kept(tree)


@pytest.mark.parametrize(
    ("status", "gone", "code", "told"),
    [
        (3, False, 1, "| the smoke test of vim failed with status 3: vim --version\n"),
        (0, True, 3, "404"),
    ],
)
def test_nothing_stands_in_where_the_ready_made_one_is_required(
    person: Person, status: int, gone: bool, code: int, told: str
) -> None:
    person.offer(status)
    person.lock()
    if gone:
        del person.forge.pages[ARCHIVE]
    shown = person.build("--require-prebuilt", code=code)
    assert told in shown
    assert "from source" not in shown


def test_required_and_known_not_to_exist(person: Person) -> None:
    person.lock()
    with pytest.raises(PackageError) as caught:
        run(["build", "vim", "--require-prebuilt"])
    assert str(caught.value).startswith("system.toml:4:12: there is no prebuilt archive of 'vim' for x86_64: ")
    assert caught.value.hint == "build it from source: fallback_to_source = true, without --require-prebuilt"
