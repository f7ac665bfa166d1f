"""Known, present, elsewhere: what is fetched from a source of trees, what is built, and what nobody has to touch."""

from __future__ import annotations

import asyncio
import io
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from nexis_eval import events
from nexis_eval.engine import open_engine
from nexis_eval.graph.dag import DerivationGraph, GraphBuilder
from nexis_eval.graph.derivation import Derivation, Stored
from nexis_eval.mirrors import Mirrors
from nexis_eval.realise import Options, Outcome
from nexis_eval.schedule.plan import Plan, make_plan
from nexis_store.digest import DerivationId, TreeDigest
from nexis_store.store import Store
from nexis_store.substituters.base import Sources, TreeNotFetchedError
from nexis_store.transfer import export, load
from tests.eval.graphs import leaf, union
from tests.store.sources import StoreSource


def plan_of(store: Store, graph: DerivationGraph, roots: Sequence[DerivationId], *sources: StoreSource) -> Plan:
    return make_plan(graph, roots, store.realised, store.realisation, elsewhere=Sources(store, sources))


def build(
    store: Store, graph: DerivationGraph, roots: Sequence[DerivationId], *sources: StoreSource
) -> tuple[Outcome, list[events.Event]]:
    seen: list[events.Event] = []

    async def work() -> Outcome:
        plan = plan_of(store, graph, roots, *sources)
        async with open_engine(store, Mirrors({}), Options(jobs=2), seen.append, sources=sources) as engine:
            return await engine.realise(graph, roots, plan)

    return asyncio.run(work()), seen


def labels(seen: Iterable[events.Event]) -> set[str]:
    return {event.label for event in seen if isinstance(event, events.StepFinished)}


@contextmanager
def stores(*names: str) -> Iterator[list[Store]]:
    directory = Path(tempfile.mkdtemp())
    opened: list[Store] = []
    try:
        for name in names:
            opened.append(Store.open(directory / name))
        yield opened
    finally:
        for store in opened:
            store.close()
        for path in directory.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(directory)


@st.composite
def graphs(draw: st.DrawFn) -> DerivationGraph:
    """Files, and unions with a file of their own each, so that no two steps come out as the same tree."""
    builder = GraphBuilder()
    steps: list[DerivationId] = []
    for index in range(draw(st.integers(1, 6))):
        inputs = draw(st.lists(st.sampled_from(steps), unique=True, max_size=3)) if steps else []
        own = builder.add(leaf(f"l{index}"))
        step = builder.add(union(f"n{index}", [own, *inputs])) if inputs else own
        steps.append(step)
        builder.packages[f"n{index}"] = step
    return builder.finish()


