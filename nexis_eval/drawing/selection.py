"""Which part of a derivation graph is shown: below one step, above another, so many steps far, each edge once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nexis_eval.graph.builders import BUILDERS
from nexis_eval.graph.dag import DerivationGraph
from nexis_store.digest import DerivationId

Edges = Mapping[DerivationId, tuple[DerivationId, ...]]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A part of a graph. ``edges`` has every node shown, inputs first, and what each uses of the others."""

    graph: DerivationGraph
    edges: Edges

    def first(self) -> list[DerivationId]:
        """The nodes that no other one shown uses."""
        used = {needed for each in self.edges.values() for needed in each}
        return [each for each in self.edges if each not in used]


def select(
    graph: DerivationGraph,
    roots: Sequence[DerivationId],
    *,
    to: DerivationId | None = None,
    depth: int | None = None,
    upwards: bool = False,
    plumbing: bool = False,
    reduce: bool = False,
) -> Drawing:
    """What is shown of ``graph``: ``roots`` and what they need.

    With ``to``, only what is on a way from ``roots`` to there. ``depth`` limits the steps from ``roots``, or if
    ``upwards`` from ``to``. ``plumbing`` includes the steps that only bring sources in, as ``to`` does.
    ``reduce`` leaves out an edge where a longer way leads to the same node: the transitive reduction.
    Nothing is shown when none of ``roots`` needs ``to``.
    """
    edges = _edges(graph, roots, plumbing=plumbing or to is not None)
    if to is not None:
        edges = _part(edges, _reached(_turned(edges), [to]) if to in edges else ())
    if depth is not None:
        start = _reached(_turned(edges), [to], depth) if upwards and to is not None else _reached(edges, roots, depth)
        edges = _part(edges, start)
    return Drawing(graph, _reduced(edges) if reduce else edges)


def _edges(graph: DerivationGraph, roots: Sequence[DerivationId], *, plumbing: bool) -> Edges:
    order = graph.in_order(roots)
    shown = {each for each in order if plumbing or each in roots or not BUILDERS[graph.head(each).kind].plumbing}
    edges = {
        each: tuple(needed for needed in dict.fromkeys(graph.needs(each)) if needed in shown)
        for each in order
        if each in shown
    }
    return _part(edges, _reached(edges, roots))


def _turned(edges: Edges) -> dict[DerivationId, list[DerivationId]]:
    users: dict[DerivationId, list[DerivationId]] = {each: [] for each in edges}
    for each, needed in edges.items():
        for item in needed:
            users[item].append(each)
    return users


def _reached(
    edges: Mapping[DerivationId, Iterable[DerivationId]], starts: Iterable[DerivationId], depth: int | None = None
) -> set[DerivationId]:
    reached = {each for each in starts if each in edges}
    last = set(reached)
    while last and (depth is None or depth > 0):
        last = {item for each in last for item in edges[each]} - reached
        reached |= last
        depth = None if depth is None else depth - 1
    return reached


def _part(edges: Edges, kept: Iterable[DerivationId]) -> Edges:
    chosen = set(kept)
    return {each: tuple(item for item in needed if item in chosen) for each, needed in edges.items() if each in chosen}


def _reduced(edges: Edges) -> Edges:
    import networkx

    whole: networkx.DiGraph[DerivationId] = networkx.DiGraph()
    whole.add_nodes_from(edges)
    whole.add_edges_from((each, item) for each, needed in edges.items() for item in needed)
    kept = networkx.transitive_reduction(whole)
    return {each: tuple(item for item in needed if kept.has_edge(each, item)) for each, needed in edges.items()}
