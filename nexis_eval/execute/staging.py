"""From an action to what the sandbox of this machine is told: directories to stack, files to bind, an environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nexis_eval.execute.action import Action, BoundArchive, BoundFile, Layer, environment, trees_of
from nexis_eval.sandbox.spec import Bind, Overlay, SandboxSpec
from nexis_store.archive import write_cpio, write_tar, write_xattrs
from nexis_store.store import Store

WRITERS = {"tar": write_tar, "cpio": write_cpio, "xattrs": write_xattrs}


def root_overlays(layers: Sequence[tuple[Layer, Path]]) -> tuple[Overlay, ...]:
    """Stack the layers: the first one listed is topmost, and one that comes again is there already.

    A layer below the root (``/usr/<triplet>``) hides the directory it is mounted on, so what the root's own layers have
    there is stacked under it.
    """
    mounts: dict[str, dict[Path, None]] = {"/": {}}
    for layer, tree in layers:
        directory = tree / layer.subdir if layer.subdir else tree
        if layer.at == "/" or directory.is_dir():
            mounts.setdefault(layer.at, {}).setdefault(directory)
    root = mounts["/"]
    overlays = [Overlay("/", tuple(root))]
    for at in sorted(mounts):
        if at != "/":
            below = (directory / at.lstrip("/") for directory in root)
            overlays.append(Overlay(at, (*mounts[at], *(directory for directory in below if directory.is_dir()))))
    return tuple(overlays)


def writes_archives(action: Action) -> bool:
    """Whether laying out ``action`` takes its time."""
    return any(isinstance(bind, BoundArchive) for bind in action.binds)


def stage(
    action: Action,
    store: Store,
    directory: Path,
    *,
    jobs: int,
    run_time: Mapping[str, str] | None = None,
    jobserver: Path | None = None,
) -> SandboxSpec:
    """Lay out ``directory`` (fresh, the action's own) and describe the sandbox.

    ``jobs`` and ``run_time`` (the environment of the jobserver) are outside of every identity by design.
    """
    # What was damaged on the disk must not be built from: the result would be stored as if it were right.
    store.check_intact(trees_of(action))
    build, out, extra = directory / "build", directory / "out", directory / "in"
    # A build can see these modes: they are those of every machine, whatever the umask of this process is.
    for path in (build, out, extra, *(out / output.path for output in action.outputs if output.path)):
        path.mkdir()
        path.chmod(0o755)
    binds = []
    for index, bind in enumerate(action.binds):
        file = extra / str(index)
        if isinstance(bind, BoundFile):
            file.write_bytes(bind.content)
            file.chmod(0o644)
        elif isinstance(bind, BoundArchive):
            with file.open("wb") as archive:
                WRITERS[bind.format](store.manifest(bind.tree), store.path(bind.tree), archive)
            file.chmod(0o644)
        else:
            file = store.path(bind.tree)
            file = file / bind.subdir if bind.subdir else file
        binds.append(Bind(bind.at, file))
    variables = {**environment(action), "NEXIS_JOBS": str(jobs), **(run_time or {})}
    return SandboxSpec(
        overlays=root_overlays([(layer, store.path(layer.tree)) for layer in action.root]),
        build_directory=build,
        out_directory=out,
        argv=action.argv,
        env=tuple(sorted(variables.items())),
        binds=tuple(binds),
        identity=action.identity,
        limits=action.limits,
        jobserver=jobserver,
    )
