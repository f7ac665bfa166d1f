"""Trees that a store keeps as inputs of a graph: present, absent, beside what is built, and in what commands print."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nexis_eval import events
from nexis_eval.drawing.recipe import recipe_lines
from nexis_eval.drawing.selection import select
from nexis_eval.engine import open_engine
from nexis_eval.graph.dag import DerivationGraph, GraphBuilder
from nexis_eval.graph.derivation import Derivation, Stored
from nexis_eval.graph.why import causes
from nexis_eval.mirrors import Mirrors
from nexis_eval.realise import Options, Outcome
from nexis_eval.schedule.plan import make_plan
from nexis_store.digest import DerivationId, TreeDigest
from nexis_store.store import Store
from tests.eval.graphs import leaf, union


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store") as store:
        yield store


def add(store: Store, name: str, text: str) -> TreeDigest:
    with store.writer(name) as writer:
        writer.file(f"boot/{name}", text.encode())
        return writer.commit().digest


def menu(*trees: TreeDigest) -> tuple[DerivationGraph, DerivationId]:
    """A menu of the newest generation, which is built, and of older ones, which exist."""
    builder = GraphBuilder()
    newest = builder.add(leaf("newest"))
    older = [
        builder.add(Derivation("generation", Stored(tree), "x86_64", version=str(number)))
        for number, tree in enumerate(trees, 1)
    ]
    root = builder.add(replace(union("menu", [newest, *older]), runtime=tuple(older)))
    builder.packages["menu"] = root
    return builder.finish(), root


def build(store: Store, graph: DerivationGraph, root: DerivationId) -> tuple[Outcome, list[events.Event]]:
    seen: list[events.Event] = []

    async def work() -> Outcome:
        plan = make_plan(graph, [root], store.realised, store.realisation)
        async with open_engine(store, Mirrors({}), Options(jobs=1), seen.append) as engine:
            return await engine.realise(graph, [root], plan)

    return asyncio.run(work()), seen


def test_a_graph_mixes_what_is_built_and_what_exists(store: Store) -> None:
    first, second = add(store, "one", "1"), add(store, "two", "2")
    graph, root = menu(first, second)
    outcome, _ = build(store, graph, root)
    assert outcome.failed == ()
    place = store.path(outcome.outputs[root]["out"])
    assert sorted(path.name for path in place.rglob("*") if path.is_file()) == ["newest", "one", "two"]
    again, _ = build(store, graph, root)
    assert (again.built, again.cached) == (0, 1)


def test_a_tree_that_nobody_has_is_an_error_with_a_way_out(store: Store) -> None:
    absent = TreeDigest.of(b"somewhere else")
    graph, root = menu(absent)
    outcome, seen = build(store, graph, root)
    assert (outcome.failed, outcome.blocked, outcome.exit_code) == (("generation-1",), ("menu",), 4)
    (failure,) = [event for event in seen if isinstance(event, events.StepFailed)]
    assert f"does not have the tree {str(absent)[:16]}" in failure.message
    assert "nexis-store import" in failure.hint
    assert "nexis-store generations" in failure.hint


def test_a_tree_that_is_gone_from_the_disk_is_absent(store: Store) -> None:
    tree = add(store, "one", "1")
    place = store.path(tree)
    place.parent.chmod(0o755)
    place.rename(place.with_name("gone"))
    graph, root = menu(tree)
    outcome, _ = build(store, graph, root)
    assert outcome.failed == ("generation-1",)


def test_what_refers_to_it_keeps_it_from_a_collection(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store") as store:
        tree, other = add(store, "one", "1"), add(store, "other", "2")
        graph, root = menu(tree)
        outcome, _ = build(store, graph, root)
        store.add_references(outcome.outputs[root]["out"], [tree])
        store.set_root("menu", outcome.outputs[root]["out"])
    with Store.open(tmp_path / "store") as store:
        store.execute_gc(store.plan_gc())
        assert store.is_present(tree)
        assert not store.is_present(other)
        assert build(store, graph, root)[0].built == 0


def test_commands_show_it(store: Store) -> None:
    one, two = TreeDigest.of(b"one"), TreeDigest.of(b"two")
    before, _ = menu(one)
    after, root = menu(two)
    changes = [change.describe() for cause in causes(before, after) for change in cause.changes]
    assert changes == [f"tree: {str(one)[:12]} → {str(two)[:12]}"]
    shown = [after.head(each).label for each in select(after, [root]).edges]
    assert shown == ["newest", "generation-1", "menu"]
    stored = next(each for each in after.derivations if after.head(each).kind == Stored.kind)
    assert "  builder     stored" in recipe_lines(after, stored)
    assert f"  tree        {two}" in recipe_lines(after, stored)
