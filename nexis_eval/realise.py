"""Makes the plan come true: runs steps side by side, in the order of the schedule, and records what they came out as.

The loop is one asyncio task; fetching is asynchronous, builds run in the executor's processes, and the store's work
(unpacking, hashing, landing) runs in threads, which is where BLAKE3 and the decompressors release the interpreter lock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from nexis_eval import events
from nexis_eval.execute.adopt import adopt
from nexis_eval.execute.base import check_platform
from nexis_eval.execute.contested import ConflictWatch
from nexis_eval.execute.copying import Copying
from nexis_eval.execute.failed import ScriptFailedError, reason
from nexis_eval.execute.fetching import Fetching
from nexis_eval.execute.making import MAX_FETCHES, EngineResources, Maker, Slots, StepRun
from nexis_eval.execute.runner import RunResult
from nexis_eval.graph.closures import Closures, Outputs
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import Choice, Derivation
from nexis_eval.mirrors import Mirrors
from nexis_eval.sandbox.spec import Limits
from nexis_eval.schedule.order import Schedule, State
from nexis_eval.schedule.plan import Plan, chosen, make_plan, reads, resolve_inputs
from nexis_eval.schedule.timeline import Timeline
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError
from nexis_store.realisation import Realisation

MAX_UNCOMMITTED = 256
FIRST_LOOK_SECONDS, LAST_LOOK_SECONDS = 0.02, 0.25
"""How often to look whether another engine has finished what both want."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to run, as opposed to what: none of this may change a result."""

    jobs: int = 2
    keep_going: bool = False
    keep_failed: bool = False
    offline: bool = False
    limits: Limits = field(default_factory=Limits)
    max_memory_bytes: int | None = None
    """What all builds together may use, as far as earlier builds tell; ``None`` is what the machine has to spare."""
    selection: tuple[str, ...] = ()
    """What of the command line chose the system, for the commands that an error names."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did."""

    outputs: Mapping[DerivationId, Outputs]
    built: int = 0
    fetched: int = 0
    cached: int = 0
    cut_off: int = 0
    failed: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    """What needs something that failed."""
    left: int = 0
    """Steps that were not begun or not finished because something else failed."""
    exit_code: int = 0
    """The class of the first failure (docs/errors.md): a build's, a download's."""
    unavailable: Mapping[DerivationId, str] = field(default_factory=dict)
    """Alternatives of choices that could not be had although something else can stand in for them."""
    copied: int = 0
    """Results that came from sources of trees."""


