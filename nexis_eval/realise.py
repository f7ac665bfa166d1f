"""Makes the plan come true: runs steps side by side, in the order of the schedule, and records what they came out as.

The loop is one asyncio task; fetching is asynchronous, builds run in the executor's processes, and the store's work
(unpacking, hashing, landing) runs in threads, which is where BLAKE3 and the decompressors release the interpreter lock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nexis_eval import events
from nexis_eval.closures import Closures, Outputs
from nexis_eval.derivation import Choice, Derivation, Fetch, FetchGit, Files, Input, Local, Script, Union, Unpack
from nexis_eval.execute.base import BuildRequest, BuildResult, Executor
from nexis_eval.execute.builtin import realise_files, realise_local, realise_union, realise_unpack
from nexis_eval.execute.land import land
from nexis_eval.execute.linkage import check_linkage
from nexis_eval.execute.staging import stage
from nexis_eval.execute.workspace import Workspace, remove_tree
from nexis_eval.graph import DerivationGraph
from nexis_eval.jobserver import TokenPool
from nexis_eval.mirrors import Mirrors
from nexis_eval.plan import Plan, chosen, make_plan, resolve_inputs
from nexis_eval.platforms import platform_named
from nexis_eval.sandbox.spec import Limits
from nexis_eval.schedule import Schedule
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.errors import NexisError
from nexis_store.realisation import Realisation
from nexis_store.store import Artifact, Store

if TYPE_CHECKING:
    import httpx

MAX_FETCHES = 8
LOG_TAIL_LINES = 25

Emit = Callable[[events.Event], None]


class ScriptFailedError(NexisError):
    """A build script ended with an error."""

    code = "B0002"

    def __init__(self, message: str, *, result: BuildResult, tail: tuple[str, ...], hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.result = result
        self.tail = tail


@dataclass(frozen=True, slots=True)
class Options:
    """How to run, as opposed to what: none of this may change a result."""

    jobs: int = 2
    keep_going: bool = False
    keep_failed: bool = False
    offline: bool = False
    limits: Limits = field(default_factory=Limits)


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
        options: Options,
        emit: Emit,
    ) -> None:
        self._graph = graph
        self._store = store
        self._executor = executor
        self._mirrors = mirrors
        self._workspace = workspace
        self._tokens = tokens
        self._options = options
        self._emit = emit
        self._outputs: dict[DerivationId, Outputs] = {}
        self._closures = Closures(graph.derivations, self._outputs)
        self._unavailable: Mapping[DerivationId, str] = {}
        self._client: httpx.AsyncClient | None = None
        self._fetch_slots = asyncio.Semaphore(MAX_FETCHES)
        self._build_slots = asyncio.Semaphore(options.jobs)

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
        running: dict[asyncio.Task[str], DerivationId] = {}
        try:
            while schedule.unfinished:
                while (failed == [] or self._options.keep_going) and len(running) < self._width():
                    each = schedule.take()
                    if each is None:
                        break
                    running[asyncio.create_task(self._step(each))] = each
                if not running:
                    break
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
                        unavailable.update(dict.fromkeys(replaceable, error.message))
                        self._failed(each, error, (), replaced=True)
                    else:
                        failed.append(self._graph.derivations[each].label)
                        exit_code = exit_code or error.exit_code
                        self._failed(each, error, blocked)
        finally:
            await _end(running)
            if self._client is not None:
                await self._client.aclose()
        return Outcome(self._outputs, failed=tuple(failed), exit_code=exit_code, unavailable=unavailable, **counts)

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

    def _width(self) -> int:
        return self._options.jobs + MAX_FETCHES

    def _failed(
        self, each: DerivationId, error: NexisError, blocked: Iterable[DerivationId], *, replaced: bool = False
    ) -> None:
        derivation = self._graph.derivations[each]
        result = error.result if isinstance(error, ScriptFailedError) else BuildResult(1, 0)
        self._emit(
            events.StepFailed(
                each,
                derivation.label,
                f"{error.place}: {error.message}" if error.place else error.message,
                hint=error.hint or "",
                log_tail=error.tail if isinstance(error, ScriptFailedError) else (),
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
            return self._take(each, derivation, known, recorded_as=each)
        async with self._slot(derivation):
            with ExitStack() as stack:
                await asyncio.to_thread(stack.enter_context, self._store.lock_build(key))
                known = self._store.realisation(key)
                if known is not None:
                    return self._take(each, derivation, known, recorded_as=each)
                return await self._make(each, derivation, key)

    @asynccontextmanager
    async def _slot(self, derivation: Derivation) -> AsyncIterator[None]:
        """Wait for the right to run a step: a build takes a job token from the pool that every ``make`` shares."""
        if isinstance(derivation.builder, Script):
            await self._tokens.acquire()
            try:
                yield
            finally:
                self._tokens.release()
        else:
            async with self._fetch_slots if derivation.is_fixed else self._build_slots:
                yield

    def _take(self, each: DerivationId, derivation: Derivation, known: Realisation, recorded_as: DerivationId) -> str:
        for digest in known.outputs.values():
            self._store.temporary_root(digest)
        self._store.record_alias(recorded_as, known.key)
        self._outputs[each] = known.outputs
        self._emit(events.StepCached(each, derivation.label, cut_off=True))
        return "cut_off"

    async def _make(self, each: DerivationId, derivation: Derivation, key: BuildKey) -> str:
        before = self._store.last_outputs(derivation.label, derivation.platform)
        self._emit(
            events.StepStarted(
                each,
                derivation.label,
                derivation.builder.kind,
                derivation.platform,
                expected_ns=self._store.duration(derivation.label),
            )
        )
        started = time.time_ns()
        clock = time.monotonic_ns()
        outputs, result = await self._perform(each, derivation, key)
        origin, note = self._provenance(derivation)
        duration = time.monotonic_ns() - clock
        for digest in outputs.values():
            self._store.temporary_root(digest)
        kind = derivation.builder.kind
        self._store.record(
            Realisation(
                key=key,
                derivation=each,
                name=derivation.label,
                outputs=outputs,
                origin=origin,
                note=note,
                started_ns=started,
                duration_ns=duration,
                max_rss_bytes=result.max_rss_bytes if result else 0,
                extra={"platform": derivation.platform},
            )
        )
        self._outputs[each] = outputs
        self._emit(
            events.StepFinished(
                each,
                derivation.label,
                kind,
                duration,
                outputs=dict(outputs),
                unchanged=before is not None and before == outputs,
                note=note,
            )
        )
        return "fetched" if kind in ("fetch", "git") else "built"

    def _provenance(self, derivation: Derivation) -> tuple[str, str]:
        """How the outputs came to be, and the reason where that is not what was asked for first."""
        if isinstance(derivation.builder, Choice):
            if derivation.builder.absent:
                return "fallback", f"built from source: {derivation.builder.absent}"
            if chosen(derivation, self._unavailable) is derivation.inputs[0]:
                return "prebuilt", ""
            return "fallback", f"built from source: {self._unavailable[derivation.inputs[0].derivation]}"
        return ("fetched" if derivation.builder.kind in ("fetch", "git") else "built"), ""

    async def _perform(
        self, each: DerivationId, derivation: Derivation, key: BuildKey
    ) -> tuple[Outputs, BuildResult | None]:
        builder = derivation.builder
        store = self._store
        references = [digest for needed in derivation.runtime for digest in self._outputs[needed].values()]
        if isinstance(builder, Choice):
            return self._outputs[chosen(derivation, self._unavailable).derivation], None
        if isinstance(builder, Script):
            return await self._build(each, derivation, builder, key, references)
        if isinstance(builder, Fetch):
            return {"out": (await self._fetch(each, derivation, builder)).digest}, None
        if isinstance(builder, FetchGit):
            return {"out": (await self._fetch_git(each, derivation, builder)).digest}, None

        def work() -> Artifact:
            if isinstance(builder, Local):
                return realise_local(store, derivation, builder)
            if isinstance(builder, Files):
                return realise_files(store, derivation, builder)
            if isinstance(builder, Unpack):
                return realise_unpack(store, derivation, builder, self._resolve(derivation.inputs[0]))
            assert isinstance(builder, Union)
            resolved = {(item.derivation, item.output): self._resolve(item) for item in derivation.inputs}
            names = {item.derivation: self._graph.derivations[item.derivation].label for item in derivation.inputs}
            return realise_union(store, derivation, builder, resolved, names)

        return {"out": (await asyncio.to_thread(work)).digest}, None

    async def _fetch(self, each: DerivationId, derivation: Derivation, builder: Fetch) -> Artifact:
        from nexis_eval.fetch.url import fetch

        directory = self._workspace.directory(derivation.name)

        def progress(done: int, total: int | None) -> None:
            self._emit(events.StepProgress(each, done, total))

        try:
            with self._fetching(each, builder.filename):
                await fetch(builder, directory, mirrors=self._mirrors, progress=progress, client=self._connections())
            return await asyncio.to_thread(
                self._store.add_directory, directory, derivation.name, normalise=False, move=True
            )
        finally:
            await asyncio.to_thread(remove_tree, directory)

    def _connections(self) -> httpx.AsyncClient:
        """The connections that all downloads of this run share; made when the first one starts."""
        from nexis_eval.fetch.client import new_client

        if self._client is None:
            self._client = new_client()
        return self._client

    @contextmanager
    def _fetching(self, each: DerivationId, what: str) -> Iterator[None]:
        """Refuse the network where that was asked for, and give the errors of fetching their place."""
        from nexis_eval.fetch.client import FetchError

        try:
            if self._options.offline:
                raise FetchError(
                    f"{what} is not in the store, and with --offline it cannot be fetched",
                    hint="bring all sources in while there is a network: nexis-eval fetch",
                )
            yield
        except NexisError as error:
            if error.place is None:
                error.place = self._graph.origins.get(each)
            raise

    async def _fetch_git(self, each: DerivationId, derivation: Derivation, builder: FetchGit) -> Artifact:
        from nexis_eval.fetch.git import fetch_git

        directory = self._workspace.directory(derivation.name)
        try:
            with self._fetching(each, f"{builder.url} at {builder.commit}"):
                tree = await fetch_git(builder, directory, mirrors=self._mirrors, client=self._connections())
            return await asyncio.to_thread(self._store.add_directory, tree, derivation.name, normalise=False, move=True)
        finally:
            await asyncio.to_thread(remove_tree, directory)

    async def _build(
        self, each: DerivationId, derivation: Derivation, script: Script, key: BuildKey, references: list[TreeDigest]
    ) -> tuple[Outputs, BuildResult]:
        directory = self._workspace.directory(derivation.name)
        keep = False
        try:
            spec = await asyncio.to_thread(
                stage,
                derivation,
                script,
                self._store,
                self._closures.trees,
                directory,
                jobs=self._options.jobs,
                limits=self._options.limits,
                run_time=self._tokens.environment,
                jobserver=self._tokens.path,
            )
            log = directory / "log"

            def on_phase(phase: str) -> None:
                self._emit(events.StepPhase(each, phase))

            result = await self._executor.execute(BuildRequest(derivation.label, spec, log, on_phase))
            await asyncio.to_thread(self._store.put_log, key, log.read_bytes())
            if not result.ok:
                failure = self._script_failed(derivation, result, log)
                keep = self._options.keep_failed
                if keep:
                    failure.hint = f"the build directory was kept: {self._workspace.keep(directory)}"
                raise failure
            if script.call:
                await asyncio.to_thread(self._check_linkage, derivation, script, directory, references)
            return await asyncio.to_thread(land, self._store, derivation, script, directory, references), result
        finally:
            if not keep:
                await asyncio.to_thread(remove_tree, directory)

    def _check_linkage(
        self, derivation: Derivation, script: Script, directory: Path, references: Sequence[TreeDigest]
    ) -> None:
        """Whether what a rule built is for its architecture and can run with what it declares to need."""

        def packages() -> Iterator[tuple[str, TreeDigest]]:
            for name, each in self._graph.targets.items():
                known = self._store.realised(each)
                if ":" not in name and known is not None and "out" in known.outputs:
                    yield name, known.outputs["out"]

        check_linkage(
            self._store,
            derivation.label,
            directory / "out",
            platform_named(derivation.platform),
            references,
            allowed=script.allow_missing,
            packages=packages,
        )

    def _script_failed(self, derivation: Derivation, result: BuildResult, log: Path) -> ScriptFailedError:
        tail = tuple(log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        where = f" in phase '{result.phase}'" if result.phase else ""
        why = result.reason or f"exit code {result.exit_code}"
        hint = f"'nexis-eval log {derivation.name}' shows the whole log, 'nexis-eval debug {derivation.name}' opens it"
        return ScriptFailedError(f"{derivation.label} failed{where}: {why}", result=result, tail=tail, hint=hint)


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
    with Workspace(store.root / ".build") as workspace, TokenPool(workspace.path, options.jobs) as tokens:
        total = Outcome({})
        while True:
            engine = Engine(graph, store, executor, mirrors, workspace, tokens, options, emit)
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
        )
    )
    return total
