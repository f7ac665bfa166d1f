"""Makes one step: fetches it, runs it, or writes it itself, and commits what came out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from nexis_eval import events
from nexis_eval.execute.action import action_of
from nexis_eval.execute.adopt import check_run_time, references
from nexis_eval.execute.base import Executor, Result, check_platform
from nexis_eval.execute.builtin import PERFORMERS, Performance
from nexis_eval.execute.committer import Committer, Landed
from nexis_eval.execute.failed import script_failed
from nexis_eval.execute.fetching import Fetching
from nexis_eval.execute.log import kept
from nexis_eval.execute.workspace import ID_DIGITS, Workspace, build_name
from nexis_eval.graph.closures import Closures, Outputs
from nexis_eval.graph.dag import DerivationGraph, LateOrigins
from nexis_eval.graph.derivation import Choice, Derivation, Input, Script
from nexis_eval.schedule.plan import chosen
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.errors import NexisError, Place
from nexis_store.realisation import INPUTS, Realisation, inputs_of
from nexis_store.store import Store
from nexis_store.substituters.base import Sources

MAX_FETCHES = 8

Emit = Callable[[events.Event], None]


@dataclass(frozen=True, slots=True)
class EngineResources:
    """What a run works with, the same for all its rounds and steps."""

    store: Store
    executor: Executor
    workspace: Workspace
    committer: Committer
    emit: Emit
    sources: Sources
    keep_failed: bool
    selection: tuple[str, ...]
    """What of the command line chose the system, for the commands that an error names."""


class Slots:
    """How many steps may be at work at a time, by what they need; and who of them keeps no processor busy."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._fetches = asyncio.Semaphore(MAX_FETCHES)
        self._builds = asyncio.Semaphore(jobs)
        self.taken = 0
        """Steps that have begun and not ended."""
        self._idle = 0

    @property
    def working(self) -> int:
        """Steps that have begun and do not wait for a commit or for another engine."""
        return self.taken - self._idle

    @property
    def free(self) -> bool:
        """Whether some processor has nothing to do."""
        return self.working < self._jobs

    @contextmanager
    def standing_by(self) -> Iterator[None]:
        """While a step waits for something that keeps no processor busy."""
        self._idle += 1
        try:
            yield
        finally:
            self._idle -= 1

    @asynccontextmanager
    async def one_for(self, derivation: Derivation) -> AsyncIterator[Slot]:
        """Wait for the right to work on a step. It can be let go early, when the step does not need it any more.

        What an executor runs waits there, for a share of its machine.
        """
        if derivation.builder.runs:
            yield Slot()
            return
        slots = self._fetches if derivation.is_fixed else self._builds
        await slots.acquire()
        slot = Slot(slots.release)
        try:
            yield slot
        finally:
            slot.let_go()


class Slot:
    """The right to run something, given back once, when it is let go."""

    def __init__(self, *give_back: Callable[[], None]) -> None:
        self._give_back = give_back

    def let_go(self) -> None:
        """Let somebody else have it."""
        give_back, self._give_back = self._give_back, ()
        for each in give_back:
            each()


@dataclass(slots=True)
class StepRun:
    """A step that must be made: which, under which key, how it went the last time; and since when it runs."""

    id: DerivationId
    derivation: Derivation
    key: BuildKey
    before: Realisation | None
    started_ns: int = 0
    clock_ns: int = 0

    @property
    def usual(self) -> Realisation | None:
        """What tells how long it will take, and how much memory: the last time, unless it was only unpacked then."""
        kind = self.derivation.builder.kind
        if self.before is None or self.before.extra.get("kind", kind) != kind:
            return None
        return self.before

    def start(self) -> None:
        """It runs from now on."""
        self.started_ns, self.clock_ns = time.time_ns(), time.monotonic_ns()

    def started_event(self) -> events.StepStarted:
        """Return what is told when it starts."""
        usual = self.usual.duration_ns if self.usual is not None else 0
        return events.StepStarted(
            self.id,
            self.derivation.label,
            self.derivation.builder.kind,
            self.derivation.platform,
            expected_ns=usual or None,
            needs=tuple(dict.fromkeys(self.derivation.dependencies())),
        )


@dataclass(frozen=True, slots=True)
class StepWatch:
    """Tells the events of a step that an executor runs."""

    run: StepRun
    emit: Emit

    @property
    def usual_memory_bytes(self) -> int:
        """How much memory it took the last time; 0 if that is not known."""
        return self.run.usual.max_rss_bytes if self.run.usual is not None else 0

    def started(self, log: Path | None) -> None:
        """It runs from now on."""
        self.run.start()
        self.emit(self.run.started_event())
        if log is not None:
            self.emit(events.StepLog(self.run.id, str(log)))

    def phase(self, name: str) -> None:
        """It entered a phase."""
        self.emit(events.StepPhase(self.run.id, name))


