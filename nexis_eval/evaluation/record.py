"""How the graph of an evaluation is remembered, and recalled."""

from __future__ import annotations

import marshal
import pickle
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from nexis_eval.build_rules.rendering import Renderer
from nexis_eval.collecting import without_collecting
from nexis_eval.config.cache import Recalled, Request
from nexis_eval.evaluation.result import GRAPH, STATE
from nexis_eval.graph.dag import DerivationGraph, packed_graph
from nexis_eval.graph.packed import Nodes
from nexis_eval.graph.target import Targets
from nexis_store.errors import Place

if TYPE_CHECKING:
    from nexis_eval.build_rules.model import Rule
    from nexis_eval.config.model import Config, KeyPath


class Places:
    """Where keys are set, by reading the configuration again: what was recalled has no places, and few are shown."""

    def __init__(self, request: Request) -> None:
        self._request = request

    @cached_property
    def _config(self) -> Config:
        # Imported on use: most commands show no place.
        from nexis_eval.config.load import load

        request = self._request
        return load(request.file, arch=request.arch, profiles=request.profiles, overrides=request.overrides)

    def place(self, path: KeyPath) -> Place | None:
        """The place of a key; ``None`` if it is not set."""
        return self._config.place(path)

    def lacking(self) -> None:
        """Raise what the system lacks for having targets of its own."""
        from nexis_eval.config.errors import raise_together
        from nexis_eval.image.assemble import missing_from

        raise_together(missing_from(self._config))


def encode(nodes: Nodes, rules: Mapping[str, Rule]) -> bytes:
    """A graph without its targets, as bytes for this machine; ``rules`` are those that it calls, by digest."""
    return marshal.dumps((nodes.dump(), pickle.dumps(rules, protocol=5)))


def decode(data: bytes) -> tuple[Nodes, dict[str, Rule]]:
    """The inverse of ``encode``."""
    dump, rules = marshal.loads(data)
    return Nodes.load(dump), pickle.loads(rules)


def graph_of(
    request: Request,
    nodes: Nodes,
    rules: Mapping[str, Rule],
    targets: Targets,
    state: bytes | None,
) -> DerivationGraph:
    """The graph of an evaluation; where its derivations come from is known as far as there is a ``state``."""

    def paths() -> Mapping[int, KeyPath]:
        if state is None:
            return {}
        # Imported on use, like what reads the configuration again.
        from nexis_eval.evaluation.state import State
        from nexis_eval.packages.making import origins_of

        known = State.decode(state)
        return origins_of(known.memory.units, known.paths)

    places = Places(request)
    return packed_graph(nodes, targets, paths, Renderer(rules), places.place, places.lacking)


def recalled_graph(request: Request, known: Recalled, targets: Targets) -> DerivationGraph | None:
    """The graph of an evaluation that was recalled; ``None`` if its record is damaged."""
    data = known.part(GRAPH)
    if data is None:
        return None
    with without_collecting():
        nodes, rules = decode(data)
    return graph_of(request, nodes, rules, targets, known.part(STATE))
