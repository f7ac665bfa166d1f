"""Evaluating what an edit can have changed gives what evaluating everything gives."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nexis_eval.cli.evaluation import evaluate
from nexis_eval.config.cache import EvaluationCache, Recalled, Request
from nexis_eval.config.load import load
from nexis_eval.evaluation import edited, whole
from nexis_eval.evaluation.result import Evaluation
from nexis_eval.graph.packed import PackedDerivations
from nexis_eval.places import RULES
from nexis_eval.system.assemble import contributions, system_layers
from nexis_eval.system.view import SystemView, UnrecordedError
from nexis_store.errors import NexisError

MINIMAL = Path(__file__).resolve().parents[3] / "examples" / "minimal"
PACKAGES, FILES = 9, 3

Table = dict[str, str]
"""Keys and values of a package, as TOML."""


def package(index: int) -> Table:
    below = ", ".join(f'"p{each}"' for each in (range(max(0, index - 2), index) if index < PACKAGES else (0, 1)))
    return {
        "name": f'"p{index}"',
        "version": f'"1.{index}"',
        "source": '"https://example.org/{name}-{version}.tar.gz"',
        "hash": f'"sha256:{index:064x}"',
        "dependencies": f"[{below}]",
        "install": "false",
    }


def text(table: Mapping[str, str], part: str = "") -> str:
    return "\n".join((f"[[{part}packages]]", *(f"{key} = {value}" for key, value in table.items()), ""))


class Tree:
    """A configuration in several files, with packages and (if ``system``) a whole system around them."""

    def __init__(self, directory: Path, *, system: bool, arch: str = "x86_64", profiles: Sequence[str] = ()) -> None:
        self.directory = directory
        self.arch, self.profiles = arch, profiles
        self.tables: list[Table | None] = [package(index) for index in range(PACKAGES)]
        self.more = [""] * FILES
        self.locked: dict[str, str] = {}
        """Packages and the hashes that the lock has for their sources."""
        (directory / "fix.patch").write_text("a patch")
        (directory / "other.patch").write_text("another")
        names = [f"f{number}.toml" for number in range(FILES)]
        self._lock = ""
        if system:
            shutil.copytree(MINIMAL, directory / "minimal")
            self._lock = (MINIMAL / "nexis.lock").read_text()
            names.append("minimal/system.toml")
        (directory / "system.toml").write_text(
            f"includes.paths = {names!r}\n[[profile.server.packages]]\nname = 'only-server'\n".replace("'", '"')
            + f"source = 'https://example.org/s.tar.gz'\nhash = 'sha256:{77:064x}'\ninstall = false\n"
        )
        self.save()

    def table(self, index: int) -> Table:
        """The table of a package, which is there again if it was deleted."""
        while len(self.tables) <= index:
            self.tables.append(None)
        found = self.tables[index]
        if found is None:
            found = self.tables[index] = package(index)
        return found

    def save(self) -> None:
        """Write what changed."""
        for number in range(FILES):
            self.write(number)
        written = self._lock or "format = 1\n"
        for name, digest in sorted(self.locked.items()):
            table = next((each for each in self.tables if each and each["name"] == f'"{name}"'), {})
            version = table.get("version", '"0"')
            url = f"https://example.org/{name}-{version.strip(chr(34))}.tar.gz"
            written += f'\n[[source]]\npackage = "{name}"\nfield = "source"\nversion = {version}\n'
            written += f'urls = ["{url}"]\nhash = "{digest}"\n'
        (self.directory / "nexis.lock").write_text(written)

    def write(self, number: int) -> None:
        tables = [text(each) for index, each in enumerate(self.tables) if each is not None and index % FILES == number]
        (self.directory / f"f{number}.toml").write_text("\n".join((self.more[number], *tables)))

    def evaluate(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Evaluation:
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        file = self.directory / "system.toml"
        return evaluate(
            argparse.Namespace(file=file, arch=self.arch, profile=[*self.profiles], overrides=[], locked=True)
        )


def everything(evaluation: Evaluation) -> object:
    """All that can be seen of an evaluation."""
    graph = evaluation.graph
    derivations = graph.derivations
    assert isinstance(derivations, PackedDerivations)
    places = {str(each): str(place) for each, place in graph.origins.items()}
    shown = [(str(each), derivations[each]) for each in derivations]
    return evaluation.summary, shown, places


TRIED = {
    "prebuilt": '"https://example.org/{name}-{version}-bin.tar.gz"',
    "prebuilt_hash": f'"sha256:{"1f" * 32}"',
    "smoke_test": '"it --version"',
    "fallback_to_source": "true",
}
VALUES = {
    "version": ['"2"', '"3.1"', '"latest"'],
    "build_flags": ['["-DX=1"]', '["a b", "c"]'],
    "hash": [f'"sha256:{"ab" * 32}"', f'"sha256:{"cd" * 32}"', ""],
    "patches": ['["fix.patch"]', '["other.patch"]', '["fix.patch", "other.patch"]', '["missing.patch"]'],
    "build_system": ['"configure"', '"cmake"', '"nothing"'],
    "dependencies": ["[]", '["p0"]', '["p0", "p1"]', '["p8"]', '["p10"]', '["unknown"]'],
    "runtime_dependencies": ['["p0"]', '["p1", "p0"]', '["p7"]'],
    "native_dependencies": ['["p0"]', '["p2"]'],
    "build_dependencies": ['["p3"]'],
    "install": ["true", "false"],
    "source": ['"https://example.org/other/{name}.tar.gz"', '"https://example.org/{nothing}.tar.gz"'],
    "options": ["{ strip = false }", "{ nothing = 1 }"],
    "phases": ["{ build = 'true' }", "{ build = '{{ unknown }}' }"],
    "outputs": ['["dev"]'],
    "tools": ['["cmake"]', '["nothing"]'],
    "name": ['"other"', '"p0"'],
    "unknown_key": ["1"],
    **{key: [value] for key, value in TRIED.items()},
}
MORE = [
    "",
    "[mirrors]\nsome = ['https://example.org']",
    "[[force.packages]]\nname = 'p4'\nversion = '9'",
    "[[force.packages]]\nname = 'p5'\nversion = '9'",
    "[[arch.aarch64.packages]]\nname = 'p1'\nbuild_flags = ['--arm']",
    "[[profile.server.packages]]\nname = 'p2'\nbuild_flags = ['--server']",
    "[[default.packages]]\nname = 'p3'\nbuild_flags = ['--weak']",
    "[remove]\npackages = ['p8']",
    "[profile.server.remove]\npackages = ['p2']",
    "[profile.server.system]\nhostname = 'server'",
    "bad =",
]
KEYED = [(key, value) for key, values in VALUES.items() for value in [*values, ""]]
INDEX = st.integers(0, PACKAGES + 2)
Edit = Callable[[Tree], None]


def set_key(index: int, key: str, value: str) -> Edit:
    def edit(tree: Tree) -> None:
        table = tree.table(index)
        table.pop(key, None)
        if value:
            table[key] = value
        table.setdefault("name", f'"p{index}"')

    return edit


def delete(index: int) -> Edit:
    def edit(tree: Tree) -> None:
        tree.table(index)
        tree.tables[index] = None

    return edit


def add(index: int) -> Edit:
    def edit(tree: Tree) -> None:
        tree.table(index)

    return edit


def both(first: Edit, second: Edit) -> Edit:
    def edit(tree: Tree) -> None:
        first(tree)
        second(tree)

    return edit


def try_it(index: int) -> Edit:
    return lambda tree: tree.table(index).update(TRIED)


def say_more(number: int, more: str) -> Edit:
    return lambda tree: tree.more.__setitem__(number, more)


def write_patch(name: str, content: str) -> Edit:
    def edit(tree: Tree) -> None:
        (tree.directory / name).write_text(content)

    return edit


def lock(index: int, digit: int) -> Edit:
    def edit(tree: Tree) -> None:
        name = tree.table(index)["name"].strip('"')
        tree.locked.pop(name, None)
        if digit:
            tree.locked[name] = f"sha256:{digit:064x}"
            tree.table(index).pop("hash", None)

    return edit


EDITS = st.lists(
    st.builds(lambda index, keyed: set_key(index, *keyed), INDEX, st.sampled_from(KEYED))
    | st.builds(delete, INDEX)
    | st.builds(add, INDEX)
    | st.builds(try_it, INDEX)
    | st.builds(say_more, st.integers(0, FILES - 1), st.sampled_from(MORE))
    | st.builds(write_patch, st.sampled_from(["fix.patch", "other.patch"]), st.sampled_from(["1", "2", "another"]))
    | st.builds(lock, INDEX, st.integers(0, 2)),
    min_size=1,
    max_size=4,
)


# What a smoke test sees is made again without a change, and changed only then.
@example(
    [[try_it(4)], [say_more(0, "[[force.packages]]\nname = 'p5'\nversion = '9'")], [set_key(3, "dependencies", "")]],
    "x86_64",
    (),
)
@settings(max_examples=60)
@given(
    st.lists(EDITS, min_size=1, max_size=4),
    st.sampled_from(["x86_64", "aarch64"]),
    st.sampled_from([(), ("server",)]),
)
def test_any_edits(rounds: list[list[Edit]], arch: str, profiles: Sequence[str]) -> None:
    """One cache sees all rounds of edits, the other is empty each time; mistakes are the same mistakes."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as monkeypatch:
        directory = Path(name)
        (directory / "tree").mkdir()
        tree = Tree(directory / "tree", system=False, arch=arch, profiles=profiles)
        tree.evaluate(directory / "cache", monkeypatch)
        for number, edits in enumerate(rounds):
            for edit in edits:
                edit(tree)
            tree.save()
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
    made.table(5)["install"] = "true"
    made.table(6).pop("hash")
    made.locked = {"p6": f"sha256:{1:064x}"}
    made.table(3)["patches"] = '["other.patch"]'
    made.table(7).update({key: value for key, value in TRIED.items() if key != "fallback_to_source"})
    made.save()
    made.evaluate(tmp_path / "cache", monkeypatch)
    return made


