"""Makes the plan come true: runs steps side by side, in the order of the schedule, and records what they came out as.

The loop is one asyncio task; fetching is asynchronous, builds run in the executor's processes, and the store's work
(unpacking, hashing, landing) runs in threads, which is where BLAKE3 and the decompressors release the interpreter lock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from nexis_eval import events
from nexis_eval.execute.adopt import adopt, check_run_time, references
from nexis_eval.execute.base import BuildRequest, BuildResult, Executor
from nexis_eval.execute.builtin import realise_builtin
from nexis_eval.execute.committer import Committer, Landed
from nexis_eval.execute.failed import ScriptFailedError, reason, script_failed
from nexis_eval.execute.fetching import Fetching
from nexis_eval.execute.land import prepare
from nexis_eval.execute.staging import stage
from nexis_eval.execute.workspace import Workspace, remove_tree
from nexis_eval.graph.closures import Closures, Outputs
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import Choice, Derivation, Fetch, FetchGit, Input, Script, Use
from nexis_eval.jobserver import TokenPool
from nexis_eval.memory import MemoryPool
from nexis_eval.mirrors import Mirrors
from nexis_eval.plan import Plan, chosen, make_plan, resolve_inputs
from nexis_eval.sandbox.spec import Limits
from nexis_eval.schedule import Schedule
from nexis_eval.timeline import Timeline
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.errors import NexisError
from nexis_store.realisation import Realisation
from nexis_store.store import Store

MAX_FETCHES = 8
MAX_UNCOMMITTED = 256
LONG_NS = 1_000_000_000
"""A build that took this long may have left much to land: that is done beside what others left, not in line."""
FIRST_LOOK_SECONDS, LAST_LOOK_SECONDS = 0.02, 0.25
"""How often to look whether another engine has finished what both want."""

LANDING = "landing"
"""What the engine itself does with what a build left: the last phase of each."""
ID_DIGITS = 12
"""Digits of the derivation id in the name of its build's directory, by which ``nexis-eval log --follow`` finds it."""

