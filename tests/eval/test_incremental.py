"""Evaluating what an edit can have changed gives what evaluating everything gives."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexis_eval.cli.evaluation import evaluate
from nexis_eval.config.cache import EvaluationCache, Recalled, Request
from nexis_eval.evaluation import edited, whole
from nexis_eval.evaluation.result import Evaluation
from nexis_eval.image.assemble import add_system
from nexis_eval.incremental import FACTS
from nexis_eval.packed import PackedDerivations
from nexis_eval.places import RULES
from nexis_store.errors import NexisError

MINIMAL = Path(__file__).resolve().parents[2] / "examples" / "minimal"
PACKAGES, FILES = 9, 3

Table = dict[str, str]
"""Keys and values of a package, as TOML."""


def package(index: int) -> Table:
    below = ", ".join(f'"p{each}"' for each in range(max(0, index - 2), index))
    return {
        "name": f'"p{index}"',
        "version": f'"1.{index}"',
        "source": '"https://example.org/{name}-{version}.tar.gz"',
        "hash": f'"sha256:{index:064x}"',
        "dependencies": f"[{below}]",
        "install": "false",
    }


def text(table: Mapping[str, str]) -> str:
    return "\n".join(("[[packages]]", *(f"{key} = {value}" for key, value in table.items()), ""))


class Tree:
    """A configuration in several files, with packages and (if ``system``) a whole system around them."""

    def __init__(self, directory: Path, *, system: bool) -> None:
        self.directory = directory
        self.tables = [package(index) for index in range(PACKAGES)]
        self.more = [""] * FILES
        (directory / "fix.patch").write_text("a patch")
        (directory / "other.patch").write_text("another")
        names = [f"f{number}.toml" for number in range(FILES)]
        if system:
            shutil.copytree(MINIMAL, directory / "minimal")
            shutil.copy(MINIMAL / "nexis.lock", directory)
            names.append("minimal/system.toml")
        (directory / "system.toml").write_text(f"includes.paths = {names!r}\n".replace("'", '"'))
        for number in range(FILES):
            self.write(number)

    def write(self, number: int) -> None:
        tables = [text(table) for index, table in enumerate(self.tables) if index % FILES == number]
        (self.directory / f"f{number}.toml").write_text("\n".join((self.more[number], *tables)))

    def evaluate(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluation:
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        file = self.directory / "system.toml"
        return evaluate(argparse.Namespace(file=file, arch="x86_64", profile=[], overrides=[], locked=True))


def everything(evaluation: Evaluation) -> object:
    """All that can be seen of an evaluation."""
    graph = evaluation.graph
    derivations = graph.derivations
    assert isinstance(derivations, PackedDerivations)
    places = {str(each): str(place) for each, place in graph.origins.items()}
    shown = [(str(each), derivations[each]) for each in derivations]
    return evaluation.arch, evaluation.system, evaluation.mirrors, dict(evaluation.targets), shown, places


VALUES = {
    "version": ['"2"', '"3.1"'],
    "build_flags": ['["-DX=1"]', '["a b", "c"]'],
    "hash": [f'"sha256:{"ab" * 32}"', f'"sha256:{"cd" * 32}"'],
    "patches": ['["fix.patch"]', '["other.patch"]', '["fix.patch", "other.patch"]', '["missing.patch"]'],
    "build_system": ['"configure"', '"cmake"', '"nothing"'],
    "dependencies": ["[]", '["p0"]', '["p0", "p1"]', '["p8"]', '["unknown"]'],
    "runtime_dependencies": ['["p0"]', '["p1", "p0"]'],
    "native_dependencies": ['["p0"]'],
    "install": ["true", "false"],
    "source": ['"https://example.org/other/{name}.tar.gz"', '"https://example.org/{nothing}.tar.gz"'],
    "options": ["{ strip = false }", "{ nothing = 1 }"],
    "phases": ["{ build = 'true' }", "{ build = '{{ unknown }}' }"],
    "name": ['"other"', '"p0"'],
    "unknown_key": ["1"],
}
MORE = ["", "[mirrors]\nsome = ['https://example.org']", "[[force.packages]]\nname = 'p4'\nversion = '9'", "bad ="]
KEYED = [(key, value) for key, values in VALUES.items() for value in [*values, ""]]
EDITS = st.lists(
    st.tuples(st.integers(0, PACKAGES - 1), st.sampled_from(KEYED))
    | st.tuples(st.integers(0, FILES - 1), st.sampled_from(MORE)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60)
@given(st.lists(EDITS, min_size=1, max_size=4))
def test_any_edits(rounds: list[list[tuple[int, object]]]) -> None:
    """One cache sees all rounds of edits, the other is empty each time; mistakes are the same mistakes."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as monkeypatch:
        directory = Path(name)
        (directory / "tree").mkdir()
        tree = Tree(directory / "tree", system=False)
        tree.evaluate(directory / "cache", monkeypatch)
        for number, edits in enumerate(rounds):
            for index, edit in edits:
                if isinstance(edit, tuple):
                    key, value = edit
                    tree.tables[index].pop(key, None)
                    if value:
                        tree.tables[index][key] = value
                    if "name" not in tree.tables[index]:
                        tree.tables[index]["name"] = f'"p{index}"'
                else:
                    tree.more[index] = str(edit)
            for each in range(FILES):
                tree.write(each)
            results = []
            for cache in (directory / "cache", directory / f"empty-{number}"):
                try:
                    results.append(everything(tree.evaluate(cache, monkeypatch)))
                except NexisError as error:
                    results.append(str(error))
            assert results[0] == results[1]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    (tmp_path / "tree").mkdir()
    made = Tree(tmp_path / "tree", system=True)
    made.evaluate(tmp_path / "cache", monkeypatch)
    return made


