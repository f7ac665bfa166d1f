"""What is to be run, as a value: no path of this machine is in it, so that any executor can run it. Pure.

After the ``Action`` of the Remote Execution API, and Tvix's ``BuildRequest``: all inputs are trees by digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from nexis_eval.graph.derivation import Derivation, Input, Script, Use
from nexis_eval.sandbox.spec import Identity, Limits
from nexis_store.digest import TreeDigest
from nexis_store.tree import Attributes

SCRIPT_AT = "/in/script"


@dataclass(frozen=True, slots=True)
class Layer:
    """A tree, or the directory ``subdir`` of it, that the root has at ``at``."""

    tree: TreeDigest
    at: str
    subdir: str = ""


@dataclass(frozen=True, slots=True)
class BoundTree:
    """A tree, or what ``subdir`` names of it, shown read-only at ``at``."""

    tree: TreeDigest
    at: str
    subdir: str = ""


@dataclass(frozen=True, slots=True)
class BoundFile:
    """A file with this content, shown read-only at ``at``."""

    content: bytes
    at: str


@dataclass(frozen=True, slots=True)
class BoundArchive:
    """A tree as one archive with its owners and modes, or the list of its xattrs, shown read-only at ``at``."""

    tree: TreeDigest
    at: str
    format: Literal["tar", "cpio", "xattrs"]


@dataclass(frozen=True, slots=True)
class OutputDirectory:
    """One output: what the action leaves at ``/out``, or in the directory ``/out/PATH``, becomes a tree."""

    name: str
    path: str
    tree_name: str
    """The name of the artifact."""


@dataclass(frozen=True, slots=True)
class Action:
    """One run. Two equal actions come out the same: what may differ between them is told to the executor beside it."""

    name: str
    """What its directory and its log are called: unique among the actions of a graph."""
    label: str
    """For people: ``name-version``."""
    root: tuple[Layer, ...]
    """Topmost first. A tree that is listed twice at one place counts where it is first."""
    binds: tuple[BoundTree | BoundFile | BoundArchive, ...]
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    """What the recipe sets beside the environment of every action (``environment``)."""
    outputs: tuple[OutputDirectory, ...]
    platform: str
    """The architecture of the machine that it runs on."""
    attributes: tuple[tuple[str, Attributes], ...] = ()
    """Owners and modes of paths of the outputs, which no unprivileged build can set."""
    normalise: bool = True
    """Whether times and the like are taken out of the outputs (``docs/formats/landing.md``)."""
    identity: Identity = field(default_factory=Identity)
    limits: Limits = field(default_factory=Limits)
    network: bool = False


def trees_of(action: Action) -> Iterator[TreeDigest]:
    """Return every tree that an action sees."""
    for layer in action.root:
        yield layer.tree
    for bind in action.binds:
        if not isinstance(bind, BoundFile):
            yield bind.tree


BASE_ENVIRONMENT = {
    "PATH": "/usr/bin:/usr/sbin",
    "TMPDIR": "/tmp",
    "SHELL": "/bin/bash",
    "TERM": "dumb",
    "SOURCE_DATE_EPOCH": "1",
}
"""What every script gets, beside what the identity sets. A change here must raise ``SANDBOX_VERSION``."""


def environment(action: Action) -> dict[str, str]:
    """Return the environment of an action, as far as it is part of what the action is."""
    identity = action.identity
    return {
        **BASE_ENVIRONMENT,
        "HOME": identity.home,
        "USER": identity.user,
        "LOGNAME": identity.user,
        "LANG": identity.locale,
        "LC_ALL": identity.locale,
        "TZ": identity.timezone,
        **dict(action.env),
    }


def identity_of(script: Script) -> Identity:
    """Return who a script is when nothing is varied."""
    return Identity(user="root", uid=0, gid=0) if script.as_root else Identity()


def action_of(
    derivation: Derivation,
    script: Script,
    trees: Callable[[Input], Sequence[TreeDigest]],
    *,
    name: str = "",
    limits: Limits | None = None,
) -> Action:
    """Return what running ``script`` of ``derivation`` is.

    ``trees`` gives the trees of an input: one, or all layers of a closure, topmost first.
    """
    root: list[Layer] = []
    binds: list[BoundTree | BoundFile | BoundArchive] = [BoundFile(script.script.encode(), SCRIPT_AT)]
    for item in derivation.inputs:
        digests = trees(item)
        if item.use is Use.TAR:
            binds.append(BoundArchive(digests[0], item.at, "tar"))
        elif item.use is Use.CPIO:
            binds.append(BoundArchive(digests[0], item.at, "cpio"))
        elif item.use is Use.XATTRS:
            binds.append(BoundArchive(digests[0], item.at, "xattrs"))
        elif item.use is Use.BIND:
            binds.append(BoundTree(digests[0], item.at, item.subdir))
        else:
            root.extend(Layer(digest, item.at, item.subdir) for digest in digests)
    several = len(derivation.outputs) > 1
    return Action(
        name=name or derivation.name,
        label=derivation.label,
        root=tuple(root),
        binds=tuple(binds),
        argv=("/bin/bash", SCRIPT_AT),
        env=script.env,
        outputs=tuple(
            OutputDirectory(
                output,
                output if several else "",
                derivation.name if output == "out" else f"{derivation.name}-{output}",
            )
            for output in derivation.outputs
        ),
        platform=derivation.build_platform,
        attributes=tuple(
            (item.path.lstrip("/"), Attributes(mode=item.mode, owner=item.owner, group=item.group))
            for item in script.attributes
        ),
        normalise=script.normalise,
        identity=identity_of(script),
        limits=limits or Limits(),
    )
