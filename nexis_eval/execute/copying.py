"""Results that are elsewhere: brought into the store when something reads them, and not before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from nexis_eval import events
from nexis_eval.execute.adopt import adopt
from nexis_eval.graph.closures import Outputs
from nexis_eval.graph.dag import DerivationGraph
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.realisation import Realisation
from nexis_store.store import Store
from nexis_store.substituters.base import Offer, Sources


class Copying:
    """For one run. ``offers`` are the results that are elsewhere now; their trees are in ``outputs`` all the same."""

    def __init__(
        self,
        store: Store,
        graph: DerivationGraph,
        sources: Sources,
        offers: Mapping[DerivationId, Offer],
        outputs: Mapping[DerivationId, Outputs],
        emit: Callable[[events.Event], None],
    ) -> None:
        self._store = store
        self._graph = graph
        self._sources = sources
        self._offers = dict(offers)
        self._outputs = outputs
        self._emit = emit
        # One at a time: two steps often read the same trees.
        self._lock = asyncio.Lock()
        self.copied = 0
        """How many results were brought in."""

    async def offer(self, each: DerivationId, key: BuildKey, tree: TreeDigest | None) -> Offer | None:
        """Return what is offered of a build key; from then on it can be brought in. ``tree`` is what is declared."""
        if not self._sources:
            return None
        offer = (await asyncio.to_thread(self._sources.query, {key: tree})).get(key)
        if offer is not None:
            self._offers[each] = offer
        return offer

    async def bring(self, steps: Iterable[DerivationId]) -> None:
        """Bring in those of ``steps`` that are elsewhere, with what they need at run time; raises ``NexisError``."""
        if not self._offers:
            return
        async with self._lock:
            wanted = self._with_run_time(steps)
            if not wanted:
                return
            started_ns, clock = time.time_ns(), time.monotonic_ns()
            await asyncio.to_thread(self._sources.fetch, [self._offers[each] for each in wanted])
            # What something refers to comes first in the order of the graph.
            for each in [each for each in self._graph.derivations if each in wanted]:
                self._record(each, started_ns)
                self._emit(
                    events.ResultCopied(
                        each,
                        self._graph.head(each).label,
                        self._offers.pop(each).source.name,
                        time.monotonic_ns() - clock,
                    )
                )
                self.copied += 1

    def _with_run_time(self, steps: Iterable[DerivationId]) -> set[DerivationId]:
        reached: set[DerivationId] = set()
        pending = [each for each in steps if each in self._offers]
        while pending:
            each = pending.pop()
            if each not in reached:
                reached.add(each)
                pending.extend(item for item in self._graph.derivations[each].runtime if item in self._offers)
        return reached

    def _record(self, each: DerivationId, started_ns: int) -> None:
        derivation, offer = self._graph.derivations[each], self._offers[each]
        self._store.record(
            Realisation(
                key=offer.key,
                derivation=each,
                name=derivation.label,
                outputs=offer.outputs,
                origin="substituted",
                note=f"from {offer.source.name}",
                started_ns=started_ns,
                extra={"platform": derivation.platform, "kind": derivation.builder.kind},
            )
        )
        # Of what a recipe is known to have come out as, nobody had to ask what it needs: the source knows that.
        if all(item in self._outputs for item in derivation.runtime):
            adopt(self._store, self._graph, each, offer.key, self._outputs)
