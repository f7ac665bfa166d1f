"""The steps that need no sandbox, because they run no foreign code: local files, literal files, unpacking, unions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from nexis_eval.execute.contested import contested_error
from nexis_eval.execute.required import check_required
from nexis_eval.graph.derivation import Derivation, Files, Input, Local, Union, Unpack
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


def realise_builtin(
    store: Store,
    derivation: Derivation,
    resolve: Callable[[Input], TreeDigest],
    names: Mapping[DerivationId, str],
    place: Callable[[str], Place | None] = lambda _: None,
) -> Artifact:
    """Perform a step of one of these kinds. ``resolve`` gives the tree of an input, ``names`` what to call it."""
    builder = derivation.builder
    if isinstance(builder, Local):
        return realise_local(store, derivation, builder)
    if isinstance(builder, Files):
        return realise_files(store, derivation, builder)
    if isinstance(builder, Unpack):
        return realise_unpack(store, derivation, builder, resolve(derivation.inputs[0]))
    assert isinstance(builder, Union)
    resolved = {(item.derivation, item.output): resolve(item) for item in derivation.inputs}
    return realise_union(store, derivation, builder, resolved, names, place)


def realise_local(store: Store, derivation: Derivation, builder: Local) -> Artifact:
    """Take a file or directory of the user's into the store; it must still be what evaluation saw."""
    path = Path(builder.path)
    if path.is_dir():
        artifact = store.add_directory(path, derivation.name, normalise=False)
    else:
        with store.writer(derivation.name) as writer:
            writer.file(path.name, path, executable=bool(path.stat().st_mode & 0o111))
            artifact = writer.commit()
    if artifact.digest != builder.tree:
        raise InputChangedError(
            f"{builder.path} changed while the system was being built", hint="run the same command again"
        )
    return artifact


def realise_files(store: Store, derivation: Derivation, builder: Files) -> Artifact:
    """Write the files that the recipe spells out."""
    with store.writer(derivation.name) as writer:
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


def realise_unpack(store: Store, derivation: Derivation, builder: Unpack, source: TreeDigest) -> Artifact:
    """Unpack the one file of ``source``."""
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


def realise_union(
    store: Store,
    derivation: Derivation,
    builder: Union,
    inputs: Mapping[tuple[DerivationId, str], TreeDigest],
    names: Mapping[DerivationId, str],
    place: Callable[[str], Place | None] = lambda _: None,
) -> Artifact:
    """Merge the trees of all inputs, in order."""
    parts = [(names[each.derivation], inputs[each.derivation, each.output]) for each in derivation.inputs]
    try:
        artifact = store.union(
            derivation.name, parts, winners=builder.winners, later_wins=builder.later_wins, exclude=builder.exclude
        )
    except PathConflictError as error:
        raise contested_error(derivation, error) from None
    if builder.required:
        check_required(store.manifest(artifact.digest), builder.required, place)
    return artifact
