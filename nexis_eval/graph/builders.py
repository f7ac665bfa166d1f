"""The kinds of steps: what each is made from, and all that the rest of the program asks of a kind. Pure.

A kind is a class here and a row of ``BUILDERS``; how it is performed is a row of ``nexis_eval.execute.builtin``. Nobody
else knows kinds by name. ``docs/extending.md`` says how to add one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, NamedTuple, Self

from nexis_eval.graph.strings import Reader, counted, flag, octal, optional, read_octal, read_optional
from nexis_store.digest import TreeDigest
from nexis_store.errors import NexisError
from nexis_store.names import shown, why_bad_file_name

SANDBOX_VERSION = "1"
"""Part of every script's identity: raised when what a build can see of its surroundings changes."""

Field = tuple[str, str]

Call = Callable[[tuple[str, ...]], tuple[str, tuple[tuple[str, str], ...]]]
"""Renders what a rule makes of its arguments: the script and its environment."""


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


class Material(NamedTuple):
    """Something from outside that a step brings in: its name, where it is from ("" if that is nowhere), its digest."""

    name: str
    uri: str
    algorithm: str
    digest: str


def _plain(value: object) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, (Entry, Attribute)):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    return value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _tree(value: Any) -> TreeDigest | None:
    return None if value is None else TreeDigest.parse(value)


@dataclass(frozen=True, slots=True)
class Builder:
    """What makes a step. Each kind is a subclass that says the following about itself."""

    kind: ClassVar[str]
    """Its name in recipes, events and JSON. It is part of identities: it never changes."""
    verb: ClassVar[str]
    """What the step does, as the progress and the plan tell it; 8 letters at most."""
    usual_ns: ClassVar[int]
    """How long a step that was never seen is expected to take."""
    fixed_output: ClassVar[bool] = False
    """Whether a declared hash (``fixed``) decides the output. Otherwise the inputs do."""
    fetches: ClassVar[bool] = False
    """Whether it needs the network."""
    runs: ClassVar[bool] = False
    """Whether an executor runs it: then it has a log, phases and a duration worth telling."""
    plumbing: ClassVar[bool] = False
    """Whether it only brings sources in: there are many such steps, and drawings leave them out."""
    passes_on: ClassVar[bool] = False
    """Whether its output is one that existed before: that it came out as the last time is not news."""
    anonymous: ClassVar[bool] = False
    """Whether the name of a step says enough without the kind, where inputs of two recipes are compared."""
    origin: ClassVar[str] = "built"
    """What realisations say of how the outputs came to be."""
    readers: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    """How the fields that are not numbers, texts or lists of them are read from JSON values."""

    def fields(self) -> Iterator[Field]:
        """List what the derivation id covers, for people and for the build key."""
        raise NotImplementedError

    def fixed(self) -> Iterator[Field]:
        """List what alone decides the output; only of kinds with ``fixed_output``."""
        raise NotImplementedError

    def declared_tree(self) -> TreeDigest | None:
        """Return the tree that comes out, where the recipe says that."""
        return None

    def strings(self) -> Iterable[str]:
        """Encode everything that is part of the identity."""
        raise NotImplementedError

    def notes(self) -> Sequence[str]:
        """Encode what is not part of any identity; empty where there is nothing."""
        return ()

    @classmethod
    def decode(cls, reader: Reader, notes: Sequence[str], call: Call) -> Self:
        """Read ``strings`` and ``notes`` back; ``call`` renders what a rule makes."""
        raise NotImplementedError

    def material(self, label: str) -> Material | None:
        """Return what a step called ``label`` brings in from outside, if it does."""
        return None

    def to_json(self) -> dict[str, Any]:
        """Return all fields as plain JSON values."""
        return {"kind": self.kind, **{item.name: _plain(getattr(self, item.name)) for item in fields(self)}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read ``to_json`` back; raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        return cls(**{name: cls.readers.get(name, _tuples)(item) for name, item in value.items() if name != "kind"})


@dataclass(frozen=True, slots=True)
class Fetch(Builder):
    """Download one file and verify it; the output is a tree that holds just that file.

    ``urls`` are tried in order and may use mirror sets (``mirror://debian/pool/…``). ``algorithm`` is one of sha256,
    sha512, blake3; ``hash`` is lower-case hexadecimal. Fixed-output: only the hash and the file name are its identity.
    """

    kind: ClassVar[str] = "fetch"
    verb: ClassVar[str] = "fetch"
    usual_ns: ClassVar[int] = 200_000_000
    fixed_output: ClassVar[bool] = True
    fetches: ClassVar[bool] = True
    plumbing: ClassVar[bool] = True
    origin: ClassVar[str] = "fetched"
    readers: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"tree": _tree}
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

    def strings(self) -> Iterable[str]:
        """Encode everything that is part of the identity."""
        return (*counted(self.urls), self.algorithm, self.hash, self.filename)

    def notes(self) -> Sequence[str]:
        """Encode size and content, where they are known."""
        if self.size is None and self.tree is None:
            return ()
        size, tree = self.size, self.tree
        return (optional(None if size is None else str(size)), optional(None if tree is None else str(tree)))

    @classmethod
    def decode(cls, reader: Reader, notes: Sequence[str], call: Call) -> Self:
        """Read ``strings`` and ``notes`` back."""
        size, tree = map(read_optional, notes or ("", ""))
        return cls(
            reader.list(),
            reader.take(),
            reader.take(),
            reader.take(),
            int(size) if size else None,
            TreeDigest.parse(tree) if tree else None,
        )

    def material(self, label: str) -> Material:
        """Return the file."""
        return Material(self.filename, self.urls[0], self.algorithm, self.hash)


