"""A graph that packages are made for once more: what is there already is found, what is not is added."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from nexis_eval.config.model import KeyPath
from nexis_eval.evaluation.tables import ReachesFurtherError
from nexis_eval.graph.dag import GraphBuilder
from nexis_eval.graph.encoding import identity
from nexis_eval.graph.packed import Arranged, Node, Nodes
from nexis_store.digest import DerivationId


class Patch(GraphBuilder):
    """Takes the place of the builder of a graph.

    While packages are made, nodes that depend on what is made anew keep the identities that they had. So identities are
    only names for nodes here; those of the result are made at the end.
    """

    def __init__(self, nodes: Nodes, toolsets: Mapping[str, DerivationId], build_platform: str) -> None:
        super().__init__(build_platform)
        self.nodes = nodes
        self.toolsets = dict(toolsets)
        self.count = len(nodes)
        """Nodes from this number on are new."""
        self.added: list[Node] = []
        self.moved: dict[int, int] = {}
        """Nodes that others stand for now."""
        self._before: dict[int, int] = {}
        """The inverse."""

    def move(self, old: int, new: int) -> None:
        """From now on ``new`` stands for ``old``, wherever that is named."""
        self.moved[old] = new
        self._before[new] = old

    def add_recipe(self, recipe: bytes, needs: Sequence[int], notes: bytes = b"", path: KeyPath | None = None) -> int:
        """The number of the node, which is one that was there if it is the same."""
        nodes, ids, before = self.nodes, self.nodes.ids, self._before
        named = [before.get(number, number) for number in needs] if before else needs
        each = identity(recipe, [ids[number] for number in named])
        number = nodes.index.setdefault(each, len(ids))
        if number == len(ids):
            ids.append(each)
            self.added.append((recipe, needs, notes))
        elif notes != self._notes(number) or (before and [*self.needs(number)] != [*needs]):
            # Another file of the same content, which others may name as well; or what a package was before it moved.
            raise ReachesFurtherError
        if path is not None:
            self.paths.setdefault(number, path)
        return number

    def _notes(self, number: int) -> bytes:
        return self.added[number - self.count][2] if number >= self.count else self.nodes.notes(number)

    def needs(self, number: int) -> Sequence[int]:
        """What a node names, now."""
        if number >= self.count:
            return self.added[number - self.count][1]
        moved, needs = self.moved, self.nodes.needs(number)
        return [moved.get(each, each) for each in needs] if moved else needs

    def reached(self, roots: Iterable[int]) -> set[int]:
        """``roots`` and all that they need."""
        found = set(roots)
        pending = [*found]
        while pending:
            for each in self.needs(pending.pop()):
                if each not in found:
                    found.add(each)
                    pending.append(each)
        return found

    def arranged(self, dropped: Set[int], before: Mapping[int, int]) -> Arranged:
        """The resulting graph, without some nodes.

        ``before`` says of new nodes which old one they come before; the others come last. Where that is not after all
        that they need, everything is put into another order.
        """
        made = self.nodes.arranged([*self._runs(dropped, before)], self.added, self.moved)
        if made is None:
            made = self.nodes.arranged([*self._sorted(dropped)], self.added, self.moved)
        if made is None:
            raise ReachesFurtherError
        return made

    def _runs(self, dropped: Set[int], before: Mapping[int, int]) -> Iterator[range]:
        coming: dict[int, list[int]] = {}
        for number in range(self.count, self.count + len(self.added)):
            if number not in dropped:
                coming.setdefault(before.get(number, self.count), []).append(number)
        start = 0
        for stop in sorted({*coming, *(each for each in dropped if each < self.count)}):
            if start < stop:
                yield range(start, stop)
            yield from (range(each, each + 1) for each in coming.get(stop, ()))
            start = stop + (stop < self.count and stop in dropped)
        if start < self.count:
            yield range(start, self.count)

    def _sorted(self, dropped: Set[int]) -> Iterator[range]:
        """All nodes, each after those that it names; raises ``ReachesFurtherError`` for a circle."""
        total = self.count + len(self.added)
        opened, done = 1, 2
        state = bytearray(total)
        for root in range(total):
            pending = [] if root in dropped else [root]
            while pending:
                each = pending[-1]
                if state[each] != 0:
                    pending.pop()
                    if state[each] == opened:
                        state[each] = done
                        yield range(each, each + 1)
                    continue
                state[each] = opened
                for needed in self.needs(each):
                    if state[needed] == opened:
                        raise ReachesFurtherError
                    if state[needed] == 0:
                        pending.append(needed)
