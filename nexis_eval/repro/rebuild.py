"""Builds one recipe again under given conditions, apart from the store: what comes out is compared, never recorded."""

from __future__ import annotations

import asyncio
import locale
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from nexis_eval.execute.log import last_lines
from nexis_eval.execute.runner import RunResult, SandboxRun, SandboxRunner
from nexis_eval.execute.workspace import Workspace, remove_tree
from nexis_eval.repro.compare import Tree
from nexis_eval.repro.surroundings import Surroundings
from nexis_eval.repro.vary import (
    VARIED_LOCALE,
    VARIED_TIMEZONE,
    VARIED_UMASK,
    Conditions,
    Machine,
    Setup,
    Tools,
    clock_shown,
    conditions,
    disorder,
    prepare,
)
from nexis_eval.sandbox.spec import Identity, SandboxSpec
from nexis_store.digest import TreeDigest
from nexis_store.store import Store

LOG_TAIL_LINES = 12
OCCUPIED_INODES = 7
ELSEWHERE = "nexis-repro-"
"""What the work directories on another file system begin with."""
DEEP = "another/place/with quite/a-long.name"


class Recipe(Protocol):
    """Something that can be built again and again."""

    @property
    def label(self) -> str:
        """``name-version``."""
        ...

    @property
    def identity(self) -> Identity:
        """Who the build is when nothing is varied."""
        ...

    def stage(self, directory: Path, identity: Identity, jobs: int, run_time: Mapping[str, str]) -> SandboxSpec:
        """Lay out ``directory`` and describe the sandbox."""
        ...

    def land(self, store: Store, directory: Path, *, move: bool) -> Mapping[str, TreeDigest]:
        """Take the outputs of a build in ``directory`` into ``store`` under the landing rules."""
        ...


@dataclass(frozen=True, slots=True)
class Built:
    """One more build: its outputs, or why there are none."""

    trees: Mapping[str, Tree]
    surroundings: Surroundings
    result: RunResult
    log_tail: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.result.ok


@contextmanager
def another_engine() -> Iterator[None]:
    """Let this process have another locale, time zone, home and umask for a while: none of it may reach a result."""
    before, umask = dict(os.environ), os.umask(VARIED_UMASK)
    category = locale.setlocale(locale.LC_ALL)
    os.environ.update(LC_ALL=VARIED_LOCALE, LANG=VARIED_LOCALE, TZ=VARIED_TIMEZONE, HOME="/nonexistent")
    time.tzset()
    try:
        for name in (VARIED_LOCALE, "POSIX"):
            with suppress(locale.Error):
                locale.setlocale(locale.LC_ALL, name)
                break
        yield
    finally:
        os.umask(umask)
        os.environ.clear()
        os.environ.update(before)
        time.tzset()
        locale.setlocale(locale.LC_ALL, category)


class Laboratory:
    """Where rebuilds happen: work directories and a store of its own, both gone at the end. A context manager."""

    def __init__(self, parent: Path, runner: SandboxRunner, tools: Tools, jobs: int) -> None:
        self._parent = parent
        self._stack = ExitStack()
        self._runner = runner
        self.tools = tools
        self._jobs = jobs
        self.machine = Machine()
        self._last_end = 0.0

    def __enter__(self) -> Self:
        self._workspace = self._stack.enter_context(Workspace(self._parent))
        self.store = self._stack.enter_context(Store.open(self._workspace.path / "store"))
        other = self.tools.other_file_system
        if other is not None:
            away = self._stack.enter_context(Workspace(other, ELSEWHERE))
            self.tools = replace(self.tools, other_file_system=away.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    async def build(self, recipe: Recipe, setup: Setup) -> Built:
        """Build once. Unless the clock is pinned, it has moved on by a second since the last build ended."""
        if not setup.pinned:
            await asyncio.sleep(max(0.0, self._last_end + 1.05 - time.time()))
        await asyncio.to_thread(self._move_on)
        started = time.time()
        given = conditions(setup, recipe.identity, self._jobs, self.tools, self.machine, int(started))
        directory = self._directory(recipe, given)
        around = another_engine if "engine" in given.setup.varied else nullcontext
        try:
            with around():
                return await self._build(recipe, given, directory, started)
        finally:
            await asyncio.to_thread(remove_tree, directory)

    async def _build(self, recipe: Recipe, given: Conditions, directory: Path, started: float) -> Built:
        spec = await asyncio.to_thread(recipe.stage, directory / "b", given.identity, given.jobs, given.run_time)
        spec = await asyncio.to_thread(prepare, spec, given, self.tools, directory)
        log = directory / "log"
        result = await self._run(spec, given, log)
        self._last_end = time.time()
        surroundings = replace(
            given.surroundings,
            directory=os.fspath(spec.build_directory),
            clock=clock_shown(given, started, self._last_end),
        )
        if not result.ok:
            tail = tuple(last_lines(log)[-LOG_TAIL_LINES:])
            return Built({}, surroundings, result, tail)
        outputs = await asyncio.to_thread(recipe.land, self.store, directory / "b", move=not given.on_other_file_system)
        trees = {name: Tree(self.store.manifest(digest), self.store.path(digest)) for name, digest in outputs.items()}
        return Built(trees, surroundings, result)

    async def _run(self, spec: SandboxSpec, given: Conditions, log: Path) -> RunResult:
        options = disorder(given)
        if self.tools.disorderfs is None or not options:
            return await self._runner.run(SandboxRun(spec, log))
        source = spec.build_directory.parent
        place = source.with_name(f"{source.name}-disordered")
        place.mkdir(0o700)
        spec = replace(
            spec,
            build_directory=place / spec.build_directory.relative_to(source),
            out_directory=place / spec.out_directory.relative_to(source),
        )
        runner = SandboxRunner((*map(os.fspath, (self.tools.disorderfs, source, place)), *options))
        try:
            return await runner.run(SandboxRun(spec, log))
        finally:
            await runner.close()

    def _move_on(self) -> None:
        """Use up some inode numbers: a build that gets those of the last one back would hide that it records them."""
        place = self._workspace.directory("occupied")
        for number in range(OCCUPIED_INODES):
            (place / str(number)).touch()

    def _directory(self, recipe: Recipe, given: Conditions) -> Path:
        if given.on_other_file_system and self.tools.other_file_system is not None:
            place = Path(tempfile.mkdtemp(dir=self.tools.other_file_system))
        else:
            place = self._workspace.directory(recipe.label)
        if given.deep_directory:
            place = place / DEEP
        (place / "b").mkdir(parents=True)
        return place