@dataclass(frozen=True, slots=True)
class FetchGit(Builder):
    """Check out one commit of a git repository, without its ``.git``; submodules included when asked.

    ``urls`` are tried in order and may use mirror sets. Fixed-output: ``commit`` is a full SHA-1 or SHA-256 object
    name, ``tree`` the tree digest of the check-out.
    """

    kind: ClassVar[str] = "git"
    verb: ClassVar[str] = "fetch"
    usual_ns: ClassVar[int] = 2_000_000_000
    fixed_output: ClassVar[bool] = True
    fetches: ClassVar[bool] = True
    plumbing: ClassVar[bool] = True
    origin: ClassVar[str] = "fetched"
    readers: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"tree": _tree}
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

    def declared_tree(self) -> TreeDigest:
        """Return the tree that must come out."""
        return self.tree

    def strings(self) -> Iterable[str]:
        """Encode everything that is part of the identity."""
        first, *others = self.urls
        return (first, self.commit, str(self.tree), flag(self.submodules), *others)

    @classmethod
    def decode(cls, reader: Reader, notes: Sequence[str], call: Call) -> Self:
        """Read ``strings`` back."""
        first, commit, tree, submodules = reader.take(), reader.take(), TreeDigest.parse(reader.take()), reader.take()
        return cls((first, *reader.rest()), commit, tree, bool(submodules))

    def material(self, label: str) -> Material:
        """Return the commit."""
        return Material(label, f"git+{self.urls[0].removeprefix('git+')}", "gitCommit", self.commit)


@dataclass(frozen=True, slots=True)
class Local(Builder):
    """A file or directory of the user's own (a patch, a hook, a kernel configuration).

    Fixed-output by tree digest. A file becomes a tree that holds just that file under its own base name. ``path`` says
    where it was read and is no part of any identity.
    """

    kind: ClassVar[str] = "local"
    verb: ClassVar[str] = "take in"
    usual_ns: ClassVar[int] = 1_000_000
    fixed_output: ClassVar[bool] = True
    plumbing: ClassVar[bool] = True
    readers: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"tree": _tree}
    path: str
    tree: TreeDigest

    def fields(self) -> Iterator[Field]:
        """What the derivation id covers."""
        yield from self.fixed()

    def fixed(self) -> Iterator[Field]:
        """What alone decides the output."""
        yield "tree", str(self.tree)

    def declared_tree(self) -> TreeDigest:
        """Return the tree that must come out."""
        return self.tree

    def strings(self) -> Iterable[str]:
        """Encode everything that is part of the identity."""
        return (str(self.tree),)

    def notes(self) -> Sequence[str]:
        """Encode the path."""
        return (self.path,)

    @classmethod
    def decode(cls, reader: Reader, notes: Sequence[str], call: Call) -> Self:
        """Read ``strings`` and ``notes`` back."""
        return cls(notes[0] if notes else "", TreeDigest.parse(reader.take()))

    def material(self, label: str) -> Material:
        """Return the file or directory."""
        return Material(label, "", "nexisTree", str(self.tree))


