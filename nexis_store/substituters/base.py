"""The seam to places that have trees which this store lacks: binary caches, other stores, the storage of a cluster.

Three facts about an output have three words and three types. *Known*: a ``Realisation`` says what a build key came out
as (``Store.known``). *Present*: the tree is in this store, as an ``Artifact`` (``Store.is_present``). *Elsewhere*: a
``TreeSource`` has it, which makes it an ``Offer``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.errors import NexisError
from nexis_store.realisation import Realisation

if TYPE_CHECKING:
    from nexis_store.store import Store


class TreeNotFetchedError(NexisError):
    """A source of trees offered a result and then did not deliver it.

    A cache that was cleaned meanwhile does that. Run the command again: it asks anew, and builds what nobody offers.
    """

    code = "S0030"
    exit_code = 3


class TreeSource(Protocol):
    """A place that has trees. Calls may take long and come from any thread; an answer may not hold for long."""

    @property
    def name(self) -> str:
        """What to call it in messages."""
        ...

    def query(self, keys: Collection[BuildKey]) -> Mapping[BuildKey, Realisation]:
        """Return what the source knows of ``keys``, as far as it has every output and all that these refer to."""
        ...

    def holds(self, trees: Collection[TreeDigest]) -> Collection[TreeDigest]:
        """Return those of ``trees`` that the source has with all that they refer to."""
        ...

    def fetch(self, trees: Collection[TreeDigest], into: Store) -> None:
        """Add ``trees``, and all that they refer to, to a store as far as it lacks them.

        Each is verified by its digest. Raises ``NexisError`` where that is not possible; what arrived before stays.
        """
        ...


@dataclass(frozen=True, slots=True)
class Offer:
    """What a build key came out as, and the source that has it; the store does not."""

    key: BuildKey
    outputs: Mapping[str, TreeDigest]
    source: TreeSource


class Sources:
    """Several sources for one store, asked in their order."""

    def __init__(self, store: Store, sources: Sequence[TreeSource] = ()) -> None:
        self._store = store
        self._sources = tuple(sources)

    def __bool__(self) -> bool:
        return bool(self._sources)

    def recipe(self, derivation: DerivationId) -> Offer | None:
        """Return the offer of what a recipe is known to have come out as, although that is not present."""
        realisation = self._store.known_recipe(derivation) if self._sources else None
        if realisation is None:
            return None
        return self._offers({realisation.key: realisation.outputs}).get(realisation.key)

    def query(self, keys: Mapping[BuildKey, TreeDigest | None]) -> dict[BuildKey, Offer]:
        """Return what is offered of ``keys``, each with the one tree that its recipe declares, if it does.

        What this store knows without having it is offered by any source that has those trees.
        """
        outputs: dict[BuildKey, Mapping[str, TreeDigest]] = {}
        for key, tree in keys.items():
            realisation = self._store.known(key)
            if realisation is not None:
                outputs[key] = realisation.outputs
            elif tree is not None:
                outputs[key] = {"out": tree}
        offers = self._offers(outputs)
        for source in self._sources:
            rest = [key for key in keys if key not in offers]
            if not rest:
                break
            for key, realisation in source.query(rest).items():
                offers[key] = Offer(key, realisation.outputs, source)
        return offers

    def _offers(self, outputs: Mapping[BuildKey, Mapping[str, TreeDigest]]) -> dict[BuildKey, Offer]:
        offers: dict[BuildKey, Offer] = {}
        for source in self._sources:
            rest = {key: trees for key, trees in outputs.items() if key not in offers}
            if not rest:
                break
            held = set(source.holds({tree for trees in rest.values() for tree in trees.values()}))
            offers |= {key: Offer(key, trees, source) for key, trees in rest.items() if held.issuperset(trees.values())}
        return offers

    def fetch(self, offers: Iterable[Offer]) -> None:
        """Bring what is offered into the store; raises ``TreeNotFetchedError``, and what its sources raise."""
        by_source: dict[TreeSource, set[TreeDigest]] = {}
        for offer in offers:
            by_source.setdefault(offer.source, set()).update(offer.outputs.values())
        for source, trees in by_source.items():
            for tree in trees:
                self._store.temporary_root(tree)
            source.fetch([tree for tree in sorted(trees) if not self._store.is_present(tree)], self._store)
            for tree in trees:
                if not self._store.is_present(tree):
                    raise TreeNotFetchedError(
                        f"{source.name} offered the tree {str(tree)[:16]} and did not deliver it",
                        hint="run the same command again: it asks anew, and builds what nobody offers",
                    )