Emit = Callable[[events.Event], None]


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did."""

    outputs: Mapping[DerivationId, Outputs]
    built: int = 0
    fetched: int = 0
    cached: int = 0
    cut_off: int = 0
    failed: tuple[str, ...] = ()
    exit_code: int = 0
    """The class of the first failure (docs/errors.md): a build's, a download's."""
    unavailable: Mapping[DerivationId, str] = field(default_factory=dict)
    """Alternatives of choices that could not be had although something else can stand in for them."""


class Engine:
    """Realises one plan. Use ``realise``; the class only holds what the steps share."""

    def __init__(
        self,
        graph: DerivationGraph,
        store: Store,
        executor: Executor,
        mirrors: Mirrors,
        workspace: Workspace,
        tokens: TokenPool,
        memory: MemoryPool,
        committer: Committer,
        options: Options,
        emit: Emit,
    ) -> None:
        self._graph = graph
        self._store = store
        self._executor = executor
        self._workspace = workspace
        self._tokens = tokens
        self._memory = memory
        self._committer = committer
        self._options = options
        self._emit = emit
        self._outputs: dict[DerivationId, Outputs] = {}
        self._closures = Closures(graph.derivations, self._outputs)
        self._unavailable: Mapping[DerivationId, str] = {}
        self._fetching = Fetching(store, mirrors, workspace, graph, emit, offline=options.offline)
        self._fetch_slots = asyncio.Semaphore(MAX_FETCHES)
        self._build_slots = asyncio.Semaphore(options.jobs)
        # As many again as run are laid out in advance, so that no processor waits for that.
        self._script_slots = asyncio.Semaphore(2 * options.jobs)
        self._running: dict[asyncio.Task[str], DerivationId] = {}
        self._idle = 0
        """Running steps that wait for a commit or for another engine: they keep nobody from starting."""

    async def run(self, plan: Plan) -> Outcome:
        """Run every pending step of ``plan``; returns what came out. A failed step does not raise: see ``failed``."""
        self._outputs.update(plan.done)
        self._unavailable = plan.unavailable
        for outputs in plan.done.values():
            for digest in outputs.values():
                self._store.temporary_root(digest)
        counts = {"built": 0, "fetched": 0, "cached": 0, "cut_off": 0}
        failed: list[str] = []
        exit_code = 0
        unavailable: dict[DerivationId, str] = {}
        schedule = Schedule(plan.pending, lambda derivation: self._store.duration(derivation.label), plan.needs)
        self._emit(events.PlanReady(len(plan.pending) + len(plan.done), len(plan.done)))
        self._emit(events.Estimate(*schedule.estimate(self._options.jobs)))
        running = self._running
        try:
            while schedule.unfinished:
                while (failed == [] or self._options.keep_going) and self._has_room(running):
                    each = schedule.take()
                    if each is None:
                        break
                    running[asyncio.create_task(self._step(each))] = each
                if not running:
                    break
                if len(running) - self._idle < self._options.jobs:
                    self._committer.hurry()
                finished, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in finished:
                    each = running.pop(task)
                    error = task.exception()
                    if error is None:
                        counts[task.result()] += 1
                        schedule.finish(each)
                        continue
                    if not isinstance(error, NexisError):
                        raise error
                    blocked = schedule.fail(each)
                    replaceable = self._replaceable(plan, each, blocked)
                    if replaceable:
                        unavailable.update(dict.fromkeys(replaceable, reason(error)))
                        self._failed(each, error, (), replaced=True)
                    else:
                        failed.append(self._graph.derivations[each].label)
                        exit_code = exit_code or error.exit_code
                        self._failed(each, error, blocked)
                self._emit(events.Estimate(*schedule.estimate(self._options.jobs)))
        finally:
            await _end(running)
            await self._fetching.close()
        return Outcome(self._outputs, failed=tuple(failed), exit_code=exit_code, unavailable=unavailable, **counts)

    def _has_room(self, running: Mapping[asyncio.Task[str], DerivationId]) -> bool:
        """Whether another step may begin. The first ``jobs`` of them build, the rest fetch or stand in line."""
        return len(running) - self._idle < self._options.jobs + MAX_FETCHES and len(running) < MAX_UNCOMMITTED

    @contextmanager
    def _standing_by(self) -> Iterator[None]:
        """While a step waits for something that keeps no processor busy."""
        self._idle += 1
        try:
            yield
        finally:
            self._idle -= 1

    def _replaceable(self, plan: Plan, each: DerivationId, blocked: Iterable[DerivationId]) -> list[DerivationId]:
        """The alternatives that are lost with ``each``, if every user of it has another one to turn to."""
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
        result = error.result if isinstance(error, ScriptFailedError) else BuildResult(1, 0)
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

    def _resolve(self, each: Input) -> TreeDigest:
        return self._outputs[each.derivation][each.output]

    async def _step(self, each: DerivationId) -> str:
        """Realise one node; returns how it came about, as a key of the counters."""
        derivation = self._graph.derivations[each]
        key = resolve_inputs(derivation, self._closures, self._unavailable)
        known = self._store.realisation(key)
        if known is not None:
            return self._take(each, derivation, known)
        before = self._store.last_realisation(derivation.label, derivation.platform)
        wait = FIRST_LOOK_SECONDS
        while True:
            async with self._slot(derivation) as slot:
                release = self._store.try_lock_build(key)
                if release is not None:
                    try:
                        known = self._store.realisation(key)
                        if known is not None:
                            return self._take(each, derivation, known)
                        return await self._make(each, derivation, key, before, slot)
                    finally:
                        release()
            # Another engine is at it; there may be other things to do until it has finished.
            with self._standing_by():
                await asyncio.sleep(wait)
            wait = min(wait * 2, LAST_LOOK_SECONDS)
            known = self._store.realisation(key)
            if known is not None:
                return self._take(each, derivation, known)

    @asynccontextmanager
    async def _slot(self, derivation: Derivation) -> AsyncIterator[Slot]:
        """Wait for the right to work on a step. It can be let go early, when the step does not need it any more."""
        if isinstance(derivation.builder, Script):
            slots = self._script_slots
        else:
            slots = self._fetch_slots if derivation.is_fixed else self._build_slots
        await slots.acquire()
        slot = Slot(slots.release)
        try:
            yield slot
        finally:
            slot.let_go()

    @asynccontextmanager
    async def _processor(self, usual: Realisation | None) -> AsyncIterator[None]:
        """Wait for memory, and for a job token from the pool that every ``make`` shares."""
        wanted = usual.max_rss_bytes if usual is not None else 0
        await self._memory.acquire(wanted)
        try:
            await self._tokens.acquire()
            try:
                yield
            finally:
                self._tokens.release()
        finally:
            self._memory.release(wanted)

    def _take(self, each: DerivationId, derivation: Derivation, known: Realisation) -> str:
        for digest in known.outputs.values():
            self._store.temporary_root(digest)
        self._outputs[each] = known.outputs
        adopt(self._store, self._graph, each, known.key, self._outputs)
        self._emit(events.StepCached(each, derivation.label, cut_off=True))
        return "cut_off"

    async def _make(
        self, each: DerivationId, derivation: Derivation, key: BuildKey, before: Realisation | None, slot: Slot
    ) -> str:
        builder = derivation.builder
        begun = _Begun(each, derivation, key, before)
        if not isinstance(builder, Script):
            self._tell_start(begun)
        if isinstance(builder, Script):
            made = await self._build(begun, builder, slot)
        elif isinstance(builder, Choice):
            outputs = self._outputs[chosen(derivation, self._unavailable).derivation]
            made = await self._commit(slot, lambda: ((), self._realisation(begun, outputs)))
        else:
            made = await self._perform(begun, slot)
        self._outputs[each] = made.outputs
        self._emit(
            events.StepFinished(
                each,
                derivation.label,
                builder.kind,
                made.duration_ns,
                outputs=dict(made.outputs),
                unchanged=before is not None and before.outputs == made.outputs,
                note=made.note,
            )
        )
        return "fetched" if builder.kind in ("fetch", "git") else "built"

    def _tell_start(self, begun: _Begun) -> None:
        begun.start()
        usual = begun.usual.duration_ns if begun.usual is not None else 0
        derivation = begun.derivation
        self._emit(
            events.StepStarted(
                begun.id,
                derivation.label,
                derivation.builder.kind,
                derivation.platform,
                expected_ns=usual or None,
                needs=tuple(dict.fromkeys(derivation.dependencies())),
            )
        )

    def _realisation(self, begun: _Begun, outputs: Outputs, result: BuildResult | None = None) -> Realisation:
        origin, note = self._provenance(begun.derivation)
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
            extra={"platform": begun.derivation.platform, "kind": begun.derivation.builder.kind},
        )

    async def _commit(
        self, slot: Slot, land: Callable[[], Landed], cleanup: Callable[[], None] = lambda: None
    ) -> Realisation:
        slot.let_go()
        with self._standing_by():
            return await self._committer.commit(
                land, cleanup, hurry=len(self._running) - self._idle < self._options.jobs
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

    async def _perform(self, begun: _Begun, slot: Slot) -> Realisation:
        """A step without a sandbox: it adds its one output by itself."""
        derivation, store = begun.derivation, self._store
        builder = derivation.builder
        if isinstance(builder, Fetch):
            artifact = await self._fetching.fetch(begun.id, derivation, builder)
        elif isinstance(builder, FetchGit):
            artifact = await self._fetching.fetch_git(begun.id, derivation, builder)
        else:
            names = {item.derivation: self._graph.derivations[item.derivation].name for item in derivation.inputs}
            artifact = await asyncio.to_thread(realise_builtin, store, derivation, self._resolve, names)
        return await self._commit(slot, lambda: ((), self._realisation(begun, {"out": artifact.digest})))

    async def _build(self, begun: _Begun, script: Script, slot: Slot) -> Realisation:
        derivation, key, store = begun.derivation, begun.key, self._store
        directory = self._workspace.directory(f"{derivation.name}-{begun.id.hex()[:ID_DIGITS]}")
        log = directory / "log"
        handed_over = False

        def on_phase(phase: str) -> None:
            self._emit(events.StepPhase(begun.id, phase))

        try:
            arrange = partial(
                stage,
                derivation,
                script,
                store,
                self._closures.trees,
                directory,
                jobs=self._options.jobs,
                limits=self._options.limits,
                run_time=self._tokens.environment,
                jobserver=self._tokens.path,
            )
            # Writing archives takes its time; anything else is done before a thread would have begun.
            slow = any(item.use in (Use.TAR, Use.CPIO) for item in derivation.inputs)
            spec = await asyncio.to_thread(arrange) if slow else arrange()
            log.touch()
            async with self._processor(begun.usual):
                self._tell_start(begun)
                self._emit(events.StepLog(begun.id, str(log)))
                result = await self._executor.execute(BuildRequest(derivation.label, spec, log, on_phase))
            slot.let_go()
            if not result.ok:
                keep = self._workspace.keep if self._options.keep_failed else None
                raise await asyncio.to_thread(script_failed, store, derivation, key, result, directory, keep)
            on_phase(LANDING)
            handed_over = True
            return await self._land(begun, script, result, directory, slot)
        finally:
            if not handed_over and directory.exists():
                await asyncio.to_thread(remove_tree, directory)

    async def _land(
        self, begun: _Begun, script: Script, result: BuildResult, directory: Path, slot: Slot
    ) -> Realisation:
        """From what the build left in ``directory``, which is removed, to a durable realisation."""
        needed = references(begun.derivation, self._outputs)

        def work() -> Landed:
            self._store.put_log(begun.key, (directory / "log").read_bytes())
            tree = directory / "out" / "out" if len(begun.derivation.outputs) > 1 else directory / "out"
            check_run_time(self._store, self._graph, begun.derivation, tree, needed)
            prepared = prepare(self._store, begun.derivation, script, directory, needed)
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
            while not ready.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait((ready,))
            if not ready.cancelled() and ready.exception() is None:
                for each in ready.result()[0]:
                    each.close()
            await asyncio.to_thread(clean)
            raise
        return await self._commit(slot, lambda: landed, clean)


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
class _Begun:
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
    store: Store,
    executor: Executor,
    mirrors: Mirrors,
    options: Options,
    emit: Emit,
) -> Outcome:
    """Run ``plan``, made for ``roots``. A failed step does not raise: ``Outcome.failed`` names it, ``emit`` tells why.

    Where an alternative of a choice cannot be had, another round is planned with the next one. Cancelling the task
    stops every build and leaves nothing behind but finished, recorded steps.
    """
    clock = time.monotonic_ns()
    cut_off = len(plan.cut_off)
    timeline = Timeline(emit)
    async with AsyncExitStack() as stack:
        workspace = stack.enter_context(Workspace(store.root / ".build"))
        tokens = stack.enter_context(TokenPool(workspace.path, options.jobs))
        committer = await stack.enter_async_context(Committer(store))
        memory = MemoryPool(options.max_memory_bytes)
        total = Outcome({})
        while True:
            engine = Engine(graph, store, executor, mirrors, workspace, tokens, memory, committer, options, timeline)
            outcome = await engine.run(plan)
            total = Outcome(
                {**total.outputs, **outcome.outputs},
                built=total.built + outcome.built,
                fetched=total.fetched + outcome.fetched,
                cached=len(plan.done),
                cut_off=total.cut_off + outcome.cut_off,
                failed=outcome.failed,
                exit_code=outcome.exit_code,
                unavailable={**total.unavailable, **outcome.unavailable},
            )
            if outcome.failed or not outcome.unavailable:
                break
            plan = make_plan(graph, roots, store.realised, store.realisation, total.unavailable)
    emit(
        events.Finished(
            built=total.built,
            fetched=total.fetched,
            cached=total.cached,
            cut_off=total.cut_off + cut_off,
            failed=len(total.failed),
            duration_ns=time.monotonic_ns() - clock,
            longest_chain=timeline.longest_chain(),
            spent=timeline.spent(),
        )
    )
    return total
