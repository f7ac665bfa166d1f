"""Steps that fetch: into the store, over connections that all of a run share, unless there shall be no network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nexis_eval import events
from nexis_eval.execute.workspace import Workspace, remove_tree
from nexis_eval.graph.dag import DerivationGraph, LateOrigins
from nexis_eval.graph.derivation import Derivation, Fetch, FetchGit
from nexis_eval.mirrors import Mirrors
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError
from nexis_store.store import Artifact, Store

if TYPE_CHECKING:
    import httpx


class Fetching:
    """For one run, in one event loop; ``close`` it at the end. ``graph`` knows which line asked for what."""

    def __init__(
        self,
        store: Store,
        mirrors: Mirrors,
        workspace: Workspace,
        graph: DerivationGraph,
        emit: Callable[[events.Event], None],
        *,
        offline: bool,
    ) -> None:
        self._store = store
        self._mirrors = mirrors
        self._workspace = workspace
        self._graph = graph
        self._emit = emit
        self._offline = offline
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """End the connections."""
        if self._client is not None:
            await self._client.aclose()

    async def fetch(self, each: DerivationId, derivation: Derivation, builder: Fetch) -> Artifact:
        """Download one file; raises ``FetchError`` with its place in the configuration."""
        from nexis_eval.fetch.url import fetch

        directory = self._workspace.directory(derivation.name)

        def progress(done: int, total: int | None) -> None:
            self._emit(events.StepProgress(each, done, total))

        try:
            with self._allowed(each, builder.filename), self._hash_is_told(each, builder):
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
    def _allowed(self, each: DerivationId, what: str) -> Iterator[None]:
        """Refuse the network where that was asked for, and give the errors of fetching their place."""
        from nexis_eval.fetch.client import FetchError

        try:
            if self._offline:
                raise FetchError(
                    f"{what} is not in the store, and with --offline it cannot be fetched",
                    hint="bring all sources in while there is a network: nexis-eval fetch",
                )
            yield
        except NexisError as error:
            if error.place is None:
                error.place = self._graph.origins.get(each)
            raise

    @contextmanager
    def _hash_is_told(self, each: DerivationId, builder: Fetch) -> Iterator[None]:
        """Where a hash of the configuration is of another file, say so: no lock can be updated for it."""
        from nexis_eval.config.hashes import HASH_KEYS
        from nexis_eval.fetch.client import FetchError

        try:
            yield
        except FetchError as error:
            origins = self._graph.origins
            # What the lock pins has a size.
            declared = bool(error.others) and builder.size is None
            key = origins.beside(each, HASH_KEYS) if declared and isinstance(origins, LateOrigins) else None
            if key is not None:
                name, place = key
                now = " or ".join(error.others)
                error.message = f"'{name}' is of another file: what is there now has {now}\n{error.message}"
                error.hint = f"where that is the file you mean, correct '{name}' at {place}; if not, beware of it"
                error.place = place
            raise

    async def fetch_git(self, each: DerivationId, derivation: Derivation, builder: FetchGit) -> Artifact:
        """Fetch one commit; raises as ``fetch`` does."""
        from nexis_eval.fetch.git import fetch_git

        directory = self._workspace.directory(derivation.name)
        try:
            with self._allowed(each, f"{builder.urls[0]} at {builder.commit}"):
                tree = await fetch_git(builder, directory, mirrors=self._mirrors, client=self._connections())
            return await asyncio.to_thread(self._store.add_directory, tree, derivation.name, normalise=False, move=True)
        finally:
            await asyncio.to_thread(remove_tree, directory)
