"""Which step runs next: node states, priorities, and what a failure blocks. Pure.

A node is in exactly one state. ``WAITING`` counts down its unfinished inputs; at zero it is ``READY`` and sits in a
heap ordered by the longest path to the end of the graph (list scheduling by critical path: Graham 1969; durations are
those recorded by earlier builds). All walks are loops, so a graph may be as deep as memory allows.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from enum import Enum

from nexis_eval.graph.derivation import Derivation
from nexis_store.digest import DerivationId


class State(Enum):
    """Where a node stands."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"


class Schedule:
    """The steps that are not yet known to be done, and their order.

    ``nodes`` must be in topological order and hold every step that may have to run; inputs outside of it are done.
    ``needs`` lists what a node waits for (of a choice, only the chosen alternative).
    """

    def __init__(
        self,
        nodes: Mapping[DerivationId, Derivation],
        duration: Callable[[Derivation], int | None] = lambda _: None,
        needs: Callable[[Derivation], Iterable[DerivationId]] = Derivation.dependencies,
    ) -> None:
        self._users: dict[DerivationId, list[DerivationId]] = {each: [] for each in nodes}
        self._missing: dict[DerivationId, int] = {}
        self._state: dict[DerivationId, State] = {}
        self._ready: list[tuple[int, int, DerivationId]] = []
        for each, derivation in nodes.items():
            inputs = {needed for needed in needs(derivation) if needed in nodes}
            for needed in inputs:
                self._users[needed].append(each)
            self._missing[each] = len(inputs)
            self._state[each] = State.WAITING
        self._order = {each: index for index, each in enumerate(nodes)}
        self._own: dict[DerivationId, int] = {}
        self._guessed: set[DerivationId] = set()
        self.remaining_ns = self._longest_paths(nodes, duration)
        self._left_ns = sum(self._own.values())
        self._guessed_ns = sum(self._own[each] for each in self._guessed)
        self._running: set[DerivationId] = set()
        self._unfinished = len(nodes)
        for each, missing in self._missing.items():
            if not missing:
                self._push(each)

    def _longest_paths(
        self, nodes: Mapping[DerivationId, Derivation], duration: Callable[[Derivation], int | None]
    ) -> dict[DerivationId, int]:
        longest: dict[DerivationId, int] = {}
        for each in reversed(list(nodes)):
            derivation = nodes[each]
            own = duration(derivation)
            if own is None:
                own = derivation.builder.usual_ns
                self._guessed.add(each)
            self._own[each] = own
            longest[each] = own + max((longest[user] for user in self._users[each]), default=0)
        return longest

    def _push(self, each: DerivationId) -> None:
        self._state[each] = State.READY
        heapq.heappush(self._ready, (-self.remaining_ns[each], self._order[each], each))

    @property
    def unfinished(self) -> int:
        """How many nodes are neither done, failed nor blocked."""
        return self._unfinished

    def state(self, each: DerivationId) -> State:
        """The state of one node."""
        return self._state[each]

    def take(self) -> DerivationId | None:
        """The ready node with the longest way to go, now ``RUNNING``; ``None`` when nothing is ready."""
        if not self._ready:
            return None
        each = heapq.heappop(self._ready)[2]
        self._state[each] = State.RUNNING
        self._running.add(each)
        return each

    def estimate(self, jobs: int) -> tuple[int, float]:
        """(nanoseconds until all is done, how much of the work left was ever measured: 0 to 1).

        The longer of two times: the longest path that is left, and all work that is left shared by ``jobs``.
        """
        first = [-self._ready[0][0]] if self._ready else []
        longest = max([*first, *(self.remaining_ns[each] for each in self._running)], default=0)
        known = 1 - self._guessed_ns / self._left_ns if self._left_ns else 1.0
        return max(longest, self._left_ns // jobs), known

    def _drop(self, each: DerivationId, state: State) -> None:
        self._state[each] = state
        self._unfinished -= 1
        self._running.discard(each)
        self._left_ns -= self._own[each]
        if each in self._guessed:
            self._guessed_ns -= self._own[each]

    def finish(self, each: DerivationId) -> None:
        """A running node is done; those that waited only for it become ready."""
        self._drop(each, State.DONE)
        for user in self._users[each]:
            self._missing[user] -= 1
            if not self._missing[user] and self._state[user] is State.WAITING:
                self._push(user)

    def fail(self, each: DerivationId) -> tuple[DerivationId, ...]:
        """A node failed, or is known to fail; returns everything that can no longer be built, in graph order."""
        self._drop(each, State.FAILED)
        blocked: list[DerivationId] = []
        pending = list(self._users[each])
        while pending:
            user = pending.pop()
            if self._state[user] in (State.FAILED, State.BLOCKED):
                continue
            self._drop(user, State.BLOCKED)
            blocked.append(user)
            pending.extend(self._users[user])
        return tuple(sorted(blocked, key=self._order.__getitem__))
