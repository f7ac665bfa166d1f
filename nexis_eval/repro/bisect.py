"""Finds the smallest sets of variations that make a difference. Pure: the builds are done by the caller's function."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

Differs = Callable[[frozenset[str]], Awaitable[frozenset[str]]]
"""Builds with a set of variations on top of the pinned rest; returns the paths that then differ."""


async def minimal_set(names: Sequence[str], wanted: frozenset[str], differs: Differs) -> tuple[str, ...]:
    """A 1-minimal subset of ``names`` under which some of ``wanted`` still differ: leave out any one and none does.

    ``names`` as a whole must make one of them differ. Delta debugging (Zeller, Hildebrandt 2002): halves first, then
    finer parts, so that a single cause among n is found in about log2(n) builds.
    """
    current = list(names)
    parts = 2
    while len(current) > 1:
        size = -(-len(current) // parts)
        cuts = [current[at : at + size] for at in range(0, len(current), size)]
        for index, cut in enumerate(cuts):
            rest = [name for other, each in enumerate(cuts) if other != index for name in each]
            if await differs(frozenset(cut)) & wanted:
                current, parts = cut, 2
                break
            if len(cuts) > 2 and await differs(frozenset(rest)) & wanted:
                current, parts = rest, max(parts - 1, 2)
                break
        else:
            if parts >= len(current):
                break
            parts = min(len(current), 2 * parts)
    return tuple(current)
