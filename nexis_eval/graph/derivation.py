"""The recipe of one step, and the single walk from which its identities are made. Pure.

A derivation is data: who makes it (``builder``), out of what (``inputs``), under which name. ``walk`` lists everything
that decides its result as (label, value) pairs; hashing those pairs gives the identity, keeping them gives the
explanation (``why-rebuild``, ``derivation diff``). What is explained can therefore not drift from what is hashed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Literal, get_args

from nexis_store.digest import BuildKey, DerivationId, Digest, TreeDigest, encode_fields
from nexis_store.errors import NexisError
from nexis_store.names import shown, why_bad_file_name

BUILD_KEY_DOMAIN = b"nexis build key\x01"
FIXED_DOMAIN = b"nexis fixed output\x01"
CLOSURE_DOMAIN = b"nexis closure\x01"

SANDBOX_VERSION = "1"
"""Part of every script's identity: raised when what a build can see of its surroundings changes."""

Field = tuple[str, str]


class FileNameError(NexisError):
    """What a download is called cannot be the name of a file.

    A download is kept under the last part of its URL's path, in which ``%2F``, ``%00`` and the like stand for
    characters that no name of a file has. The setting with the URL is shown, or the lock that has it.
    """

    code = "E0421"
    exit_code = 2


class CommitNameError(NexisError):
    """What names a commit of a git repository is not its full name, 40 or 64 hexadecimal digits in lower case."""

    code = "E0422"
    exit_code = 2


_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?").fullmatch


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


@dataclass(frozen=True, slots=True)
class Fetch:
    """Download one file and verify it; the output is a tree that holds just that file.

    ``urls`` are tried in order and may use mirror sets (``mirror://debian/pool/…``). ``algorithm`` is one of sha256,
    sha512, blake3; ``hash`` is lower-case hexadecimal. Fixed-output: only the hash and the file name are its identity.
    """

    kind: ClassVar[str] = "fetch"
    urls: tuple[str, ...]
    algorithm: str
    hash: str
    filename: str
    size: int | None = None
    tree: TreeDigest | None = None
    """What is in the archive: a file with another hash but the same content is accepted. No part of the identity."""

    def __post_init__(self) -> None:
        """Raises ``FileNameError``: whoever has one may write the file into a directory of theirs."""
        why = why_bad_file_name(self.filename)
        if why is not None:
            name = shown(self.filename if len(self.filename) <= 80 else f"{self.filename[:60]}…")
            raise FileNameError(
                f"a download cannot be called '{name}': {why}",
                hint="the name is the last part of the URL's path; a mirror may have it under another one",
            )

    def fields(self) -> Iterator[Field]:
        """What the derivation id covers."""
        for index, url in enumerate(self.urls):
            yield f"url[{index}]", url
        yield from self.fixed()

    def fixed(self) -> Iterator[Field]:
        """What alone decides the output."""
        yield "filename", self.filename
        yield "hash", f"{self.algorithm}:{self.hash}"


@dataclass(frozen=True, slots=True)
class FetchGit:
    """Check out one commit of a git repository, without its ``.git``; submodules included when asked.

    ``urls`` are tried in order and may use mirror sets. Fixed-output: ``commit`` is a full SHA-1 or SHA-256 object
    name, ``tree`` the tree digest of the check-out.
    """

    kind: ClassVar[str] = "git"
    urls: tuple[str, ...]
    commit: str
    tree: TreeDigest
    submodules: bool = False

    def __post_init__(self) -> None:
        """Raises ``CommitNameError``: the name is a part of what is sent to servers."""
        if not _COMMIT(self.commit):
            raise CommitNameError(
                f"'{shown(self.commit[:80])}' is not the name of a commit", hint="40 or 64 hexadecimal digits"
            )

    def fields(self) -> Iterator[Field]:
        """What the derivation id covers."""
        for index, url in enumerate(self.urls):
            yield f"url[{index}]" if index else "url", url
        yield "commit", self.commit
        yield "submodules", str(self.submodules)
        yield from self.fixed()

    def fixed(self) -> Iterator[Field]:
        """What alone decides the output."""
        yield "tree", str(self.tree)