ONE_EDIT = {
    "version": set_key(4, "version", '"2"'),
    "flags": set_key(4, "build_flags", '["-DX=1"]'),
    "fewer dependencies": set_key(4, "dependencies", '["p1"]'),
    "a dependency on what comes later": both(set_key(8, "dependencies", "[]"), set_key(4, "dependencies", '["p8"]')),
    "a dependency on what is new": both(add(9), set_key(8, "dependencies", '["p9"]')),
    "rule": set_key(4, "build_system", '"configure"'),
    "a rule that no other package has": set_key(4, "build_system", '"cmake"'),
    "patched": set_key(4, "patches", '["fix.patch"]'),
    "patch": write_patch("other.patch", "other content"),
    "split": set_key(4, "outputs", '["dev", "doc"]'),
    "added": add(11),
    "added, and installed": set_key(11, "install", "true"),
    "deleted": delete(8),
    "removed": say_more(1, "[remove]\npackages = ['p8']"),
    "installed": set_key(4, "install", "true"),
    "not installed any more": set_key(5, "install", "false"),
    "locked": lock(6, 2),
    "forced": say_more(2, "[[force.packages]]\nname = 'p4'\nversion = '9'"),
    "for this architecture": say_more(2, "[[arch.x86_64.packages]]\nname = 'p4'\nbuild_flags = ['--here']"),
    "for another architecture": say_more(2, "[[arch.riscv64.packages]]\nname = 'p4'\nbuild_flags = ['--there']"),
    "in a profile": say_more(2, "[[profile.other.packages]]\nname = 'new'\nversion = '1'"),
    "tried": try_it(4),
    "needed by what is tried": set_key(5, "runtime_dependencies", '["p1"]'),
    "no longer tried": set_key(7, "smoke_test", ""),
    "template": write_patch("minimal/templates/motd.tpl", "hello {{ name }}\n"),
}


