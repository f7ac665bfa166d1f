"""Makes one step: fetches it, builds it in a sandbox, or writes it itself, and commits what came out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nexis_eval import events
from nexis_eval.execute.adopt import prepare_checked, references
from nexis_eval.execute.base import BuildRequest, BuildResult, Executor
from nexis_eval.execute.builtin import realise_builtin
from nexis_eval.execute.committer import Committer, Landed, ended
from nexis_eval.execute.failed import script_failed
from nexis_eval.execute.fetching import Fetching
from nexis_eval.execute.log import kept
from nexis_eval.execute.staging import stage
from nexis_eval.execute.workspace import ID_DIGITS, Workspace, build_name, remove_tree
from nexis_eval.graph.closures import Closures, Outputs
from nexis_eval.graph.dag import DerivationGraph, LateOrigins
from nexis_eval.graph.derivation import Choice, Derivation, Fetch, FetchGit, Input, Script, Use
from nexis_eval.sandbox.spec import Limits
from nexis_eval.schedule.jobserver import TokenPool
from nexis_eval.schedule.memory import MemoryPool
from nexis_eval.schedule.plan import chosen
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.errors import NexisError, Place
from nexis_store.realisation import INPUTS, Realisation, inputs_of
from nexis_store.store import Store

MAX_FETCHES = 8
LONG_NS = 1_000_000_000
"""A build that took this long may have left much to land: that is done beside what others left, not in line."""
LANDING = "landing"
"""What the engine itself does with what a build left: the last phase of each."""

Emit = Callable[[events.Event], None]


@dataclass(frozen=True, slots=True)
class Means:
    """What a run works with, the same for all its rounds and steps."""

    store: Store
    executor: Executor
    workspace: Workspace
    tokens: TokenPool
    memory: MemoryPool
    committer: Committer
    emit: Emit
    jobs: int
    limits: Limits
    keep_failed: bool
    selection: tuple[str, ...]
    """What of the command line chose the system, for the commands that an error names."""


class Slots:
    """How many steps may be at work at a time, by what they need; and who of them keeps no processor busy."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._fetches = asyncio.Semaphore(MAX_FETCHES)
        self._builds = asyncio.Semaphore(jobs)
        # As many again as run are laid out in advance, so that no processor waits for that.
        self._scripts = asyncio.Semaphore(2 * jobs)
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
        """Wait for the right to work on a step. It can be let go early, when the step does not need it any more."""
        if isinstance(derivation.builder, Script):
            slots = self._scripts
        else:
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
class Begun:
    """A step that is to be done: which, under which key, how it went the last time; and since when it runs."""

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


