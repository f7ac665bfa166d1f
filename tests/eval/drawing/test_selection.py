"""Which part of a graph is shown."""

from __future__ import annotations

import networkx
from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.drawing.selection import Drawing, select
from nexis_eval.graph.dag import DerivationGraph, GraphBuilder
from nexis_eval.graph.derivation import Derivation, Unpack, Use
from nexis_eval.graph.derivation import Input as Uses
from tests.eval.graphs import leaf, random_graphs, union


def names(drawing: Drawing) -> set[str]:
    return {drawing.graph.derivations[each].name for each in drawing.edges}


def edges(drawing: Drawing) -> set[tuple[str, str]]:
    name = drawing.graph.derivations
    return {(name[each].name, name[item].name) for each, needed in drawing.edges.items() for item in needed}


def diamond() -> DerivationGraph:
    """``top`` needs ``left`` and ``right`` and ``base``, both of the former need ``base``, which was unpacked."""
    builder = GraphBuilder()
    archive = builder.add(leaf("archive"))
    unpacked = Derivation("unpacked", Unpack("tar"), "x86_64", inputs=(Uses(archive, Use.BIND, "/in"),))
    base = builder.add(union("base", [builder.add(unpacked)]))
    left, right = builder.add(union("left", [base])), builder.add(union("right", [base]))
    other = builder.add(leaf("other"))
    builder.packages["top"] = builder.add(union("top", [left, right, base, other]))
    for name, each in (("base", base), ("left", left), ("right", right), ("other", other)):
        builder.packages[name] = each
    return builder.finish()


def test_everything_below_but_what_only_brings_sources_in() -> None:
    graph = diamond()
    assert names(select(graph, [graph.targets.packages["top"]])) == {"top", "left", "right", "base", "other"}
    assert "unpacked" in names(select(graph, [graph.targets.packages["top"]], plumbing=True))


def test_only_what_leads_to_a_step() -> None:
    graph = diamond()
    drawing = select(graph, [graph.targets.packages["top"]], to=graph.targets.packages["left"])
    assert edges(drawing) == {("top", "left")}
    drawing = select(graph, [graph.targets.packages["top"]], to=graph.targets.packages["base"])
    assert names(drawing) == {"top", "left", "right", "base"}


def test_nothing_leads_there() -> None:
    graph = diamond()
    assert not select(graph, [graph.targets.packages["left"]], to=graph.targets.packages["right"]).edges


def test_so_many_steps_down_or_up() -> None:
    graph = diamond()
    top, base = graph.targets.packages["top"], graph.targets.packages["base"]
    assert names(select(graph, [top], depth=0)) == {"top"}
    assert names(select(graph, [graph.targets.packages["left"]], depth=1)) == {"left", "base"}
    up = select(graph, [top], to=base, depth=1, upwards=True)
    assert names(up) == {"base", "left", "right", "top"}
    assert names(select(graph, [top], to=graph.targets.packages["left"], depth=1, upwards=True)) == {"left", "top"}


def test_an_edge_beside_a_longer_way_is_left_out() -> None:
    graph = diamond()
    whole, reduced = (
        select(graph, [graph.targets.packages["top"]]),
        select(graph, [graph.targets.packages["top"]], reduce=True),
    )
    assert edges(whole) - edges(reduced) == {("top", "base")}


@given(random_graphs(), st.booleans())
def test_reduction_keeps_who_needs_whom(graph: DerivationGraph, plumbing: bool) -> None:
    root = next(reversed(list(graph.derivations)))
    whole, reduced = (select(graph, [root], plumbing=plumbing, reduce=each) for each in (False, True))
    closures = [networkx.transitive_closure(networkx.DiGraph(edges(each))) for each in (whole, reduced)]
    assert set(closures[0].edges) == set(closures[1].edges)
    assert list(whole.edges) == list(reduced.edges)


@given(random_graphs(), st.data())
def test_what_leads_somewhere_is_what_can_reach_it(graph: DerivationGraph, data: st.DataObject) -> None:
    root, to = (graph.targets.packages[data.draw(st.sampled_from(sorted(graph.targets.packages)))] for _ in range(2))
    shown = set(select(graph, [root], to=to).edges)
    below = graph.closure([root])
    assert shown == {each for each in below if to in graph.closure([each])}