@dataclass(frozen=True, slots=True)
class Stored(Builder):
    """A tree that a store already keeps and that no recipe of this graph makes: an older generation of a system.

    Fixed-output by its digest. It is there when the store has it, and fetched when a source of trees does.
    """

    kind: ClassVar[str] = "stored"
    verb: ClassVar[str] = "look up"
    usual_ns: ClassVar[int] = 1_000_000
    fixed_output: ClassVar[bool] = True
    passes_on: ClassVar[bool] = True
    origin: ClassVar[str] = "stored"
    readers: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"tree": _tree}
    tree: TreeDigest

    def fields(self) -> Iterator[Field]:
        """What the derivation id covers."""
        yield from self.fixed()

    def fixed(self) -> Iterator[Field]:
        """What alone decides the output."""
        yield "tree", str(self.tree)

    def declared_tree(self) -> TreeDigest:
        """Return the tree."""
        return self.tree

    def strings(self) -> Iterable[str]:
        """Encode everything that is part of the identity."""
        return (str(self.tree),)

    @classmethod
    def decode(cls, reader: Reader, notes: Sequence[str], call: Call) -> Self:
        """Read ``strings`` back."""
        return cls(TreeDigest.parse(reader.take()))

    def material(self, label: str) -> Material:
        """Return the tree: what made it is not part of this build."""
        return Material(label, "", "nexisTree", str(self.tree))


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

    def strings(self) -> tuple[str, ...]:
        """Encode everything of the entry."""
        return (self.path, optional(self.text), optional(self.target), octal(self.mode), self.owner, self.group)


def _entries(value: Any) -> tuple[Entry, ...]:
    return tuple(Entry(**item) for item in value)


@dataclass(frozen=True, slots=True)
class Files(Builder):
    """A tree whose content is written in the recipe itself: configuration files, accounts, service definitions."""

    kind: ClassVar[str] = "files"
    verb: ClassVar[str] = "write"
    usual_ns: ClassVar[int] = 1_000_000
    readers: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"entries": _entries}
    entries: tuple[Entry, ...]

    def fields(self) -> Iterator[Field]:
        """What the derivation id covers."""
        for entry in self.entries:
            yield from entry.fields("file")

    def strings(self) -> Iterable[str]:
        """Encode everything that is part of the identity."""
        return (text for entry in self.entries for text in entry.strings())

    @classmethod
    def decode(cls, reader: Reader, notes: Sequence[str], call: Call) -> Self:
        """Read ``strings`` back."""
        strings = iter(reader)
        return cls(
            tuple(
                Entry(path, read_optional(text), read_optional(target), read_octal(mode), owner, group)
                for path, text, target, mode, owner, group in zip(*[strings] * 6, strict=True)
            )
        )


@dataclass(frozen=True, slots=True)
class Unpack(Builder):
    """Unpack the single archive of the single input into a tree.

    ``format`` is ``deb``, ``tar`` or ``zip``; ``strip`` leading path components are dropped. Paths below ``bin``,
    ``sbin`` and ``lib*`` are moved below ``usr`` (merged /usr), and ``exclude`` names path prefixes that are left out.
    Owners and setuid bits come from the archive and land in the manifest.
    """

    kind: ClassVar[str] = "unpack"
    verb: ClassVar[str] = "unpack"
    usual_ns: ClassVar[int] = 100_000_000
    plumbing: ClassVar[bool] = True
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

    def strings(self) -> Iterable[str]:
        """Encode everything that is part of the identity."""
        return (self.format, str(self.strip), self.prefix, *self.exclude)

    @classmethod
    def decode(cls, reader: Reader, notes: Sequence[str], call: Call) -> Self:
        """Read ``strings`` back."""
        form, strip, prefix = reader.take(), int(reader.take()), reader.take()
        return cls(form, strip, reader.rest(), prefix)  # type: ignore[arg-type]


PACKAGES = "packages"
"""The name of the union of all packages of a system."""


@dataclass(frozen=True, slots=True)
class Union(Builder):
    """Merge the trees of all inputs into one. A path with two different owners is an error that names both.

    ``winners`` lists (path, name) pairs: at and below that path the input derivation called ``name`` wins, unless a
    longer path says otherwise. ``later_wins`` makes each input override those before it. ``exclude`` lists paths
    (shell patterns) that are left out with all below them.
    """

    kind: ClassVar[str] = "union"
    verb: ClassVar[str] = "compose"
    usual_ns: ClassVar[int] = 200_000_000
    anonymous: ClassVar[bool] = True
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

    def strings(self) -> Iterable[str]:
        """Encode everything that is part of the identity."""
        winners = (text for pair in self.winners for text in pair)
        required = (text for pair in self.required for text in pair)
        # Most unions require nothing: their encoding is that of a time when none did.
        count = f"{len(self.winners)}+{len(self.required)}" if self.required else str(len(self.winners))
        return (flag(self.later_wins), count, *winners, *required, *self.exclude)

    @classmethod
    def decode(cls, reader: Reader, notes: Sequence[str], call: Call) -> Self:
        """Read ``strings`` back."""
        later_wins = bool(reader.take())
        number, _, others = reader.take().partition("+")
        winners = tuple((reader.take(), reader.take()) for _ in range(int(number)))
        required = tuple((reader.take(), reader.take()) for _ in range(int(others or 0)))
        return cls(winners, later_wins, reader.rest(), required)


