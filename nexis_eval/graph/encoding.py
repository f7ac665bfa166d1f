"""The canonical encoding of a derivation, and the derivation id that is made from it. Pure.

A recipe is a list of strings (``nexis_eval.graph.strings``). It holds everything of a derivation but two things: the
ids of other derivations, which follow apart so that they can change without anything being encoded anew, and what is
no part of any identity (``notes``). From recipe, notes and ids the derivation is read back: graphs are kept in this
form (``nexis_eval.graph.packed``), and most of their recipes are never decoded. ``docs/formats/derivation.md``
describes the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from blake3 import blake3

from nexis_eval.graph.builders import BUILDERS, Builder, Call
from nexis_eval.graph.derivation import Derivation, Input, Use, label_of
from nexis_eval.graph.strings import Reader, join, split
from nexis_store.digest import DerivationId

DOMAIN = b"nexis derivation\x02"
"""Version 2: closures instead of lists of layers, and calls of rules instead of rendered scripts."""


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
    return join(
        [
            derivation.builder.kind,
            derivation.name,
            derivation.version,
            derivation.platform,
            derivation.build_platform,
            str(len(derivation.outputs)),
            *derivation.outputs,
            str(len(derivation.inputs)),
            *[text for each in derivation.inputs for text in (each.use, each.at, each.output, each.subdir)],
            str(len(derivation.runtime)),
            " ".join([str(derivation.runtime.index(each)) for each in derivation.propagates]),
            *derivation.builder.strings(),
        ]
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


def notes_of(builder: Builder) -> bytes:
    """What is no part of any identity, encoded; mostly nothing."""
    notes = builder.notes()
    return join(notes) if notes else b""


def decode(recipe: bytes, notes: bytes, ids: Sequence[DerivationId], call: Call) -> Derivation:
    """The derivation of a recipe; ``call`` is asked for the script where a rule makes it."""
    reader = Reader(split(recipe))
    kind, name, version, platform, build_platform = (reader.take() for _ in range(5))
    outputs = reader.list()
    inputs = tuple(
        Input(each, Use(reader.take()), reader.take(), reader.take(), reader.take())
        for each, _ in zip(ids, range(int(reader.take())), strict=False)
    )
    runtime = tuple(ids[len(inputs) : len(inputs) + int(reader.take())])
    propagates = tuple(runtime[int(index)] for index in reader.take().split())
    builder = BUILDERS[kind].decode(reader, split(notes) if notes else [], call)
    return Derivation(name, builder, platform, build_platform, version, inputs, outputs, runtime, propagates)
