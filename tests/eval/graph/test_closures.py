"""What builds see of inputs that are used as closures: layers, digests, and plans that wait for all of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.graph.closures import Closures, propagated, visible
from nexis_eval.graph.dag import DerivationGraph, GraphBuilder
from nexis_eval.graph.derivation import Derivation, Input, Script, Use, build_key
from nexis_eval.schedule.plan import make_plan
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.realisation import Realisation

Edges = list[list[int]]


@st.composite
def edges(draw: st.DrawFn) -> Edges:
    """What each of some packages depends on."""
    count = draw(st.integers(2, 9))
    below = [st.lists(st.integers(0, max(0, each - 1)), max_size=3, unique=True) for each in range(count)]
    return [draw(each) if index else [] for index, each in enumerate(below)]


def libraries(needs: Edges, texts: list[str] | None = None) -> tuple[DerivationGraph, list[DerivationId]]:
    """Packages that build against the packages they depend on, and propagate them."""
    builder = GraphBuilder()
    made: list[DerivationId] = []
    for index, below in enumerate(needs):
        ids = tuple(made[each] for each in below)
        text = texts[index] if texts else f"make {index}\n"
        inputs = tuple(Input(each, Use.CLOSURE, "/") for each in ids)
        made.append(
            builder.add(Derivation(f"p{index}", Script(text), "x86_64", inputs=inputs, runtime=ids, propagates=ids))
        )
    return builder.finish(), made


def reached(needs: Edges, start: int) -> set[int]:
    """All below ``start``, worked out in the plainest way."""
    found: set[int] = set()
    for each in needs[start]:
        found |= {each} | reached(needs, each)
    return found


def trees(made: list[DerivationId], contents: list[int]) -> dict[DerivationId, dict[str, TreeDigest]]:
    return {each: {"out": TreeDigest.of(b"%d" % content)} for each, content in zip(made, contents, strict=True)}


@given(edges())
def test_a_closure_is_everything_below_each_once_and_the_package_itself_on_top(needs: Edges) -> None:
    graph, made = libraries(needs)
    outputs = trees(made, list(range(len(needs))))
    closures = Closures(graph.derivations, outputs)
    for index, each in enumerate(made):
        found = closures.trees(Input(each, Use.CLOSURE, "/"))
        assert found[0] == outputs[each]["out"]
        assert sorted(found) == sorted(outputs[made[item]]["out"] for item in {index, *reached(needs, index)})
        assert closures.trees(Input(each, Use.LAYER, "/")) == found[:1]
        assert set(propagated(graph.derivations, [each])) == {made[item] for item in reached(needs, index)}
        assert set(visible(graph.derivations, graph.derivations[each])) == {
            made[item] for item in reached(needs, index)
        }


@given(edges(), st.data())
def test_the_build_key_covers_exactly_what_the_build_sees(needs: Edges, data: st.DataObject) -> None:
    graph, made = libraries(needs)
    before = list(range(len(needs)))
    index = data.draw(st.integers(0, len(needs) - 1))
    after = [content if each != index else 99 for each, content in enumerate(before)]

    def keys(contents: list[int]) -> list[BuildKey]:
        closures = Closures(graph.derivations, trees(made, contents))
        return [build_key(graph.derivations[each], closures.digest) for each in made]

    for each, (old, new) in enumerate(zip(keys(before), keys(after), strict=True)):
        assert (old != new) == (index in reached(needs, each))


@given(edges(), st.data())
def test_the_order_of_layers_is_part_of_the_digest(needs: Edges, data: st.DataObject) -> None:
    other = [data.draw(st.permutations(each)) for each in needs]
    (graph, made), (shuffled, again) = libraries(needs), libraries(other)
    contents = list(range(len(needs)))
    for first, second in zip(made, again, strict=True):
        one = Closures(graph.derivations, trees(made, contents))
        two = Closures(shuffled.derivations, trees(again, contents))
        a, b = Input(first, Use.CLOSURE, "/"), Input(second, Use.CLOSURE, "/")
        if one.digest(a) == two.digest(b):
            assert one.trees(a) == two.trees(b)


@given(edges(), st.data())
def test_a_plan_knows_all_that_its_builds_will_see(needs: Edges, data: st.DataObject) -> None:
    """Even if the store has lost something below what it still has."""
    graph, made = libraries(needs)
    known = data.draw(st.sets(st.sampled_from(made)))
    root = data.draw(st.sampled_from(made))
    outputs = trees(made, list(range(len(needs))))

    def by_id(each: DerivationId) -> Realisation | None:
        if each not in known:
            return None
        return Realisation(BuildKey.of(each), each, "p", outputs[each], "built")

    plan = make_plan(graph, [root], by_id, lambda _: None)
    for each in plan.pending:
        for item in visible(graph.derivations, graph.derivations[each]):
            assert item in plan.done or item in plan.pending
            assert set(plan.needs(graph.derivations[each])) <= {*plan.done, *plan.pending}
    order = {each: number for number, each in enumerate(plan.pending)}
    waits = {
        each: {item for item in plan.needs(derivation) if item in order} for each, derivation in plan.pending.items()
    }
    for each in plan.pending:
        # A scheduler that only looks at neighbours must have everything in place before it starts the build.
        below, more = set(waits[each]), list(waits[each])
        while more:
            new = waits[more.pop()] - below
            below |= new
            more += new
        assert {item for item in visible(graph.derivations, graph.derivations[each]) if item in order} <= below


def test_an_equal_output_cuts_off_everything_above() -> None:
    """A new recipe at the bottom that comes out as before changes no build key above it."""
    (old, before), (new, after) = (libraries([[], [0], [1]], [text, "b\n", "c\n"]) for text in ("a\n", "a # again\n"))
    assert before[2] != after[2]
    keys = []
    for graph, made in ((old, before), (new, after)):
        closures = Closures(graph.derivations, trees(made, [1, 2, 3]))
        keys.append(build_key(graph.derivations[made[2]], closures.digest))
    assert keys[0] == keys[1]
