"""What a plan decides, against a store that is a dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.graph.dag import DerivationGraph, GraphBuilder
from nexis_eval.graph.derivation import Derivation, Input, Script, Use, build_key
from nexis_eval.schedule.plan import make_plan
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.realisation import Realisation
from nexis_store.substituters.base import Offer
from tests.eval.graphs import leaf, random_graphs, script, union


class Built:
    """Pretends to have built things: an output is the hash of a chosen text."""

    def __init__(self) -> None:
        self.by_id: dict[DerivationId, Realisation] = {}
        self.by_key: dict[BuildKey, Realisation] = {}

    def build(self, graph: DerivationGraph, each: DerivationId, text: str) -> None:
        derivation = graph.derivations[each]
        key = build_key(derivation, lambda needed: self.by_id[needed.derivation].outputs[needed.output])
        made = Realisation(key, each, derivation.label, {"out": TreeDigest.of(text.encode())})
        self.by_id[each] = made
        self.by_key[key] = made


@given(random_graphs())
def test_an_empty_store_needs_everything_and_a_full_one_nothing(graph: DerivationGraph) -> None:
    roots = list(graph.targets)
    plan = make_plan(graph, roots, {}.get, {}.get)
    assert list(plan.pending) == list(graph.derivations)
    built = Built()
    for each, derivation in graph.derivations.items():
        built.build(graph, each, derivation.name)
    plan = make_plan(graph, roots, built.by_id.get, built.by_key.get)
    assert not plan.pending
    assert not plan.cut_off


@given(random_graphs(), st.data())
def test_pending_is_closed_upwards(graph: DerivationGraph, data: st.DataObject) -> None:
    built = Built()
    for each, derivation in graph.derivations.items():
        if all(needed in built.by_id for needed in derivation.dependencies()) and data.draw(st.booleans()):
            built.build(graph, each, derivation.name)
    plan = make_plan(graph, list(graph.targets), built.by_id.get, built.by_key.get)
    for each in plan.pending:
        assert each not in built.by_id
    for each in plan.certain:
        assert all(needed in plan.done for needed in graph.derivations[each].dependencies())


def test_a_new_recipe_over_unchanged_inputs_is_cut_off() -> None:
    def graph_with(text: str) -> tuple[DerivationGraph, DerivationId, DerivationId, DerivationId]:
        builder = GraphBuilder()
        first = builder.add(script("first", [], text))
        second = builder.add(union("second", [first]))
        third = builder.add(union("third", [second]))
        return builder.finish(), first, second, third

    built = Built()
    graph, first, second, third = graph_with("true\n")
    for each, content in ((first, "a"), (second, "b"), (third, "c")):
        built.build(graph, each, content)
    changed, new_first, new_second, new_third = graph_with("true # the comment is new\n")
    assert new_third != third
    plan = make_plan(changed, [new_third], built.by_id.get, built.by_key.get)
    assert set(plan.certain) == {new_first}
    assert set(plan.pending) == {new_first, new_second, new_third}
    built.build(changed, new_first, "a")
    plan = make_plan(changed, [new_third], built.by_id.get, built.by_key.get)
    assert not plan.pending
    assert set(plan.cut_off) == {new_second, new_third}
    assert plan.done[new_third] == built.by_id[third].outputs


def test_what_is_done_hides_what_it_was_made_from() -> None:
    builder = GraphBuilder()
    bottom = builder.add(leaf("bottom"))
    top = builder.add(union("top", [bottom]))
    graph = builder.finish()
    built = Built()
    built.build(graph, bottom, "x")
    built.build(graph, top, "y")
    del built.by_id[bottom]
    assert not make_plan(graph, [top], built.by_id.get, built.by_key.get).pending


class Offered:
    """Offers chosen recipes, and nothing by key."""

    name = "cache"

    def __init__(self, built: Built, *steps: DerivationId) -> None:
        self._built = built
        self._steps = steps

    def recipe(self, derivation: DerivationId) -> Offer | None:
        if derivation not in self._steps:
            return None
        realisation = self._built.by_id[derivation]
        return Offer(realisation.key, realisation.outputs, self)  # type: ignore[arg-type]

    def query(self, keys: Mapping[BuildKey, TreeDigest | None]) -> Mapping[BuildKey, Offer]:
        return {}


def test_a_build_reads_all_layers_of_a_closure_wherever_they_are() -> None:
    builder = GraphBuilder()
    base = builder.add(leaf("base"))
    library = builder.add(replace(leaf("library"), runtime=(base,), propagates=(base,)))
    aside = builder.add(leaf("aside"))
    tool = Derivation("tool", Script("true"), "x86_64", inputs=(Input(library, Use.CLOSURE, "/"),))
    root = builder.add(tool)
    graph = builder.finish()
    built = Built()
    for each in (base, library, aside):
        built.build(graph, each, graph.derivations[each].name)
    plan = make_plan(graph, [root], {}.get, {}.get, elsewhere=Offered(built, base, library, aside))
    assert set(plan.pending) == set(plan.certain) == {root}
    assert plan.read == set(plan.elsewhere) == {base, library}
    # What is not certain to be offered is not certain to be known: the closure has to be learned first.
    plan = make_plan(graph, [root], {}.get, {}.get, elsewhere=Offered(built, library))
    assert set(plan.pending) == {base, library, root}


@given(random_graphs(), st.data())
def test_nothing_is_fetched_that_nobody_reads(graph: DerivationGraph, data: st.DataObject) -> None:
    built = Built()
    for each, derivation in graph.derivations.items():
        built.build(graph, each, derivation.name)
    steps = list(graph.derivations)
    offered = data.draw(st.lists(st.sampled_from(steps), unique=True))
    roots = data.draw(st.lists(st.sampled_from(steps), min_size=1, unique=True))
    plan = make_plan(graph, roots, {}.get, {}.get, elsewhere=Offered(built, *offered))
    needed = {item for derivation in plan.pending.values() for item in derivation.dependencies()}
    assert plan.read == plan.elsewhere.keys() & ({*roots} | needed)
    assert plan.pending.keys() == graph.reached(roots) - plan.elsewhere.keys() - _hidden(graph, roots, offered)


def _hidden(graph: DerivationGraph, roots: list[DerivationId], offered: list[DerivationId]) -> set[DerivationId]:
    """What only offered steps were made from."""
    seen: set[DerivationId] = set()
    pending = [*roots]
    while pending:
        each = pending.pop()
        if each not in seen:
            seen.add(each)
            pending += [] if each in offered else graph.derivations[each].dependencies()
    return graph.reached(roots) - seen