def lose(store: Store, tree: TreeDigest) -> None:
    """Take a tree from the disk and leave what the metadata know of it."""
    place = store.path(tree)
    for path in (place, *place.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    place.parent.chmod(0o755)
    shutil.rmtree(place)


# Shrinking would take minutes: each example is two stores.
@settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(graphs(), st.data())
def test_what_is_needed_is_built_what_is_read_is_fetched_and_nothing_else(
    graph: DerivationGraph, data: st.DataObject
) -> None:
    steps = list(graph.derivations)
    roots = data.draw(st.lists(st.sampled_from(steps), min_size=1, max_size=2, unique=True), "roots")
    known = set(data.draw(st.lists(st.sampled_from(steps), unique=True), "known"))
    present = set(data.draw(st.lists(st.sampled_from(sorted(known)), unique=True), "present") if known else ())
    offered = set(data.draw(st.lists(st.sampled_from(steps), unique=True), "offered"))
    with stores("here", "there") as (here, there):
        everything, _ = build(there, graph, steps)
        assert everything.failed == ()
        trees = {step: everything.outputs[step]["out"] for step in steps}
        if known:
            stream = io.BytesIO()
            export(there, [trees[step] for step in known], stream)
            stream.seek(0)
            load(here, stream)
            for step in known:
                realisation = there.realised(step)
                assert realisation is not None
                here.record(realisation)
            for step in known - present:
                lose(here, trees[step])
        source = StoreSource(there, [trees[step] for step in steps if step not in offered])

        # The same by the book: what is reached is looked behind unless what it came out as is known.
        built: set[DerivationId] = set()
        fetchable: set[DerivationId] = set()
        reached: set[DerivationId] = set()
        pending = [*roots]
        while pending:
            step = pending.pop()
            if step in reached:
                continue
            reached.add(step)
            if step in present:
                continue
            (fetchable if step in offered else built).add(step)
            if not (step in known and step in offered):
                pending += graph.derivations[step].dependencies()
        read = {*roots} | {item for step in built for item in graph.derivations[step].dependencies()}

        plan = plan_of(here, graph, roots, source)
        assert built <= plan.pending.keys() <= built | fetchable
        assert plan.elsewhere.keys() <= fetchable
        assert plan.certain <= built
        outcome, seen = build(here, graph, roots, source)
        assert outcome.failed == ()
        assert labels(seen) == {graph.derivations[step].label for step in built}
        assert sorted(source.fetched) == sorted(trees[step] for step in fetchable & read)
        assert outcome.copied == len(fetchable & read)
        for root in roots:
            assert outcome.outputs[root]["out"] == trees[root]
            assert here.is_present(trees[root])
            realisation = here.realised(root)
            assert realisation is not None
            assert (realisation.origin == "substituted") == (root in fetchable)
        assert plan_of(here, graph, roots, source).idle


def chain() -> tuple[DerivationGraph, list[DerivationId]]:
    builder = GraphBuilder()
    first = builder.add(leaf("first"))
    second = builder.add(union("second", [first, builder.add(leaf("more"))]))
    third = builder.add(union("third", [second, builder.add(leaf("most"))]))
    return builder.finish(), [first, second, third]


def test_a_root_that_is_elsewhere_needs_only_its_own_bytes() -> None:
    graph, (*_, third) = chain()
    with stores("here", "there") as (here, there):
        build(there, graph, [third])
        source = StoreSource(there)
        plan = plan_of(here, graph, [third], source)
        assert (list(plan.pending), plan.read, plan.idle) == ([], {third}, False)
        # One query serves all steps that need the same number of others.
        assert source.queries == 3
        outcome, seen = build(here, graph, [third], source)
        assert (outcome.built, outcome.copied, len(source.fetched)) == (0, 1, 1)
        (copied,) = [event for event in seen if isinstance(event, events.ResultCopied)]
        assert (copied.label, copied.source) == ("third", "the other store")
        assert build(here, graph, [third])[0].cached == 1


def test_what_is_known_here_and_gone_is_fetched_without_a_question_about_what_it_was_made_from() -> None:
    graph, (*_, third) = chain()
    with stores("here", "there") as (here, there):
        build(there, graph, [third])
        outcome, _ = build(here, graph, [third])
        lose(here, outcome.outputs[third]["out"])
        source = StoreSource(there)
        assert here.realised(third) is None
        realisation = here.known_recipe(third)
        assert realisation is not None
        assert here.known(realisation.key) == realisation
        assert not here.present(realisation)
        assert build(here, graph, [third], source)[0].copied == 1
        assert source.queries == 0


def test_what_a_result_needs_at_run_time_comes_with_it() -> None:
    builder = GraphBuilder()
    library = builder.add(leaf("library"))
    tool = builder.add(replace(leaf("tool"), runtime=(library,)))
    graph = builder.finish()
    with stores("here", "there") as (here, there):
        outcome, _ = build(there, graph, [tool])
        there.add_references(outcome.outputs[tool]["out"], [outcome.outputs[library]["out"]])
        source = StoreSource(there)
        brought, _ = build(here, graph, [tool], source)
        assert brought.copied == 2
        assert here.is_present(outcome.outputs[library]["out"])
        assert here.realised(library) is not None


def test_a_stored_tree_is_fetched_from_whoever_has_it() -> None:
    with stores("here", "empty", "there") as (here, empty, there):
        with there.writer("old") as writer:
            writer.file("boot/vmlinuz", b"kernel")
            tree = writer.commit().digest
        builder = GraphBuilder()
        old = builder.add(Derivation("generation", Stored(tree), "x86_64", version="1"))
        menu = builder.add(union("menu", [old, builder.add(leaf("newest"))]))
        graph = builder.finish()
        source = StoreSource(there)
        outcome, _ = build(here, graph, [menu], StoreSource(empty), source)
        assert outcome.failed == ()
        assert source.fetched == [tree]
        # Nobody reads it any more.
        lose(here, tree)
        assert plan_of(here, graph, [menu], source).idle


def test_a_source_that_does_not_keep_its_word() -> None:
    graph, (first, _, third) = chain()
    with stores("here", "there") as (here, there):
        build(there, graph, [first])
        source = StoreSource(there, faithless=True)
        outcome, seen = build(here, graph, [third], source)
        assert (outcome.failed, outcome.exit_code) == (("second",), 3)
        (failure,) = [event for event in seen if isinstance(event, events.StepFailed)]
        assert "the other store offered the tree" in failure.message
        assert "run the same command again" in failure.hint
        with pytest.raises(TreeNotFetchedError, match="did not deliver it"):
            build(here, graph, [first], source)
