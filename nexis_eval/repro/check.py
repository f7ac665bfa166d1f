"""Is a recipe reproducible? Builds it again under varied conditions, compares, bisects to the variation at fault."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from nexis_eval.repro.bisect import minimal_set
from nexis_eval.repro.causes import judge_all
from nexis_eval.repro.compare import Tree, compare_trees
from nexis_eval.repro.findings import Difference, Evidence
from nexis_eval.repro.rebuild import Built, Laboratory, Recipe
from nexis_eval.repro.report import Status, Subject, merge_differences
from nexis_eval.repro.surroundings import Surroundings
from nexis_eval.repro.vary import FROZEN_AHEAD_SECONDS, NAMES, Setup, describe

MAX_BISECTION_BUILDS = 40
CHANCY = frozenset(("random", "aslr", "cpus"))
"""Variations that make a difference in some builds and none in others: that one is not seen again acquits nobody."""


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What a check does. ``vary`` holds names of variations."""

    vary: frozenset[str] = field(default_factory=lambda: frozenset(NAMES))
    rounds: int = 1
    bisect: bool = False
    on_build: Callable[[str], None] | None = None
    """Told before every build what it is for."""
    on_difference: Callable[[Mapping[str, Tree], Mapping[str, Tree]], None] | None = None
    """Called with both sides while their files still exist."""


Trees = Mapping[str, Tree]


@dataclass(frozen=True, slots=True)
class Baseline:
    """The build to compare with: the store's own, or a fresh one."""

    trees: Trees
    surroundings: Surroundings


def compare_outputs(before: Trees, after: Trees, sides: tuple[Surroundings, Surroundings]) -> tuple[Difference, ...]:
    """Every difference of all outputs; paths of outputs other than ``out`` begin with ``<output>:``."""
    found: list[Difference] = []
    for output in before:
        for each in compare_trees(before[output], after[output], sides):
            found.append(each if output == "out" else replace(each, path=f"{output}:{each.path}"))
    return tuple(found)


async def check(
    laboratory: Laboratory, recipe: Recipe, platform: str, options: CheckOptions, baseline: Baseline | None = None
) -> Subject:
    """Build ``recipe`` again ``options.rounds`` times, each time varied, and compare with ``baseline``.

    Without a baseline a natural build is made first. A build that fails makes the subject ``FAILED`` and names the
    conditions it failed under.
    """
    clock = time.monotonic_ns()

    def done(status: Status, differences: tuple[Difference, ...] = (), notes: tuple[str, ...] = ()) -> Subject:
        took = time.monotonic_ns() - clock
        return Subject(recipe.label, platform, status, differences, notes, rounds=options.rounds, duration_ns=took)

    def tell(what: str) -> None:
        if options.on_build is not None:
            options.on_build(what)

    if baseline is None:
        tell(f"{recipe.label}: as usual")
        first = await laboratory.build(recipe, Setup())
        if not first.ok:
            return done(Status.FAILED, notes=_failure("as usual", first))
        baseline = Baseline(first.trees, first.surroundings)
    rounds: list[tuple[Difference, ...]] = []
    for number in range(1, options.rounds + 1):
        varied = laboratory.tools.possible(options.vary)
        tell(f"{recipe.label}: round {number}, varied")
        built = await laboratory.build(recipe, Setup(varied, round=number))
        if not built.ok:
            return done(Status.FAILED, notes=_failure(f"with {describe(varied)} varied", built))
        found = compare_outputs(baseline.trees, built.trees, (baseline.surroundings, built.surroundings))
        if found and options.on_difference is not None:
            options.on_difference(baseline.trees, built.trees)
        rounds.append(found)
    differences = merge_differences(rounds)
    if not differences:
        return done(Status.SAME)
    if options.bisect:
        bisection = _Bisection(laboratory, recipe, laboratory.tools.possible(options.vary), tell)
        differences, notes = await bisection.explain(differences)
        return done(Status.DIFFERS, differences, notes)
    return done(Status.DIFFERS, differences)


def _evidence(difference: Difference) -> tuple[Evidence, ...]:
    return tuple(difference.view.all_evidence()) if difference.view else ()


def _failure(conditions: str, built: Built) -> tuple[str, ...]:
    reason = built.result.reason or f"exit code {built.result.exit_code}"
    return (f"the build failed when run {conditions}: {reason}", *built.log_tail)


