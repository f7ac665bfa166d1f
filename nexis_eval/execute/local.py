"""Runs actions on this machine: lays them out, waits for a processor, runs the sandbox, lands the outputs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from nexis_eval.execute.action import Action
from nexis_eval.execute.base import LANDING, Capacity, Result, Watch
from nexis_eval.execute.committer import ended
from nexis_eval.execute.land import prepare
from nexis_eval.execute.runner import RunResult, SandboxRun, SandboxRunner
from nexis_eval.execute.staging import stage, writes_archives
from nexis_eval.execute.workspace import Workspace, remove_tree
from nexis_eval.platforms import ALIASES
from nexis_eval.sandbox.spec import Limits
from nexis_eval.schedule.jobserver import TokenPool
from nexis_eval.schedule.memory import MemoryPool
from nexis_store.errors import NexisError
from nexis_store.store import Store
from nexis_store.together import Part

T = TypeVar("T")


def this_machine() -> str:
    """Return the platform of this machine."""
    machine = os.uname().machine
    return ALIASES.get(machine, machine)


class LocalExecutor:
    """An ``Executor`` whose trees are in ``store``; ``workspace`` must be on the store's file system.

    ``tokens`` and ``memory`` are what all its actions share. ``limits`` holds where an action has no limit of its own.
    """

    def __init__(
        self,
        store: Store,
        workspace: Workspace,
        tokens: TokenPool,
        memory: MemoryPool,
        *,
        jobs: int,
        limits: Limits | None = None,
    ) -> None:
        self.capacity = Capacity({this_machine(): jobs})
        self._store = store
        self._workspace = workspace
        self._tokens = tokens
        self._memory = memory
        self._jobs = jobs
        self._limits = limits or Limits()
        self._runner = SandboxRunner()
        # As many again as run are laid out in advance, so that no processor waits for that.
        self._laid_out = asyncio.Semaphore(2 * jobs)

    async def execute(self, action: Action, watch: Watch) -> Result:
        """Run one action; raises ``SandboxError`` if its sandbox cannot be set up, and what staging raises."""
        directory = self._workspace.directory(action.name)
        try:
            async with self._laid_out:
                run = await self._run(action, watch, directory)
            result = Result(
                run,
                directory / "log",
                keep=partial(self._workspace.keep, directory),
                on_close=partial(_remove, directory),
            )
            if run.ok:
                watch.phase(LANDING)
                try:
                    parts = await _land(self._store, partial(prepare, self._store, action, directory), _abandon)
                except NexisError as error:
                    result.error = error
                else:
                    result.pending = parts
                    result.outputs = {name: part.digest for name, part in parts.items()}
            return result
        except BaseException:
            await asyncio.to_thread(_remove, directory)
            raise

    async def _run(self, action: Action, watch: Watch, directory: Path) -> RunResult:
        arrange = partial(
            stage,
            replace(action, limits=self._limits) if action.limits == Limits() else action,
            self._store,
            directory,
            jobs=self._jobs,
            run_time=self._tokens.environment,
            jobserver=self._tokens.path,
        )
        # Writing archives takes its time; anything else is done before a thread would have begun.
        spec = await asyncio.to_thread(arrange) if writes_archives(action) else arrange()
        log = directory / "log"
        log.touch()
        async with self._processor(watch.usual_memory_bytes):
            watch.started(log)
            return await self._runner.run(SandboxRun(spec, log, watch.phase))

    @asynccontextmanager
    async def _processor(self, memory_bytes: int) -> AsyncIterator[None]:
        """Wait for memory, and for a job token from the pool that every ``make`` shares."""
        await self._memory.acquire(memory_bytes)
        try:
            await self._tokens.acquire()
            try:
                yield
            finally:
                self._tokens.release()
        finally:
            self._memory.release(memory_bytes)

    async def close(self) -> None:
        """End the helper that starts sandboxes."""
        await self._runner.close()


def _remove(directory: Path) -> None:
    if directory.exists():
        remove_tree(directory)


def _abandon(parts: dict[str, Part]) -> None:
    for part in parts.values():
        part.close()


async def _land(store: Store, work: Callable[[], T], undo: Callable[[T], None]) -> T:
    """Do ``work`` in a thread. Where this is cancelled meanwhile, it is waited for and undone."""
    ready = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(ready)
    except BaseException:
        # Nobody may remove the directory under the thread's hands.
        await ended(store, ready)
        if not ready.cancelled() and ready.exception() is None:
            undo(ready.result())
        raise
