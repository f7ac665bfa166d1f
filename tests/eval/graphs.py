"""Small graphs for tests, made from literal files and unions so that nothing has to be built."""

from __future__ import annotations

from hypothesis import strategies as st

from nexis_eval.graph.dag import DerivationGraph, GraphBuilder, layers
from nexis_eval.graph.derivation import Derivation, Entry, Files, Script, Union
from nexis_store.digest import DerivationId


def leaf(name: str, text: str = "") -> Derivation:
    """A tree with one file."""
    return Derivation(name, Files((Entry(f"etc/{name}", text=text or name),)), platform="x86_64")


def union(name: str, inputs: list[DerivationId]) -> Derivation:
    """A union of other trees."""
    return Derivation(name, Union(), platform="x86_64", inputs=tuple(layers(inputs)))


def script(name: str, inputs: list[DerivationId], text: str = "true\n") -> Derivation:
    """A build that would run ``text``."""
    return Derivation(name, Script(text), platform="x86_64", inputs=tuple(layers(inputs)))


@st.composite
def random_graphs(draw: st.DrawFn, max_nodes: int = 14) -> DerivationGraph:
    """Any small acyclic graph; targets are named n0, n1, …"""
    builder = GraphBuilder()
    made: list[DerivationId] = []
    for index in range(draw(st.integers(1, max_nodes))):
        inputs = draw(st.lists(st.sampled_from(made), unique=True, max_size=4)) if made else []
        derivation = union(f"n{index}", inputs) if inputs else leaf(f"n{index}")
        made.append(builder.add(derivation))
        builder.packages[f"n{index}"] = made[-1]
    return builder.finish()