@dataclass(frozen=True, slots=True)
class Local:
    """A file or directory of the user's own (a patch, a hook, a kernel configuration).

    Fixed-output by tree digest. A file becomes a tree that holds just that file under its own base name. ``path`` says
    where it was read and is no part of any identity.
    """

    kind: ClassVar[str] = "local"
    path: str
    tree: TreeDigest

    def fields(self) -> Iterator[Field]:
        """What the derivation id covers."""
        yield from self.fixed()

    def fixed(self) -> Iterator[Field]:
        """What alone decides the output."""
        yield "tree", str(self.tree)


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a ``Files`` tree: a regular file with ``text``, a symlink to ``target``, or a directory."""

    path: str
    text: str | None = None
    target: str | None = None
    mode: int | None = None
    """Permission bits; ``None`` is 0644 for files and 0755 for directories."""
    owner: str = "root"
    group: str = "root"

    def fields(self, label: str) -> Iterator[Field]:
        """Everything of the entry."""
        mode = "" if self.mode is None else f"{self.mode:04o}"
        yield f"{label} {self.path}", f"{self.owner}:{self.group} {mode}"
        if self.text is not None:
            yield f"{label} {self.path} text", self.text
        if self.target is not None:
            yield f"{label} {self.path} target", self.target


@dataclass(frozen=True, slots=True)
class Files:
    """A tree whose content is written in the recipe itself: configuration files, accounts, service definitions."""

    kind: ClassVar[str] = "files"
    entries: tuple[Entry, ...]

    def fields(self) -> Iterator[Field]:
        """What the derivation id covers."""
        for entry in self.entries:
            yield from entry.fields("file")


@dataclass(frozen=True, slots=True)
class Unpack:
    """Unpack the single archive of the single input into a tree.

    ``format`` is ``deb``, ``tar`` or ``zip``; ``strip`` leading path components are dropped. Paths below ``bin``,
    ``sbin`` and ``lib*`` are moved below ``usr`` (merged /usr), and ``exclude`` names path prefixes that are left out.
    Owners and setuid bits come from the archive and land in the manifest.
    """

    kind: ClassVar[str] = "unpack"
    format: Literal["deb", "tar", "zip"]
    strip: int = 0
    exclude: tuple[str, ...] = ()
    prefix: str = ""
    """Put everything below this directory."""

    def fields(self) -> Iterator[Field]:
        """What the derivation id covers."""
        yield "format", self.format
        yield "strip", str(self.strip)
        yield "prefix", self.prefix
        for index, prefix in enumerate(self.exclude):
            yield f"exclude[{index}]", prefix


PACKAGES = "packages"
"""The name of the union of all packages of a system."""


@dataclass(frozen=True, slots=True)
class Union:
    """Merge the trees of all inputs into one. A path with two different owners is an error that names both.

    ``winners`` lists (path, name) pairs: at and below that path the input derivation called ``name`` wins, unless a
    longer path says otherwise. ``later_wins`` makes each input override those before it. ``exclude`` lists paths
    (shell patterns) that are left out with all below them.
    """

    kind: ClassVar[str] = "union"
    winners: tuple[tuple[str, str], ...] = ()
    later_wins: bool = False
    exclude: tuple[str, ...] = ()
    required: tuple[tuple[str, str], ...] = ()
    """Paths that the result must have, each with the key of the configuration that names it."""

    def fields(self) -> Iterator[Field]:
        """What the derivation id covers."""
        yield "later-wins", str(self.later_wins)
        for path, key in self.required:
            yield f"required {path}", key
        for path, winner in self.winners:
            yield f"winner {path}", winner
        for index, prefix in enumerate(self.exclude):
            yield f"exclude[{index}]", prefix


@dataclass(frozen=True, slots=True)
class Attribute:
    """What a script cannot set by itself in a sandbox without privileges: owner, group and mode of a path it made."""

    path: str
    owner: str = "root"
    group: str = "root"
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """Run a shell script in the sandbox; ``/out`` (or ``/out/<output>`` where there are several) becomes the output.

    The script is complete: phases, flags and hooks are rendered into it. ``as_root`` gives it user 0 inside (mapped to
    the caller outside; no privileges on the host), for image tools that insist.

    Where a rule made script and environment, ``call`` says which and with what (``nexis_eval.build_rules``). Then it
    stands for them in the derivation id, so that evaluating renders nothing; the build key covers what was rendered.
    """

    kind: ClassVar[str] = "script"
    script: str
    env: tuple[tuple[str, str], ...] = ()
    as_root: bool = False
    attributes: tuple[Attribute, ...] = ()
    normalise: bool = True
    """Apply the landing rules (``docs/formats/landing.md``); images are taken as they are."""
    call: tuple[str, ...] = ()
    allow_missing: tuple[str, ...] = ()
    """What a rule's build may lack at run time all the same (``nexis_eval.execute.linkage``)."""

    def fields(self) -> Iterator[Field]:
        """What the derivation id covers."""
        yield "sandbox", SANDBOX_VERSION
        yield "script", self.script
        for name, value in self.env:
            yield f"env {name}", value
        yield "as-root", str(self.as_root)
        yield "normalise", str(self.normalise)
        for attribute in self.attributes:
            mode = "" if attribute.mode is None else f"{attribute.mode:04o}"
            yield f"attribute {attribute.path}", f"{attribute.owner}:{attribute.group} {mode}"
        for index, name in enumerate(self.allow_missing):
            yield f"allow-missing[{index}]", name


@dataclass(frozen=True, slots=True)
class Choice:
    """The first input that can be realised: a vendor's binary, and the source build that stands in for it.

    Only the alternative that is chosen is ever realised; the choice and its reason are recorded in the realisation.
    """

    kind: ClassVar[str] = "choice"
    absent: str = ""
    """Why the first alternative is not among the inputs, where it was known before that it cannot be had."""

    def fields(self) -> Iterator[Field]:
        """A choice is described by its inputs, and by what is known to be missing among them."""
        if self.absent:
            yield "absent", self.absent


Builder = Fetch | FetchGit | Local | Files | Unpack | Union | Script | Choice
BUILDERS: dict[str, type[Builder]] = {each.kind: each for each in get_args(Builder)}
"""By kind."""


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
    build_platform: str = "x86_64"
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
        return isinstance(self.builder, (Fetch, FetchGit, Local))

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
    builder = derivation.builder
    if isinstance(builder, (Fetch, FetchGit, Local)):
        return builder.fixed()
    return walk(derivation, resolve)


def build_key(derivation: Derivation, resolve: Callable[[Input], Digest]) -> BuildKey:
    """The key under which the result is looked up and recorded.

    ``resolve`` gives the tree of an input; of one that is used as a closure, its ``ClosureDigest``.
    """
    domain = FIXED_DOMAIN if derivation.is_fixed else BUILD_KEY_DOMAIN
    return BuildKey(_hash(domain, build_key_fields(derivation, resolve)))