class Maker:
    """Makes the steps of one graph, whose inputs are in ``outputs`` by the time they are made."""

    def __init__(
        self,
        graph: DerivationGraph,
        resources: EngineResources,
        slots: Slots,
        fetching: Fetching,
        outputs: Mapping[DerivationId, Outputs],
        closures: Closures,
        unavailable: Mapping[DerivationId, str],
    ) -> None:
        self._graph = graph
        self._resources = resources
        self._slots = slots
        self._fetching = fetching
        self._outputs = outputs
        self._closures = closures
        self._unavailable = unavailable

    async def make(self, step: StepRun, slot: Slot) -> Realisation:
        """Make and record a step; raises what is to be told of it where that fails."""
        derivation = step.derivation
        builder = derivation.builder
        if isinstance(builder, Script):
            made = await self._build(step, builder, slot)
        else:
            step.start()
            self._resources.emit(step.started_event())
            if isinstance(builder, Choice):
                outputs = self._outputs[chosen(derivation, self._unavailable).derivation]
                made = await self._commit(slot, lambda: ((), self._realisation(step, outputs)))
            else:
                made = await self._perform(step, slot)
        self._resources.emit(
            events.StepFinished(
                step.id,
                derivation.label,
                builder.kind,
                made.duration_ns,
                outputs=dict(made.outputs),
                unchanged=step.before is not None and step.before.outputs == made.outputs,
                note=made.note,
            )
        )
        return made

    def _realisation(self, step: StepRun, outputs: Outputs, result: Result | None = None) -> Realisation:
        origin, note = self._provenance(step.derivation)
        extra = {"platform": step.derivation.platform, "kind": step.derivation.builder.kind}
        # Of a choice only what was chosen is there.
        inputs = [self._resolve(item) for item in step.derivation.inputs if item.derivation in self._outputs]
        if inputs:
            extra[INPUTS] = inputs_of(inputs)
        return Realisation(
            key=step.key,
            derivation=step.id,
            name=step.derivation.label,
            outputs=outputs,
            origin=origin,
            note=note,
            started_ns=step.started_ns,
            duration_ns=time.monotonic_ns() - step.clock_ns,
            max_rss_bytes=result.run.max_rss_bytes if result else 0,
            extra=extra,
        )

    def _provenance(self, derivation: Derivation) -> tuple[str, str]:
        """How the outputs came to be, and the reason where that is not what was asked for first."""
        if isinstance(derivation.builder, Choice):
            if derivation.builder.absent:
                return "fallback", f"built from source: {derivation.builder.absent}"
            if chosen(derivation, self._unavailable) is derivation.inputs[0]:
                return "prebuilt", ""
            return "fallback", f"built from source: {self._unavailable[derivation.inputs[0].derivation]}"
        return derivation.builder.origin, ""

    async def _commit(
        self, slot: Slot, land: Callable[[], Landed], cleanup: Callable[[], None] = lambda: None
    ) -> Realisation:
        slot.let_go()
        with self._slots.standing_by():
            return await self._resources.committer.commit(land, cleanup, hurry=self._slots.free)

    def _place(self, key: str) -> Place | None:
        """Where the configuration sets ``SECTION.NAME.KEY``; names may have dots."""
        section, _, rest = key.partition(".")
        name, _, last = rest.rpartition(".")
        origins = self._graph.origins
        return origins.place((section, name, last)) if isinstance(origins, LateOrigins) else None

    def _resolve(self, each: Input) -> TreeDigest:
        return self._outputs[each.derivation][each.output]

    async def _perform(self, step: StepRun, slot: Slot) -> Realisation:
        """Perform a step without a sandbox, which adds its one output by itself."""
        derivation = step.derivation
        performance = Performance(
            step.id,
            derivation,
            self._resources.store,
            self._fetching,
            self._resolve,
            names={item.derivation: self._graph.derivations[item.derivation].name for item in derivation.inputs},
            place=self._place,
        )
        artifact = await PERFORMERS[type(derivation.builder)](performance)
        return await self._commit(slot, lambda: ((), self._realisation(step, {"out": artifact.digest})))

    async def _build(self, step: StepRun, script: Script, slot: Slot) -> Realisation:
        resources, derivation = self._resources, step.derivation
        check_platform(resources.executor.capacity, derivation.label, derivation.build_platform)
        action = action_of(derivation, script, self._closures.trees, name=build_name(derivation.name, step.id))
        result = await resources.executor.execute(action, StepWatch(step, resources.emit))
        if result.ok:
            return await self._commit(slot, lambda: self._landed(step, result), result.close)
        try:
            keep = result.keep if resources.keep_failed else None
            called = " ".join((*resources.selection, self._called(step.id, derivation)))
            raise await asyncio.to_thread(script_failed, resources.store, derivation, step.key, result, keep, called)
        finally:
            await asyncio.to_thread(result.close)

    def _landed(self, step: StepRun, result: Result) -> Landed:
        """Return what is recorded of a run that succeeded; raises where its outputs cannot run."""
        store, derivation = self._resources.store, step.derivation
        needed = references(derivation, self._outputs)
        try:
            if result.error is not None:
                raise result.error
            out = result.pending.get("out")
            if out is not None:
                check_run_time(store, self._graph, derivation, out.tree, needed)
        except NexisError as error:
            store.put_log(step.key, kept(result.log, error.message))
            raise
        store.put_log(step.key, kept(result.log))
        for part in result.pending.values():
            part.refer_to(needed)
        return tuple(result.pending.values()), self._realisation(step, dict(result.outputs), result)

    def _called(self, each: DerivationId, derivation: Derivation) -> str:
        """What a person types for a step: its name where that is enough."""
        name = derivation.name
        known = self._graph.targets.named(name)
        unique = known == each if known is not None else self._graph.called(name) == [each]
        return name if unique else each.hex()[:ID_DIGITS]