class Maker:
    """Makes the steps of one graph, whose inputs are in ``outputs`` by the time they are made."""

    def __init__(
        self,
        graph: DerivationGraph,
        means: Means,
        slots: Slots,
        fetching: Fetching,
        outputs: Mapping[DerivationId, Outputs],
        closures: Closures,
        unavailable: Mapping[DerivationId, str],
    ) -> None:
        self._graph = graph
        self._means = means
        self._slots = slots
        self._fetching = fetching
        self._outputs = outputs
        self._closures = closures
        self._unavailable = unavailable

    async def make(self, begun: Begun, slot: Slot) -> Realisation:
        """Make and record a step; raises what is to be told of it where that fails."""
        derivation = begun.derivation
        builder = derivation.builder
        if isinstance(builder, Script):
            made = await self._build(begun, builder, slot)
        else:
            self._tell_start(begun)
            if isinstance(builder, Choice):
                outputs = self._outputs[chosen(derivation, self._unavailable).derivation]
                made = await self._commit(slot, lambda: ((), self._realisation(begun, outputs)))
            else:
                made = await self._perform(begun, slot)
        self._means.emit(
            events.StepFinished(
                begun.id,
                derivation.label,
                builder.kind,
                made.duration_ns,
                outputs=dict(made.outputs),
                unchanged=begun.before is not None and begun.before.outputs == made.outputs,
                note=made.note,
            )
        )
        return made

    def _tell_start(self, begun: Begun) -> None:
        begun.start()
        usual = begun.usual.duration_ns if begun.usual is not None else 0
        derivation = begun.derivation
        self._means.emit(
            events.StepStarted(
                begun.id,
                derivation.label,
                derivation.builder.kind,
                derivation.platform,
                expected_ns=usual or None,
                needs=tuple(dict.fromkeys(derivation.dependencies())),
            )
        )

    def _realisation(self, begun: Begun, outputs: Outputs, result: BuildResult | None = None) -> Realisation:
        origin, note = self._provenance(begun.derivation)
        extra = {"platform": begun.derivation.platform, "kind": begun.derivation.builder.kind}
        # Of a choice only what was chosen is there.
        inputs = [self._resolve(each) for each in begun.derivation.inputs if each.derivation in self._outputs]
        if inputs:
            extra[INPUTS] = inputs_of(inputs)
        return Realisation(
            key=begun.key,
            derivation=begun.id,
            name=begun.derivation.label,
            outputs=outputs,
            origin=origin,
            note=note,
            started_ns=begun.started_ns,
            duration_ns=time.monotonic_ns() - begun.clock_ns,
            max_rss_bytes=result.max_rss_bytes if result else 0,
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
        return ("fetched" if derivation.builder.kind in ("fetch", "git") else "built"), ""

    async def _commit(
        self, slot: Slot, land: Callable[[], Landed], cleanup: Callable[[], None] = lambda: None
    ) -> Realisation:
        slot.let_go()
        with self._slots.standing_by():
            return await self._means.committer.commit(land, cleanup, hurry=self._slots.free)

    def _place(self, key: str) -> Place | None:
        """Where the configuration sets ``SECTION.NAME.KEY``; names may have dots."""
        section, _, rest = key.partition(".")
        name, _, last = rest.rpartition(".")
        origins = self._graph.origins
        return origins.place((section, name, last)) if isinstance(origins, LateOrigins) else None

    def _resolve(self, each: Input) -> TreeDigest:
        return self._outputs[each.derivation][each.output]

    async def _perform(self, begun: Begun, slot: Slot) -> Realisation:
        """A step without a sandbox: it adds its one output by itself."""
        derivation, store = begun.derivation, self._means.store
        builder = derivation.builder
        if isinstance(builder, Fetch):
            artifact = await self._fetching.fetch(begun.id, derivation, builder)
        elif isinstance(builder, FetchGit):
            artifact = await self._fetching.fetch_git(begun.id, derivation, builder)
        else:
            names = {item.derivation: self._graph.derivations[item.derivation].name for item in derivation.inputs}
            artifact = await asyncio.to_thread(realise_builtin, store, derivation, self._resolve, names, self._place)
        return await self._commit(slot, lambda: ((), self._realisation(begun, {"out": artifact.digest})))

    @asynccontextmanager
    async def _processor(self, usual: Realisation | None) -> AsyncIterator[None]:
        """Wait for memory, and for a job token from the pool that every ``make`` shares."""
        wanted = usual.max_rss_bytes if usual is not None else 0
        await self._means.memory.acquire(wanted)
        try:
            await self._means.tokens.acquire()
            try:
                yield
            finally:
                self._means.tokens.release()
        finally:
            self._means.memory.release(wanted)

    async def _build(self, begun: Begun, script: Script, slot: Slot) -> Realisation:
        means, derivation, key = self._means, begun.derivation, begun.key
        directory = means.workspace.directory(build_name(derivation.name, begun.id))
        log = directory / "log"
        handed_over = False

        def on_phase(phase: str) -> None:
            means.emit(events.StepPhase(begun.id, phase))

        try:
            arrange = partial(
                stage,
                derivation,
                script,
                means.store,
                self._closures.trees,
                directory,
                jobs=means.jobs,
                limits=means.limits,
                run_time=means.tokens.environment,
                jobserver=means.tokens.path,
            )
            # Writing archives takes its time; anything else is done before a thread would have begun.
            slow = any(item.use in (Use.TAR, Use.CPIO) for item in derivation.inputs)
            spec = await asyncio.to_thread(arrange) if slow else arrange()
            log.touch()
            async with self._processor(begun.usual):
                self._tell_start(begun)
                means.emit(events.StepLog(begun.id, str(log)))
                result = await means.executor.execute(BuildRequest(derivation.label, spec, log, on_phase))
            slot.let_go()
            if not result.ok:
                keep = means.workspace.keep if means.keep_failed else None
                called = " ".join((*means.selection, self._called(begun.id, derivation)))
                raise await asyncio.to_thread(
                    script_failed, means.store, derivation, key, result, directory, keep, called
                )
            on_phase(LANDING)
            handed_over = True
            return await self._land(begun, script, result, directory, slot)
        finally:
            if not handed_over and directory.exists():
                await asyncio.to_thread(remove_tree, directory)

    def _called(self, each: DerivationId, derivation: Derivation) -> str:
        """What a person types for a step: its name where that is enough."""
        name = derivation.name
        known = self._graph.targets.named(name)
        unique = known == each if known is not None else self._graph.called(name) == [each]
        return name if unique else each.hex()[:ID_DIGITS]

    async def _land(
        self, begun: Begun, script: Script, result: BuildResult, directory: Path, slot: Slot
    ) -> Realisation:
        """From what the build left in ``directory``, which is removed, to a durable realisation."""
        store, derivation = self._means.store, begun.derivation
        needed = references(derivation, self._outputs)

        def work() -> Landed:
            store.put_log(begun.key, kept(directory / "log"))
            try:
                prepared = prepare_checked(store, self._graph, derivation, script, directory, needed)
            except NexisError as error:
                store.put_log(begun.key, kept(directory / "log", error.message))
                raise
            outputs = {name: each.digest for name, each in prepared.items()}
            return tuple(prepared.values()), self._realisation(begun, outputs, result)

        def clean() -> None:
            remove_tree(directory)

        if result.duration_ns < LONG_NS:
            return await self._commit(slot, work, clean)
        ready = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            landed = await asyncio.shield(ready)
        except BaseException:
            # Nobody may remove the directory under the thread's hands.
            await ended(store, ready)
            if not ready.cancelled() and ready.exception() is None:
                for each in ready.result()[0]:
                    each.close()
            await asyncio.to_thread(clean)
            raise
        return await self._commit(slot, lambda: landed, clean)
