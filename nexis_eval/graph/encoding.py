"""The canonical encoding of a derivation, and the derivation id that is made from it. Pure.

A recipe is a list of strings, joined by NUL; inside a string NUL and 0x01 are written as ``01 01`` and ``01 02``. It
holds everything of a derivation but two things: the ids of other derivations, which follow apart so that they can
change without anything being encoded anew, and what is no part of any identity (``notes``). From recipe, notes and ids
the derivation is read back: graphs are kept in this form (``nexis_eval.graph.packed``), and most of their recipes are
never decoded. ``docs/formats/derivation.md`` describes the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from blake3 import blake3

from nexis_eval.graph.derivation import (
    SANDBOX_VERSION,
    Attribute,
    Builder,
    Choice,
    Derivation,
    Entry,
    Fetch,
    FetchGit,
    Files,
    Input,
    Local,
    Script,
    Union,
    Unpack,
    Use,
    label_of,
)
from nexis_store.digest import DerivationId, TreeDigest

DOMAIN = b"nexis derivation\x02"
"""Version 2: closures instead of lists of layers, and calls of rules instead of rendered scripts."""

Call = Callable[[tuple[str, ...]], tuple[str, tuple[tuple[str, str], ...]]]
"""Renders what a rule makes of its arguments: the script and its environment."""


def join(strings: Sequence[str]) -> bytes:
    """Encode a list of strings so that no two lists give the same bytes."""
    text = "\0".join(strings)
    if "\1" in text or text.count("\0") >= len(strings):
        text = "\0".join([each.replace("\1", "\1\2").replace("\0", "\1\1") for each in strings])
    return text.encode()


def split(data: bytes) -> list[str]:
    """The inverse of ``join`` for lists of one string or more."""
    strings = data.decode().split("\0")
    if b"\1" in data:
        return [each.replace("\1\1", "\0").replace("\1\2", "\1") for each in strings]
    return strings


def identity(recipe: bytes | memoryview, ids: Sequence[bytes]) -> DerivationId:
    """The derivation id: of the recipe, and of the derivations that it names."""
    digest = blake3(b"".join([DOMAIN, len(ids).to_bytes(4, "big"), *ids, recipe])).digest()
    # Without the check of its length, which takes as long as hashing.
    return bytes.__new__(DerivationId, digest)


def derivation_id(derivation: Derivation) -> DerivationId:
    """The identity of a derivation."""
    return identity(recipe_of(derivation), ids_of(derivation))


def ids_of(derivation: Derivation) -> tuple[DerivationId, ...]:
    """The derivations that it names, in the order of the encoding: inputs, then what it needs at run time."""
    return (*[each.derivation for each in derivation.inputs], *derivation.runtime)


def recipe_of(derivation: Derivation) -> bytes:
    """The recipe, encoded; raises ``ValueError`` if something is propagated that is not needed at run time."""
    return _recipe(
        (derivation.builder.kind, derivation.name, derivation.version, derivation.platform),
        derivation.build_platform,
        derivation.outputs,
        [text for each in derivation.inputs for text in (each.use, each.at, each.output, each.subdir)],
        len(derivation.runtime),
        [derivation.runtime.index(each) for each in derivation.propagates],
        _builder_strings(derivation.builder),
    )


def fetch_recipe(name: str, version: str, platform: str, builder: Fetch) -> bytes:
    """The recipe of a download, without making a derivation first."""
    return _recipe(("fetch", name, version, platform), "x86_64", ("out",), (), 0, (), _builder_strings(builder))


def call_recipe(
    name: str,
    version: str,
    platform: str,
    inputs: Sequence[str],
    runtime: int,
    propagates: Sequence[int],
    call: Sequence[str],
    script: Script | None = None,
    outputs: Sequence[str] = ("out",),
) -> bytes:
    """The recipe of a build by a rule, without making a derivation first.

    ``inputs`` has four strings of each input (use, place, output, subdirectory), ``runtime`` is the number of run-time
    needs, ``propagates`` which of them are propagated. ``script`` is only needed where it says more than the call.
    """
    first = _PLAIN_SCRIPT if script is None else _script_head(script)
    return _recipe(
        ("script", name, version, platform), "x86_64", outputs, inputs, runtime, propagates, (*first, "call", *call)
    )


class Head(NamedTuple):
    """The strings at the start of each recipe, which tell what it is."""

    kind: str
    name: str
    version: str
    platform: str

    @property
    def label(self) -> str:
        """``name-version`` as people write it."""
        return label_of(self.name, self.version)


def head_of(recipe: bytes) -> Head:
    """What a recipe makes, without reading the rest of it."""
    return Head(*split(recipe)[: len(Head._fields)])


def _recipe(
    head: tuple[str, str, str, str],
    build_platform: str,
    outputs: Sequence[str],
    inputs: Sequence[str],
    runtime: int,
    propagates: Sequence[int],
    builder: Iterable[str],
) -> bytes:
    return join(
        [
            *head,
            build_platform,
            str(len(outputs)),
            *outputs,
            str(len(inputs) // 4),
            *inputs,
            str(runtime),
            " ".join(map(str, propagates)),
            *builder,
        ]
    )


def notes_of(derivation: Derivation) -> bytes:
    """What is no part of any identity, encoded; mostly nothing."""
    match derivation.builder:
        case Fetch() as fetch:
            return fetch_notes(fetch)
        case Local(path=path):
            return join((path,))
    return b""


def fetch_notes(fetch: Fetch) -> bytes:
    """The notes of a download."""
    if fetch.size is None and fetch.tree is None:
        return b""
    size, tree = fetch.size, fetch.tree
    return join((_optional(None if size is None else str(size)), _optional(None if tree is None else str(tree))))


def decode(recipe: bytes, notes: bytes, ids: Sequence[DerivationId], call: Call) -> Derivation:
    """The derivation of a recipe; ``call`` is asked for the script where a rule makes it."""
    reader = _Reader(split(recipe))
    kind, name, version, platform, build_platform = (reader.take() for _ in range(5))
    outputs = reader.list()
    inputs = tuple(
        Input(each, Use(reader.take()), reader.take(), reader.take(), reader.take())
        for each, _ in zip(ids, range(int(reader.take())), strict=False)
    )
    runtime = tuple(ids[len(inputs) : len(inputs) + int(reader.take())])
    propagates = tuple(runtime[int(index)] for index in reader.take().split())
    builder = _DECODERS[kind](reader, split(notes) if notes else [], call)
    return Derivation(name, builder, platform, build_platform, version, inputs, outputs, runtime, propagates)


def _optional(value: str | None) -> str:
    return "" if value is None else f"={value}"


def _list(strings: Sequence[str]) -> tuple[str, ...]:
    return (str(len(strings)), *strings)


def _flag(value: bool) -> str:
    return "yes" if value else ""


def _mode(value: int | None) -> str:
    return "" if value is None else f"{value:o}"


def _builder_strings(builder: Builder) -> Iterable[str]:
    match builder:
        case Fetch():
            return (*_list(builder.urls), builder.algorithm, builder.hash, builder.filename)
        case FetchGit():
            first, *others = builder.urls
            return (first, builder.commit, str(builder.tree), _flag(builder.submodules), *others)
        case Local():
            return (str(builder.tree),)
        case Files():
            return (text for entry in builder.entries for text in _entry_strings(entry))
        case Unpack():
            return (builder.format, str(builder.strip), builder.prefix, *builder.exclude)
        case Union():
            winners = (text for pair in builder.winners for text in pair)
            required = (text for pair in builder.required for text in pair)
            # Most unions require nothing: their encoding is that of a time when none did.
            count = f"{len(builder.winners)}+{len(builder.required)}" if builder.required else str(len(builder.winners))
            return (_flag(builder.later_wins), count, *winners, *required, *builder.exclude)
        case Script():
            return _script_strings(builder)
        case Choice():
            return (builder.absent,)


def _entry_strings(entry: Entry) -> tuple[str, ...]:
    return (entry.path, _optional(entry.text), _optional(entry.target), _mode(entry.mode), entry.owner, entry.group)


def _script_head(builder: Script) -> tuple[str, ...]:
    """The strings of a script up to those that say what is run."""
    attributes = (text for each in builder.attributes for text in (each.path, each.owner, each.group, _mode(each.mode)))
    return (
        SANDBOX_VERSION,
        _flag(builder.as_root),
        _flag(builder.normalise),
        str(len(builder.attributes)),
        *attributes,
        *_list(builder.allow_missing),
    )


_PLAIN_SCRIPT = _script_head(Script(""))


def _script_strings(builder: Script) -> tuple[str, ...]:
    if builder.call:
        return (*_script_head(builder), "call", *builder.call)
    env = (text for pair in builder.env for text in pair)
    return (*_script_head(builder), "text", builder.script, *env)


class _Reader:
    def __init__(self, strings: list[str]) -> None:
        self._strings = iter(strings)

    def take(self) -> str:
        return next(self._strings)

    def list(self) -> tuple[str, ...]:
        return tuple(self.take() for _ in range(int(self.take())))

    def rest(self) -> tuple[str, ...]:
        return tuple(self._strings)

    def pairs(self) -> tuple[tuple[str, str], ...]:
        return tuple(zip(self._strings, self._strings, strict=True))

    def __iter__(self) -> Iterator[str]:
        return self._strings


def _value(text: str) -> str | None:
    return text[1:] if text else None


def _octal(text: str) -> int | None:
    return int(text, 8) if text else None


def _fetch(reader: _Reader, notes: list[str], _call: Call) -> Builder:
    size, tree = map(_value, notes or ("", ""))
    return Fetch(
        reader.list(),
        reader.take(),
        reader.take(),
        reader.take(),
        int(size) if size else None,
        TreeDigest.parse(tree) if tree else None,
    )


def _git(reader: _Reader, _notes: list[str], _call: Call) -> Builder:
    first, commit, tree, submodules = reader.take(), reader.take(), TreeDigest.parse(reader.take()), reader.take()
    return FetchGit((first, *reader.rest()), commit, tree, bool(submodules))


def _local(reader: _Reader, notes: list[str], _call: Call) -> Builder:
    return Local(notes[0] if notes else "", TreeDigest.parse(reader.take()))


def _files(reader: _Reader, _notes: list[str], _call: Call) -> Builder:
    strings = iter(reader)
    return Files(
        tuple(
            Entry(path, _value(text), _value(target), _octal(mode), owner, group)
            for path, text, target, mode, owner, group in zip(*[strings] * 6, strict=True)
        )
    )


def _unpack(reader: _Reader, _notes: list[str], _call: Call) -> Builder:
    kind, strip, prefix = reader.take(), int(reader.take()), reader.take()
    return Unpack(kind, strip, reader.rest(), prefix)  # type: ignore[arg-type]


def _union(reader: _Reader, _notes: list[str], _call: Call) -> Builder:
    later_wins = bool(reader.take())
    number, _, others = reader.take().partition("+")
    winners = tuple((reader.take(), reader.take()) for _ in range(int(number)))
    required = tuple((reader.take(), reader.take()) for _ in range(int(others or 0)))
    return Union(winners, later_wins, reader.rest(), required)


def _script(reader: _Reader, _notes: list[str], call: Call) -> Builder:
    _version, as_root, normalise = reader.take(), bool(reader.take()), bool(reader.take())
    attributes = tuple(
        Attribute(reader.take(), reader.take(), reader.take(), _octal(reader.take())) for _ in range(int(reader.take()))
    )
    missing = reader.list()
    if reader.take() == "call":
        arguments = reader.rest()
        script, env = call(arguments)
        return Script(script, env, as_root, attributes, normalise, arguments, missing)
    return Script(reader.take(), reader.pairs(), as_root, attributes, normalise, allow_missing=missing)


def _choice(reader: _Reader, _notes: list[str], _call: Call) -> Builder:
    return Choice(reader.take())


_DECODERS: dict[str, Callable[[_Reader, list[str], Call], Builder]] = {
    "fetch": _fetch,
    "git": _git,
    "local": _local,
    "files": _files,
    "unpack": _unpack,
    "union": _union,
    "script": _script,
    "choice": _choice,
}