class _Bisection:
    """Explains the differences of one recipe by builds that are pinned but for a few variations."""

    def __init__(
        self, laboratory: Laboratory, recipe: Recipe, names: Collection[str], tell: Callable[[str], None]
    ) -> None:
        self._laboratory = laboratory
        self._recipe = recipe
        self._names = [name for name in NAMES if name in names]
        self._tell = tell
        self._frozen_at = int(time.time()) + FROZEN_AHEAD_SECONDS
        self._pinned: Built | None = None
        self._found: dict[frozenset[str], tuple[Difference, ...]] = {}
        self._shown_by: dict[frozenset[str], int] = {}
        self._builds = 0

    async def _build(self, varied: frozenset[str], what: str, number: int = 1) -> Built:
        self._builds += 1
        self._tell(f"{self._recipe.label}: {what}")
        return await self._laboratory.build(self._recipe, Setup(varied, True, number, self._frozen_at))

    async def _differences(self, varied: frozenset[str]) -> tuple[Difference, ...]:
        """What differs between the pinned build and one with ``varied`` on top; a build that fails shows nothing."""
        known = self._found.get(varied)
        if known is not None:
            return known
        found: tuple[Difference, ...] = ()
        # The second way to vary is tried where the first shows nothing: two entries reversed may look as sorted.
        for number in (1, 2) if varied & {"order", "memory"} and len(varied) == 1 else (1,):
            if found or self._builds >= MAX_BISECTION_BUILDS:
                break
            found = await self._look(varied, f"bisecting, {describe(varied)} varied", number) or ()
            self._shown_by[varied] = number
        self._found[varied] = found
        return found

    async def _look(self, varied: frozenset[str], what: str, number: int) -> tuple[Difference, ...] | None:
        assert self._pinned is not None
        built = await self._build(varied, what, number)
        if not built.ok:
            return None
        return compare_outputs(self._pinned.trees, built.trees, (self._pinned.surroundings, built.surroundings))

    async def _by_chance(self, culprits: frozenset[str], found: tuple[Difference, ...]) -> frozenset[str]:
        """Which of ``found`` are not there when the same is varied once more: pinned builds agreed by luck only."""
        if culprits & CHANCY or self._builds >= MAX_BISECTION_BUILDS:
            return frozenset()
        what = f"bisecting, {describe(culprits)} varied once more"
        again = await self._look(culprits, what, self._shown_by.get(culprits, 1))
        if again is None:
            return frozenset()
        return frozenset(each.key for each in found) - {each.key for each in again}

    async def explain(self, differences: tuple[Difference, ...]) -> tuple[tuple[Difference, ...], tuple[str, ...]]:
        """The same differences with verdicts that know their culprits, and notes on how it went."""
        self._pinned = await self._build(frozenset(), "bisecting, everything pinned")
        if not self._pinned.ok:
            return differences, ("the bisection could not be made: the build fails when everything is pinned",)
        again = await self._build(frozenset(), "bisecting, everything pinned once more")
        sides = (self._pinned.surroundings, again.surroundings)
        intrinsic = compare_outputs(self._pinned.trees, again.trees, sides) if again.ok else ()
        explained: dict[str, list[tuple[tuple[str, ...], Difference]]] = {}
        for each in intrinsic:
            explained.setdefault(each.key, []).append(((), each))
        names = list(self._names)
        beyond_control = frozenset(each.key for each in intrinsic)

        async def differs(varied: frozenset[str]) -> frozenset[str]:
            return frozenset(each.key for each in await self._differences(varied)) - beyond_control

        while names:
            wanted = await differs(frozenset(names))
            if not wanted:
                break
            culprits = await minimal_set(names, wanted, differs)
            found = await self._differences(frozenset(culprits))
            by_chance = await self._by_chance(frozenset(culprits), found)
            for each in found:
                if each.key in by_chance:
                    explained[each.key] = [((), each)]
                elif each.key not in beyond_control:
                    explained.setdefault(each.key, []).append((culprits, each))
            beyond_control |= by_chance
            names = [name for name in names if name not in culprits]
        await self._confirm(explained)
        return self._merge(differences, explained)

    async def _confirm(self, explained: dict[str, list[tuple[tuple[str, ...], Difference]]]) -> None:
        """Two pinned builds may agree by luck. If a third does not, what it differs in is nobody's fault."""
        assert self._pinned is not None
        third = await self._build(frozenset(), "bisecting, everything pinned a third time")
        if not third.ok:
            return
        sides = (self._pinned.surroundings, third.surroundings)
        for each in compare_outputs(self._pinned.trees, third.trees, sides):
            explained[each.key] = [((), each)]

    def _merge(
        self, differences: tuple[Difference, ...], explained: Mapping[str, list[tuple[tuple[str, ...], Difference]]]
    ) -> tuple[tuple[Difference, ...], tuple[str, ...]]:
        merged = []
        for each in differences:
            reasons = explained.get(each.key)
            if not reasons:
                merged.append(each)
                continue
            verdicts = judge_all([(culprits, _evidence(isolated) or _evidence(each)) for culprits, isolated in reasons])
            merged.append(replace(each, verdict=verdicts[0], more_verdicts=verdicts[1:]))
        notes = [f"bisected with {self._builds} builds"]
        left = [each.path for each in differences if each.key not in explained]
        if left:
            notes.append(f"not explained by any one of the variations: {', '.join(left[:5])}")
        return tuple(merged), tuple(notes)