class _Round:
    """Realises one plan. Use ``realise``; the class only holds what the steps share."""

    def __init__(
        self,
        graph: DerivationGraph,
        roots: Sequence[DerivationId],
        resources: EngineResources,
        mirrors: Mirrors,
        options: Options,
        plan: Plan,
    ) -> None:
        self._roots = roots
        self._graph = graph
        self._resources = resources
        self._store = resources.store
        self._emit = resources.emit
        self._options = options
        self._plan = plan
        self._outputs: dict[DerivationId, Outputs] = plan.outputs
        self._copying = Copying(
            resources.store, graph, resources.sources, plan.elsewhere, self._outputs, resources.emit
        )
        self._closures = Closures(graph.derivations, self._outputs)
        self._jobs = resources.executor.capacity.total
        self._slots = Slots(self._jobs)
        self._fetching = Fetching(
            resources.store, mirrors, resources.workspace, graph, resources.emit, offline=options.offline
        )
        self._maker = Maker(
            graph, resources, self._slots, self._fetching, self._outputs, self._closures, plan.unavailable
        )

    async def run(self) -> Outcome:
        """Run every pending step of the plan; returns what came out. A failed step does not raise: see ``failed``."""
        plan = self._plan
        for derivation in map(plan.pending.__getitem__, plan.certain):
            if derivation.builder.runs:
                # Now, and not after hours of what it does not need.
                check_platform(self._resources.executor.capacity, derivation.label, derivation.build_platform)
        for outputs in plan.done.values():
            for digest in outputs.values():
                self._store.temporary_root(digest)
        counts = {"built": 0, "fetched": 0, "cached": 0, "cut_off": 0}
        failed: list[str] = []
        stopped: dict[DerivationId, None] = {}
        exit_code = 0
        unavailable: dict[DerivationId, str] = {}
        schedule = Schedule(plan.pending, self._usual_duration, plan.needs)
        watch = ConflictWatch(self._store, plan, lambda each: self._graph.derivations[each].name)
        self._emit(events.PlanReady(len(plan.pending) + len(plan.done), len(plan.done)))
        self._emit(events.Estimate(*schedule.estimate(self._jobs)))
        running: dict[asyncio.Task[str], DerivationId] = {}

        def fail(each: DerivationId, error: NexisError) -> None:
            nonlocal exit_code
            blocked = schedule.fail(each)
            replaceable = self._replaceable(each, blocked)
            if replaceable:
                unavailable.update(dict.fromkeys(replaceable, reason(error)))
                self._failed(each, error, (), replaced=True)
            else:
                failed.append(self._graph.derivations[each].label)
                stopped.update(dict.fromkeys(blocked))
                exit_code = exit_code or error.exit_code
                self._failed(each, error, blocked)

        async def look(unions: Iterable[DerivationId]) -> None:
            for union in unions:
                error = await asyncio.to_thread(watch.look, union, self._outputs)
                if error is not None and schedule.state(union) is State.WAITING:
                    fail(union, error)

        try:
            await look(watch.ready())
            while schedule.unfinished:
                while (failed == [] or self._options.keep_going) and self._has_room():
                    each = schedule.take()
                    if each is None:
                        break
                    running[asyncio.create_task(self._step(each))] = each
                    self._slots.taken = len(running)
                if not running:
                    break
                if self._slots.free:
                    self._resources.committer.hurry()
                finished, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in finished:
                    each = running.pop(task)
                    self._slots.taken = len(running)
                    error = task.exception()
                    if error is None:
                        counts[task.result()] += 1
                        schedule.finish(each)
                        await look(watch.ready(each))
                        continue
                    if not isinstance(error, NexisError):
                        raise error
                    fail(each, error)
                self._emit(events.Estimate(*schedule.estimate(self._jobs)))
            if not failed or self._options.keep_going:
                await self._copying.bring(self._roots)
        finally:
            await _end(running)
            await self._fetching.close()
        return Outcome(
            self._outputs,
            failed=tuple(failed),
            blocked=tuple(self._graph.derivations[each].label for each in stopped),
            left=schedule.unfinished,
            exit_code=exit_code,
            unavailable=unavailable,
            copied=self._copying.copied,
            **counts,
        )

    def _has_room(self) -> bool:
        """Whether another step may begin. The first ``jobs`` of them build, the rest fetch or stand in line."""
        return self._slots.working < self._jobs + MAX_FETCHES and self._slots.taken < MAX_UNCOMMITTED

    def _before(self, derivation: Derivation) -> Realisation | None:
        return self._store.last_realisation(derivation.label, derivation.platform)

    def _usual_duration(self, derivation: Derivation) -> int | None:
        return self._store.duration(derivation.label)

    def _replaceable(self, each: DerivationId, blocked: Iterable[DerivationId]) -> list[DerivationId]:
        """The alternatives that are lost with ``each``, if every user of it has another one to turn to."""
        plan = self._plan
        lost = {each, *blocked}
        alternatives: list[DerivationId] = []
        reached = {each}
        for user in blocked:
            derivation = self._graph.derivations[user]
            if not reached.intersection(plan.needs(derivation)):
                continue
            if isinstance(derivation.builder, Choice):
                taken = chosen(derivation, plan.unavailable)
                if taken is derivation.inputs[-1]:
                    return []
                alternatives.append(taken.derivation)
            else:
                reached.add(user)
        ends = [user for user in reached if not any(user in plan.needs(self._graph.derivations[x]) for x in lost)]
        return [] if ends else alternatives

    def _failed(
        self, each: DerivationId, error: NexisError, blocked: Iterable[DerivationId], *, replaced: bool = False
    ) -> None:
        derivation = self._graph.derivations[each]
        result = error.result if isinstance(error, ScriptFailedError) else RunResult(1, 0)
        self._emit(
            events.StepFailed(
                each,
                derivation.label,
                reason(error) if replaced else f"{error.place}: {error.message}" if error.place else error.message,
                hint=error.hint or "",
                log_tail=error.tail if isinstance(error, ScriptFailedError) else (),
                command=error.command if isinstance(error, ScriptFailedError) else "",
                phase=result.phase,
                duration_ns=result.duration_ns,
                blocked=tuple(self._graph.derivations[user].label for user in blocked),
                replaced=replaced,
            )
        )

    async def _step(self, each: DerivationId) -> str:
        """Realise one node; returns how it came about, as a key of the counters."""
        derivation = self._graph.derivations[each]
        key = resolve_inputs(derivation, self._closures, self._plan.unavailable)
        known = self._store.realisation(key)
        if known is not None:
            return self._take(each, derivation, known)
        before = self._before(derivation)
        wait = FIRST_LOOK_SECONDS
        while True:
            async with self._slots.one_for(derivation) as slot:
                release = self._store.try_lock_build(key)
                if release is not None:
                    try:
                        known = self._store.realisation(key)
                        if known is not None:
                            return self._take(each, derivation, known)
                        if each not in self._plan.certain:
                            offer = await self._copying.offer(each, key, derivation.builder.declared_tree())
                            if offer is not None:
                                self._outputs[each] = offer.outputs
                                self._emit(events.StepCached(each, derivation.label, cut_off=True))
                                return "cut_off"
                        await self._copying.bring(reads(self._graph.derivations, derivation, self._plan.unavailable))
                        made = await self._maker.make(StepRun(each, derivation, key, before), slot)
                        self._outputs[each] = made.outputs
                        return "fetched" if derivation.builder.fetches else "built"
                    finally:
                        release()
            # Another engine is at it; there may be other things to do until it has finished.
            with self._slots.standing_by():
                await asyncio.sleep(wait)
            wait = min(wait * 2, LAST_LOOK_SECONDS)
            known = self._store.realisation(key)
            if known is not None:
                return self._take(each, derivation, known)

    def _take(self, each: DerivationId, derivation: Derivation, known: Realisation) -> str:
        for digest in known.outputs.values():
            self._store.temporary_root(digest)
        self._outputs[each] = known.outputs
        adopt(self._store, self._graph, each, known.key, self._outputs)
        self._emit(events.StepCached(each, derivation.label, cut_off=True))
        return "cut_off"


