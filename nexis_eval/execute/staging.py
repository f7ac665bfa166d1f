"""From a recipe and the trees of its inputs to what the sandbox is told: layers, binds, environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nexis_eval.graph.derivation import Derivation, Input, Script, Use
from nexis_eval.sandbox.spec import Bind, Identity, Limits, Overlay, SandboxSpec
from nexis_store.archive import write_cpio, write_tar
from nexis_store.digest import TreeDigest
from nexis_store.store import Store

SCRIPT_AT = "/in/script"

BASE_ENVIRONMENT = {
    "PATH": "/usr/bin:/usr/sbin",
    "TMPDIR": "/tmp",
    "SHELL": "/bin/bash",
    "TERM": "dumb",
    "SOURCE_DATE_EPOCH": "1",
}
"""What every script gets, beside what the identity sets. A change here must raise ``SANDBOX_VERSION``."""


def environment(script: Script, identity: Identity, jobs: int, run_time: Mapping[str, str]) -> dict[str, str]:
    """The complete environment of a build. ``jobs`` and ``run_time`` are outside the build key by design."""
    return {
        **BASE_ENVIRONMENT,
        "HOME": identity.home,
        "USER": identity.user,
        "LOGNAME": identity.user,
        "LANG": identity.locale,
        "LC_ALL": identity.locale,
        "TZ": identity.timezone,
        **dict(script.env),
        "NEXIS_JOBS": str(jobs),
        **run_time,
    }


def root_overlays(inputs: list[tuple[Input, Path]]) -> tuple[Overlay, ...]:
    """Stack the layers: the first one listed is topmost, and one that comes again is there already.

    A layer below the root (``/usr/<triplet>``) hides the directory it is mounted on, so what the root's own layers have
    there is stacked under it.
    """
    mounts: dict[str, dict[Path, None]] = {"/": {}}
    for each, tree in inputs:
        layer = tree / each.subdir if each.subdir else tree
        if each.at == "/" or layer.is_dir():
            mounts.setdefault(each.at, {}).setdefault(layer)
    root = mounts["/"]
    overlays = [Overlay("/", tuple(root))]
    for at in sorted(mounts):
        if at != "/":
            below = (layer / at.lstrip("/") for layer in root)
            overlays.append(Overlay(at, (*mounts[at], *(layer for layer in below if layer.is_dir()))))
    return tuple(overlays)


def _archive(store: Store, each: Input, digest: TreeDigest, directory: Path, index: int) -> Bind:
    write = write_tar if each.use is Use.TAR else write_cpio
    file = directory / f"archive-{index}"
    with file.open("wb") as out:
        write(store.manifest(digest), store.path(digest), out)
    return Bind(each.at, file)


def stage(
    derivation: Derivation,
    script: Script,
    store: Store,
    resolve: Callable[[Input], Sequence[TreeDigest]],
    directory: Path,
    *,
    jobs: int,
    identity: Identity | None = None,
    limits: Limits | None = None,
    run_time: Mapping[str, str] | None = None,
    jobserver: Path | None = None,
) -> SandboxSpec:
    """Lay out ``directory`` (fresh, the build's own) and describe the sandbox of ``derivation``.

    ``resolve`` gives the trees of an input: one, or all layers of a closure, topmost first.
    """
    identity = identity or (Identity(user="root", uid=0, gid=0) if script.as_root else Identity())
    build, out, extra = directory / "build", directory / "out", directory / "in"
    for each in (build, out, extra):
        each.mkdir()
    for output in derivation.outputs if len(derivation.outputs) > 1 else ():
        (out / output).mkdir()
    file = extra / "script"
    file.write_text(script.script, encoding="utf-8")
    binds = [Bind(SCRIPT_AT, file)]
    trees: list[tuple[Input, Path]] = []
    resolved = [(item, resolve(item)) for item in derivation.inputs]
    # What was damaged on the disk must not be built from: the result would be stored as if it were right.
    store.check_intact(digest for _, digests in resolved for digest in digests)
    for index, (item, digests) in enumerate(resolved):
        if item.use in (Use.TAR, Use.CPIO):
            binds.append(_archive(store, item, digests[0], extra, index))
        elif item.use is Use.BIND:
            path = store.path(digests[0])
            binds.append(Bind(item.at, path / item.subdir if item.subdir else path))
        else:
            trees.extend((item, store.path(digest)) for digest in digests)
    return SandboxSpec(
        overlays=root_overlays(trees),
        build_directory=build,
        out_directory=out,
        argv=("/bin/bash", SCRIPT_AT),
        env=tuple(sorted(environment(script, identity, jobs, run_time or {}).items())),
        binds=tuple(binds),
        identity=identity,
        limits=limits or Limits(),
        jobserver=jobserver,
    )