@dataclass(frozen=True, slots=True)
class Attribute:
    """What a script cannot set by itself in a sandbox without privileges: owner, group and mode of a path it made."""

    path: str
    owner: str = "root"
    group: str = "root"
    mode: int | None = None

    def strings(self) -> tuple[str, ...]:
        """Encode everything of it."""
        return (self.path, self.owner, self.group, octal(self.mode))


def _attributes(value: Any) -> tuple[Attribute, ...]:
    return tuple(Attribute(**item) for item in value)


@dataclass(frozen=True, slots=True)
class Script(Builder):
    """Run a shell script in the sandbox; ``/out`` (or ``/out/<output>`` where there are several) becomes the output.

    The script is complete: phases, flags and hooks are rendered into it. ``as_root`` gives it user 0 inside (mapped to
    the caller outside; no privileges on the host), for image tools that insist.

    Where a rule made script and environment, ``call`` says which and with what (``nexis_eval.build_rules``). Then it
    stands for them in the derivation id, so that evaluating renders nothing; the build key covers what was rendered.
    """

    kind: ClassVar[str] = "script"
    verb: ClassVar[str] = "build"
    usual_ns: ClassVar[int] = 10_000_000_000
    runs: ClassVar[bool] = True
    anonymous: ClassVar[bool] = True
    readers: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"attributes": _attributes}
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

    def head(self) -> tuple[str, ...]:
        """Encode everything up to what is run."""
        return (
            SANDBOX_VERSION,
            flag(self.as_root),
            flag(self.normalise),
            str(len(self.attributes)),
            *(text for attribute in self.attributes for text in attribute.strings()),
            *counted(self.allow_missing),
        )

    def strings(self) -> Iterable[str]:
        """Encode everything that is part of the identity."""
        if self.call:
            return (*self.head(), "call", *self.call)
        env = (text for pair in self.env for text in pair)
        return (*self.head(), "text", self.script, *env)

    @classmethod
    def decode(cls, reader: Reader, notes: Sequence[str], call: Call) -> Self:
        """Read ``strings`` back."""
        _version, as_root, normalise = reader.take(), bool(reader.take()), bool(reader.take())
        attributes = tuple(
            Attribute(reader.take(), reader.take(), reader.take(), read_octal(reader.take()))
            for _ in range(int(reader.take()))
        )
        missing = reader.list()
        if reader.take() == "call":
            arguments = reader.rest()
            script, env = call(arguments)
            return cls(script, env, as_root, attributes, normalise, arguments, missing)
        return cls(reader.take(), reader.pairs(), as_root, attributes, normalise, allow_missing=missing)


@dataclass(frozen=True, slots=True)
class Choice(Builder):
    """The first input that can be realised: a vendor's binary, and the source build that stands in for it.

    Only the alternative that is chosen is ever realised; the choice and its reason are recorded in the realisation.
    """

    kind: ClassVar[str] = "choice"
    verb: ClassVar[str] = "choose"
    usual_ns: ClassVar[int] = 1_000_000
    passes_on: ClassVar[bool] = True
    absent: str = ""
    """Why the first alternative is not among the inputs, where it was known before that it cannot be had."""

    def fields(self) -> Iterator[Field]:
        """A choice is described by its inputs, and by what is known to be missing among them."""
        if self.absent:
            yield "absent", self.absent

    def strings(self) -> Iterable[str]:
        """Encode everything that is part of the identity."""
        return (self.absent,)

    @classmethod
    def decode(cls, reader: Reader, notes: Sequence[str], call: Call) -> Self:
        """Read ``strings`` back."""
        return cls(reader.take())


KINDS: tuple[type[Builder], ...] = (Fetch, FetchGit, Local, Files, Unpack, Union, Script, Choice, Stored)
BUILDERS = {each.kind: each for each in KINDS}
"""The kinds by name."""
