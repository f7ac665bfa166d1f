"""A source of trees for tests: another real store, of which only some trees are offered."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from nexis_store.digest import BuildKey, TreeDigest
from nexis_store.realisation import Realisation
from nexis_store.store import Store
from nexis_store.transfer import export, load


@dataclass(eq=False)
class StoreSource:
    """Offers what ``store`` has, without the trees ``hidden`` and what refers to them."""

    store: Store
    hidden: Collection[TreeDigest] = ()
    name: str = "the other store"
    fetched: list[TreeDigest] = field(default_factory=list)
    """Every tree that was transferred, with what they refer to."""
    queries: int = 0
    faithless: bool = False
    """Whether it offers trees and does not deliver them."""

    def _has(self, tree: TreeDigest) -> bool:
        return self.store.is_present(tree) and not {*self.hidden} & {*self.store.closure([tree])}

    def query(self, keys: Collection[BuildKey]) -> Mapping[BuildKey, Realisation]:
        self.queries += 1
        answers = {key: self.store.realisation(key) for key in keys}
        return {key: item for key, item in answers.items() if item and all(map(self._has, item.outputs.values()))}

    def holds(self, trees: Collection[TreeDigest]) -> Collection[TreeDigest]:
        return [tree for tree in trees if self._has(tree)]

    def fetch(self, trees: Collection[TreeDigest], into: Store) -> None:
        if self.faithless:
            return
        self.fetched += [tree for tree in self.store.closure(trees) if not into.is_present(tree)]
        stream = io.BytesIO()
        export(self.store, trees, stream)
        stream.seek(0)
        load(into, stream)
