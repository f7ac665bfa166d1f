"""The engine, opened over a store: what every command that builds or fetches works with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from nexis_eval import events
from nexis_eval.execute.base import Executor
from nexis_eval.execute.committer import Committer
from nexis_eval.execute.local import LocalExecutor
from nexis_eval.execute.making import Emit, EngineResources
from nexis_eval.execute.workspace import Workspace
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.mirrors import Mirrors
from nexis_eval.realise import Options, Outcome, realise
from nexis_eval.schedule.jobserver import TokenPool
from nexis_eval.schedule.memory import MemoryPool
from nexis_eval.schedule.plan import Plan
from nexis_store.digest import DerivationId
from nexis_store.store import Store
from nexis_store.substituters.base import Sources, TreeSource

JOBS_MISUSED = (
    "one of the builds that run now puts back more job tokens than it took: the others may run more processes than "
    "there are jobs until they end; builds that start from now on do not share tokens with them"
)

MakeExecutor = Callable[[Store, Workspace, TokenPool, MemoryPool, Options], Executor]


def local_executor(
    store: Store, workspace: Workspace, tokens: TokenPool, memory: MemoryPool, options: Options
) -> Executor:
    """Return the executor of this machine."""
    return LocalExecutor(store, workspace, tokens, memory, jobs=options.jobs, limits=options.limits)


class Engine:
    """Realises plans, one after another. Made by ``open_engine``."""

    def __init__(self, resources: EngineResources, mirrors: Mirrors, options: Options) -> None:
        self._resources = resources
        self._mirrors = mirrors
        self._options = options

    async def realise(self, graph: DerivationGraph, roots: Sequence[DerivationId], plan: Plan) -> Outcome:
        """Run ``plan``, made for ``roots``; see ``nexis_eval.realise.realise``."""
        return await realise(graph, roots, plan, self._resources, self._mirrors, self._options)


@asynccontextmanager
async def open_engine(
    store: Store,
    mirrors: Mirrors,
    options: Options,
    emit: Emit = lambda _: None,
    make_executor: MakeExecutor = local_executor,
    sources: Sequence[TreeSource] = (),
) -> AsyncIterator[Engine]:
    """Open an engine over ``store``; ``emit`` is told what happens. Everything it started ends with the block.

    ``sources`` have trees that the store lacks: what is known and elsewhere is fetched when something reads it.
    """
    async with AsyncExitStack() as stack:
        workspace = stack.enter_context(Workspace(store.root / ".build"))
        tokens = stack.enter_context(TokenPool(workspace.path, options.jobs, lambda: emit(events.Warned(JOBS_MISUSED))))
        committer = await stack.enter_async_context(Committer(store))
        executor = make_executor(store, workspace, tokens, MemoryPool(options.max_memory_bytes), options)
        stack.push_async_callback(executor.close)
        resources = EngineResources(
            store,
            executor,
            workspace,
            committer,
            emit,
            Sources(store, sources),
            keep_failed=options.keep_failed,
            selection=options.selection,
        )
        yield Engine(resources, mirrors, options)
