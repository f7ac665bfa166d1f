"""The same configuration gives the same graph, however its files and keys are arranged."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexis_eval.graph.encoding import derivation_id
from tests.eval.evaluation.test_edited import FILES, Tree, everything, text


class Arranged(Tree):
    """A tree whose packages, keys, files and options come in another order."""

    def arrange(self, random: Random) -> None:
        tables = [dict(random.sample(sorted(table.items()), len(table))) for table in self.tables if table is not None]
        random.shuffle(tables)
        names = random.sample([f"g{number}.toml" for number in range(FILES)], FILES)
        for number, name in enumerate(names):
            (self.directory / name).write_text("\n".join(text(table) for table in tables[number::FILES]))
        listed = ", ".join(f'"{name}"' for name in names)
        (self.directory / "system.toml").write_text(f"includes.paths = [{listed}]\n")


@settings(max_examples=25)
@given(st.randoms(use_true_random=False), st.booleans())
def test_reordering_changes_nothing(random: Random, swapped: bool) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as monkeypatch:
        directory = Path(name)
        (directory / "tree").mkdir()
        tree = Arranged(directory / "tree", system=False)
        options = ["strip = false", "static_libraries = false", 'remove = ["a", "b"]']
        tree.table(3)["options"] = "{ " + ", ".join(options) + " }"
        tree.table(5)["env"] = '{ A = "1", B = "2" }'
        for number in range(FILES):
            tree.write(number)
        first = tree.evaluate(directory / "first", monkeypatch)
        tree.table(3)["options"] = "{ " + ", ".join(reversed(options) if swapped else options) + " }"
        tree.table(5)["env"] = '{ B = "2", A = "1" }'
        tree.arrange(random)
        second = tree.evaluate(directory / "second", monkeypatch)
        *seen, _places = everything(first)  # type: ignore[misc]
        *again, _places = everything(second)  # type: ignore[misc]
        assert seen == again


def test_each_id_is_that_of_its_derivation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes that were made without a derivation are those of the derivations that are read back from them."""
    (tmp_path / "tree").mkdir()
    tree = Tree(tmp_path / "tree", system=True)
    tree.table(3).update({"patches": '["fix.patch"]', "attributes": '{ "/usr/bin/x" = "root:shadow 2755" }'})
    tree.table(4).update(
        {"pre_build_script": '"fix.patch"', "phases": "{ build = 'make {{ name }}' }", "check": "true"}
    )
    for number in range(FILES):
        tree.write(number)
    graph = tree.evaluate(tmp_path / "cache", monkeypatch).graph
    for each, derivation in graph.derivations.items():
        assert derivation_id(derivation) == each