@pytest.mark.parametrize("name", ONE_EDIT)
def test_what_an_edit_does_not_reach_is_not_evaluated(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    ONE_EDIT[name](tree)
    tree.save()
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
    tree.table(0)["install"] = "true"
    tree.write(0)
    before = tree.evaluate(tmp_path / "cache", monkeypatch).summary.targets.system["images"]
    tree.table(0)["build_flags"] = '["-DX=1"]'
    tree.write(0)
    with monkeypatch.context() as context:
        context.setattr(whole, "evaluate_all", lambda *_: pytest.fail("everything was evaluated"))
        after = tree.evaluate(tmp_path / "cache", monkeypatch).summary.targets.system["images"]
    assert after != before
    assert tree.evaluate(tmp_path / "empty", monkeypatch).summary.targets.system["images"] == after


SEEN = {
    "install": ["true", "false"],
    "version": ['"2"', '"2.1"'],
    "runtime_dirs": ['["/run/x"]', '["$XDG_RUNTIME_DIR/x"]'],
    "attributes": ["{ '/usr/bin/x' = 'root:mail 2755' }", "{ '/usr/bin/x' = 'daemon:clamav 755' }"],
    "context_file": ['"policy.cil"', '"other.cil"'],
    "name": ['"dinit"', '"dropbear"', '"dbus"', '"linux-6"'],
}
"""What parts of a system read of packages."""
AROUND = [
    "",
    "[[force.packages]]\nname = 'dropbear'\ninstall = false",
    "[[force.packages]]\nname = 'busybox'\ninstall = false",
    "[[force.packages]]\nname = 'linux'\ninstall = false",
    "[[force.packages]]\nname = 'busybox'\nruntime_dirs = ['/run/busybox']",
    "[remove]\npackages = ['dropbear']",
]
SEEN_EDITS = st.lists(
    st.builds(
        lambda index, keyed: set_key(index, *keyed),
        st.integers(0, PACKAGES - 1),
        st.sampled_from([(key, value) for key, values in SEEN.items() for value in [*values, ""]]),
    )
    | st.builds(say_more, st.integers(0, FILES - 1), st.sampled_from(AROUND))
    | st.builds(
        write_patch,
        st.sampled_from(["policy.cil", "other.cil", "minimal/templates/motd.tpl"]),
        st.sampled_from(["(type a_t)\n", "(type b_t)\n"]),
    ),
    min_size=1,
    max_size=3,
)


@example([[set_key(2, "install", "true")], [set_key(2, "context_file", '"policy.cil"')]])
@example([[set_key(2, "install", "true")], [set_key(2, "name", '"dinit"')], [set_key(2, "name", "")]])
@example([[set_key(2, "attributes", SEEN["attributes"][1])], [set_key(2, "install", "true")]])
@settings(max_examples=25)
@given(st.lists(SEEN_EDITS, min_size=1, max_size=3))
def test_any_edits_of_what_a_system_reads(rounds: list[list[Edit]]) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as monkeypatch:
        directory = Path(name)
        (directory / "tree").mkdir()
        tree = Tree(directory / "tree", system=True)
        for file in ("policy.cil", "other.cil"):
            (tree.directory / file).write_text("(type first_t)\n")
        tree.evaluate(directory / "cache", monkeypatch)
        for number, edits in enumerate(rounds):
            for edit in edits:
                edit(tree)
            tree.save()
            results = []
            for cache in (directory / "cache", directory / f"empty-{number}"):
                try:
                    results.append(everything(tree.evaluate(cache, monkeypatch)))
                except NexisError as error:
                    results.append(str(error))
            assert results[0] == results[1]


def test_what_was_read_is_enough_to_make_the_system_again() -> None:
    config = load(MINIMAL / "system.toml")
    view = SystemView.of(config)
    layers = system_layers(view, contributions(view))
    assert view.kernel == "linux"
    reads = view.reads()
    again = SystemView.remembered(config.sections(), reads)
    assert system_layers(again, contributions(again)) == layers
    assert (again.kernel, again.reads()) == (view.kernel, reads)
    assert {"debian", "runtime_dirs", "attributes", "context_file"} == {*reads.attributes}
    assert str(MINIMAL / "templates/motd.tpl") in reads.files


def test_what_was_not_read_is_not_made_up() -> None:
    """A part that reads something else than before has everything evaluated."""
    config = load(MINIMAL / "system.toml")
    view = SystemView.of(config)
    assert view.installed("busybox")
    again = SystemView.remembered(config.sections(), view.reads())
    assert again.packages["busybox"].debian == ()
    for read in (lambda: again.packages["busybox"].runtime_dirs, lambda: again.kernel):
        with pytest.raises(UnrecordedError):
            read()