async def _end(tasks: Iterable[asyncio.Task[str]]) -> None:
    """Cancel ``tasks`` and wait until they have let go of everything, however often this is interrupted meanwhile."""
    for task in tasks:
        task.cancel()
    while left := [task for task in tasks if not task.done()]:
        with suppress(asyncio.CancelledError):
            await asyncio.wait(left)
    for task in tasks:
        if not task.cancelled():
            task.exception()


async def realise(
    graph: DerivationGraph,
    roots: Sequence[DerivationId],
    plan: Plan,
    resources: EngineResources,
    mirrors: Mirrors,
    options: Options,
) -> Outcome:
    """Run ``plan``, made for ``roots``. A failed step does not raise: ``Outcome.failed`` names it, an event says why.

    Where an alternative of a choice cannot be had, another round is planned with the next one. Cancelling the task
    stops every build and leaves nothing behind but finished, recorded steps.
    """
    clock = time.monotonic_ns()
    cut_off = len(plan.cut_off)
    timeline = Timeline(resources.emit)
    told, store = replace(resources, emit=timeline), resources.store
    total = Outcome({})
    while True:
        outcome = await _Round(graph, roots, told, mirrors, options, plan).run()
        total = Outcome(
            {**total.outputs, **outcome.outputs},
            built=total.built + outcome.built,
            fetched=total.fetched + outcome.fetched,
            cached=len(plan.done),
            cut_off=total.cut_off + outcome.cut_off,
            failed=outcome.failed,
            blocked=outcome.blocked,
            left=outcome.left,
            exit_code=outcome.exit_code,
            unavailable={**total.unavailable, **outcome.unavailable},
            copied=total.copied + outcome.copied,
        )
        if outcome.failed or not outcome.unavailable:
            break
        plan = make_plan(graph, roots, store.realised, store.realisation, total.unavailable, resources.sources or None)
    resources.emit(
        events.Finished(
            built=total.built,
            fetched=total.fetched,
            cached=total.cached,
            cut_off=total.cut_off + cut_off,
            failed=len(total.failed),
            failures=total.failed,
            blocked=total.blocked,
            left=total.left,
            duration_ns=time.monotonic_ns() - clock,
            longest_chain=timeline.longest_chain(),
            spent=timeline.spent(),
            copied=total.copied,
        )
    )
    return total
