"""The recipe of one step, and the single walk from which its identities are made. Pure.

A derivation is data: who makes it (``builder``), out of what (``inputs``), under which name. ``walk`` lists everything
that decides its result as (label, value) pairs; hashing those pairs gives the identity, keeping them gives the
explanation (``why-rebuild``, ``derivation diff``). What is explained can therefore not drift from what is hashed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from nexis_eval.graph.builders import (
    PACKAGES,
    Attribute,
    Builder,
    Choice,
    CommitNameError,
    Entry,
    Fetch,
    FetchGit,
    Field,
    FileNameError,
    Files,
    Local,
    Script,
    Stored,
    Union,
    Unpack,
)
from nexis_eval.platforms import DEFAULT_BUILD_ARCH
from nexis_store.digest import BuildKey, DerivationId, Digest, TreeDigest, encode_fields

BUILD_KEY_DOMAIN = b"nexis build key\x01"
FIXED_DOMAIN = b"nexis fixed output\x01"
CLOSURE_DOMAIN = b"nexis closure\x01"

__all__ = [
    "PACKAGES",
    "Attribute",
    "Builder",
    "Choice",
    "ClosureDigest",
    "CommitNameError",
    "Derivation",
    "Entry",
    "Fetch",
    "FetchGit",
    "Field",
    "FileNameError",
    "Files",
    "Input",
    "Local",
    "Script",
    "Stored",
    "Union",
    "Unpack",
    "Use",
    "build_key",
    "build_key_fields",
    "closure_digest",
    "label_of",
    "walk",
]
"""The kinds of steps are part of what a derivation is made of."""


class Use(StrEnum):
    """How a builder sees an input."""

    LAYER = "layer"
    """A read-only layer of the file system at ``at``; for unions: a part, in order."""
    CLOSURE = "closure"
    """A layer, and below it those that it brings along: what it propagates, what that propagates, and so on. Of each
    there is what one builds with: the output ``dev`` beside ``out``, if it has one."""
    BIND = "bind"
    """The tree itself at ``at``."""
    TAR = "tar"
    """A tar stream of the tree, with the owners, modes and xattrs of its manifest, as a file at ``at``."""
    CPIO = "cpio"
    """The same as a newc cpio archive."""
    XATTRS = "xattrs"
    """The xattrs of its manifest as a file at ``at``: one a line, name, value in hexadecimal and path, by blanks."""


@dataclass(frozen=True, slots=True)
class Input:
    """One output of another derivation, and where the builder finds it.

    ``at`` is an absolute path in the sandbox: ``/`` or a directory for layers, below ``/in`` for the rest. ``subdir``
    takes only that directory of the tree (staging ``usr`` at ``/usr/<triplet>`` for a cross build).
    """

    derivation: DerivationId
    use: Use
    at: str
    output: str = "out"
    subdir: str = ""


def label_of(name: str, version: str) -> str:
    """``name-version`` as people write it."""
    return f"{name}-{version}" if version else name


@dataclass(frozen=True, slots=True)
class Derivation:
    """The recipe of one step.

    ``platform`` is the architecture the output is for, ``build_platform`` the one that the builder runs on. ``runtime``
    lists what the outputs need when they are used: recorded as references of the artifact, invisible to the builder.
    ``propagates`` are those of them that whoever builds against the outputs must see too (``Use.CLOSURE``): the
    libraries that a library's headers and link instructions name. So each recipe lists its neighbours only, and graphs
    grow with their edges and not with their paths.
    """

    name: str
    builder: Builder
    platform: str
    build_platform: str = DEFAULT_BUILD_ARCH
    version: str = ""
    inputs: tuple[Input, ...] = ()
    outputs: tuple[str, ...] = ("out",)
    runtime: tuple[DerivationId, ...] = ()
    propagates: tuple[DerivationId, ...] = ()

    @property
    def label(self) -> str:
        """``name-version`` as people write it."""
        return label_of(self.name, self.version)

    @property
    def is_fixed(self) -> bool:
        """Whether a declared hash decides the output."""
        return self.builder.fixed_output

    def dependencies(self) -> Iterator[DerivationId]:
        """Every derivation that must be realised first, with repetitions."""
        for each in self.inputs:
            yield each.derivation
        yield from self.runtime


def walk(derivation: Derivation, resolve: Callable[[Input], bytes]) -> Iterator[Field]:
    """List what decides the result of ``derivation``; ``resolve`` names an input by recipe or by realised output."""
    yield "name", derivation.name
    yield "version", derivation.version
    yield "platform", derivation.platform
    yield "build-platform", derivation.build_platform
    yield "builder", derivation.builder.kind
    yield "outputs", " ".join(derivation.outputs)
    yield from derivation.builder.fields()
    for index, each in enumerate(derivation.inputs):
        label = f"input[{index}] {each.use} {each.at} {each.output} {each.subdir}".rstrip()
        yield label, resolve(each).hex()


def _hash(domain: bytes, fields: Iterator[Field]) -> bytes:
    from blake3 import blake3

    parts = [text.encode() for field in fields for text in field]
    return blake3(encode_fields(domain, parts)).digest()


class ClosureDigest(Digest):
    """The hash of all layers that an input used as a closure stands for, in order."""

    __slots__ = ()


def closure_digest(trees: Iterable[TreeDigest], propagated: Iterable[ClosureDigest]) -> ClosureDigest:
    """Of the layers of one derivation and the closures that it propagates.

    Two closures of one digest show a build the same files: their layers are the same trees in the same order.
    """
    own, others = [*trees], [*propagated]
    return ClosureDigest.of(encode_fields(CLOSURE_DOMAIN, [b"%d" % len(own), *own, *others]))


def build_key_fields(derivation: Derivation, resolve: Callable[[Input], Digest]) -> Iterator[Field]:
    """The pairs that the build key hashes; for a fixed output just what was declared."""
    return derivation.builder.fixed() if derivation.is_fixed else walk(derivation, resolve)


def build_key(derivation: Derivation, resolve: Callable[[Input], Digest]) -> BuildKey:
    """The key under which the result is looked up and recorded.

    ``resolve`` gives the tree of an input; of one that is used as a closure, its ``ClosureDigest``.
    """
    domain = FIXED_DOMAIN if derivation.is_fixed else BUILD_KEY_DOMAIN
    return BuildKey(_hash(domain, build_key_fields(derivation, resolve)))