@pytest.mark.parametrize(
    ("key", "value"),
    [("version", '"2"'), ("build_flags", '["-DX=1"]'), ("dependencies", '["p1"]'), ("build_system", '"configure"')],
)
def test_an_edit_of_a_package_evaluates_nothing_else(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: str
) -> None:
    tree.tables[4][key] = value
    tree.write(4 % FILES)
    with monkeypatch.context() as context:
        context.setattr(whole, "evaluate_all", lambda *_: pytest.fail("everything was evaluated"))
        first = everything(tree.evaluate(tmp_path / "cache", monkeypatch))
        assert everything(tree.evaluate(tmp_path / "cache", monkeypatch)) == first
    assert everything(tree.evaluate(tmp_path / "empty", monkeypatch)) == first


def test_what_another_program_remembered_is_not_even_read(tmp_path: Path) -> None:
    known = Recalled(str(tmp_path / "none"), [], [], [])
    request = Request(tmp_path / "system.toml", "x86_64")
    for file in (edited.__file__, str(RULES / "build/make.toml")):
        assert edited.evaluate_changed(request, EvaluationCache(tmp_path), known, [file]) is None


def test_installed_packages_reach_the_images(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An edit of what an image is made from gives the image a new identity, without the image being described anew."""
    tree.tables[0]["install"] = "true"
    tree.write(0)
    before = tree.evaluate(tmp_path / "cache", monkeypatch).targets["images"]
    tree.tables[0]["build_flags"] = '["-DX=1"]'
    tree.write(0)
    with monkeypatch.context() as context:
        context.setattr(whole, "evaluate_all", lambda *_: pytest.fail("everything was evaluated"))
        after = tree.evaluate(tmp_path / "cache", monkeypatch).targets["images"]
    assert after != before
    assert tree.evaluate(tmp_path / "empty", monkeypatch).targets["images"] == after


def test_the_parts_of_a_system_read_no_more_of_packages_than_is_known() -> None:
    """What they read decides which edits can be taken in without describing the system anew."""
    from nexis_eval.config.load import load
    from nexis_eval.graph import GraphBuilder
    from nexis_eval.toolchain import load_toolchain
    from tests.eval.graphs import leaf

    read: set[str] = set()

    class Spy:
        def __init__(self, package: object) -> None:
            self._package = package

        def __getattr__(self, name: str) -> object:
            read.add(name)
            return getattr(self._package, name)

    config = load(MINIMAL / "system.toml")
    builder = GraphBuilder()
    installed = {name: builder.add(leaf(name)) for name, package in config.packages.items() if package.install}
    object.__setattr__(config, "packages", {name: Spy(package) for name, package in config.packages.items()})
    add_system(config, builder, load_toolchain(RULES), installed)
    assert read <= {"name", "version", *FACTS}
