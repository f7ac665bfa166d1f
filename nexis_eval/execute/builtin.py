"""The steps that need no sandbox, because they run no foreign code: downloads, files, unpacking, unions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nexis_eval.execute.contested import contested_error
from nexis_eval.execute.fetching import Fetching
from nexis_eval.execute.required import check_required
from nexis_eval.graph.derivation import Builder, Derivation, Fetch, FetchGit, Files, Input, Local, Stored, Union, Unpack
from nexis_store.digest import DerivationId, TreeDigest
from nexis_store.errors import NexisError, PathConflictError, Place
from nexis_store.store import Artifact, Store
from nexis_store.tree import Attributes


class InputChangedError(NexisError):
    """A file changed between evaluation and building.

    What was built would not be what its recipe says, so nothing is kept. Repeat the command: it reads the file as it is
    now.
    """

    code = "B0003"
    exit_code = 2


class SourceLayoutError(NexisError):
    """A download that should be one archive is something else.

    ``source`` names one archive (tar, zip, compressed or not) or a git repository. A page that a server sends instead
    of a file that is gone is the usual reason: look at what the URL leads to.
    """

    code = "B0004"


class TreeNotStoredError(NexisError):
    """A step takes a tree that must exist already, and neither the store nor a source of trees has it.

    An older generation of a system is such a tree: nothing in the configuration makes it anew. Copy it from a store
    that has it (``nexis-store export`` and ``nexis-store import``), or leave that generation out.
    """

    code = "B0010"
    exit_code = 4


@dataclass(frozen=True, slots=True)
class Performance:
    """One step that is to be performed, and what that may use."""

    id: DerivationId
    derivation: Derivation
    store: Store
    fetching: Fetching
    resolve: Callable[[Input], TreeDigest]
    """The tree of an input."""
    names: Mapping[DerivationId, str]
    """What to call the inputs."""
    place: Callable[[str], Place | None]
    """Where the configuration sets a key."""


async def realise_fetch(step: Performance, builder: Fetch) -> Artifact:
    """Download one file."""
    return await step.fetching.fetch(step.id, step.derivation, builder)


async def realise_git(step: Performance, builder: FetchGit) -> Artifact:
    """Check out one commit."""
    return await step.fetching.fetch_git(step.id, step.derivation, builder)


def realise_local(step: Performance, builder: Local) -> Artifact:
    """Take a file or directory of the user's into the store; it must still be what evaluation saw."""
    path = Path(builder.path)
    if path.is_dir():
        artifact = step.store.add_directory(path, step.derivation.name, normalise=False)
    else:
        with step.store.writer(step.derivation.name) as writer:
            writer.file(path.name, path, executable=bool(path.stat().st_mode & 0o111))
            artifact = writer.commit()
    if artifact.digest != builder.tree:
        raise InputChangedError(
            f"{builder.path} changed while the system was being built", hint="run the same command again"
        )
    return artifact


def realise_files(step: Performance, builder: Files) -> Artifact:
    """Write the files that the recipe spells out."""
    with step.store.writer(step.derivation.name) as writer:
        for entry in builder.entries:
            attributes = Attributes(mode=entry.mode, owner=entry.owner, group=entry.group)
            if entry.text is not None:
                executable = entry.mode is not None and bool(entry.mode & 0o100)
                writer.file(entry.path, entry.text.encode(), executable=executable, attributes=attributes)
            elif entry.target is not None:
                writer.symlink(entry.path, entry.target, attributes=attributes)
            else:
                writer.directory(entry.path, attributes=attributes)
        return writer.commit()


def realise_unpack(step: Performance, builder: Unpack) -> Artifact:
    """Unpack the one file of the one input."""
    derivation, store = step.derivation, step.store
    source = step.resolve(derivation.inputs[0])
    members = [entry for entry in store.manifest(source).entries() if entry.kind == "f"]
    if len(members) != 1:
        raise SourceLayoutError(f"{derivation.label}: expected one archive, found {len(members)} files")
    with (store.path(source) / members[0].path).open("rb") as stream:
        return store.add_archive(
            stream,
            derivation.name,
            format=builder.format,
            strip=builder.strip,
            prefix=builder.prefix,
            exclude=builder.exclude,
        )


def realise_union(step: Performance, builder: Union) -> Artifact:
    """Merge the trees of all inputs, in order."""
    derivation, store = step.derivation, step.store
    parts = [(step.names[item.derivation], step.resolve(item)) for item in derivation.inputs]
    try:
        artifact = store.union(
            derivation.name, parts, winners=builder.winners, later_wins=builder.later_wins, exclude=builder.exclude
        )
    except PathConflictError as error:
        raise contested_error(derivation, error) from None
    if builder.required:
        check_required(store.manifest(artifact.digest), builder.required, step.place)
    return artifact


def realise_stored(step: Performance, builder: Stored) -> Artifact:
    """Take a tree that the store has, and keep it while this process runs."""
    step.store.temporary_root(builder.tree)
    if not step.store.is_present(builder.tree):
        digest = str(builder.tree)
        raise TreeNotStoredError(
            f"{step.derivation.label}: {step.store.root} does not have the tree {digest[:16]}, and no build makes it",
            hint=f"copy it from the store that has it ('nexis-store export {digest[:16]}' there, 'nexis-store import' "
            "here), or leave out the generation that it belongs to ('nexis-store generations' lists them)",
        )
    return step.store.artifact(builder.tree)


Perform = Callable[[Performance], Awaitable[Artifact]]
B = TypeVar("B", bound=Builder)


def _row(kind: type[B], perform: Callable[[Performance, B], Awaitable[Artifact]]) -> tuple[type[Builder], Perform]:
    def performed(step: Performance) -> Awaitable[Artifact]:
        assert isinstance(step.derivation.builder, kind)
        return perform(step, step.derivation.builder)

    return kind, performed


def _threaded(kind: type[B], perform: Callable[[Performance, B], Artifact]) -> tuple[type[Builder], Perform]:
    return _row(kind, lambda step, builder: asyncio.to_thread(perform, step, builder))


PERFORMERS: Mapping[type[Builder], Perform] = dict(
    (
        _row(Fetch, realise_fetch),
        _row(FetchGit, realise_git),
        _threaded(Local, realise_local),
        _threaded(Files, realise_files),
        _threaded(Unpack, realise_unpack),
        _threaded(Union, realise_union),
        _threaded(Stored, realise_stored),
    )
)
"""How each kind that adds its one output by itself is performed. Of the others, an executor runs scripts, and a choice
takes what another step made (``nexis_eval.execute.making``)."""
