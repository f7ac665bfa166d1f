"""The canonical encoding: nothing is lost in it, and no two derivations share it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.graph.derivation import (
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
    Stored,
    Union,
    Unpack,
    Use,
)
from nexis_eval.graph.encoding import decode, derivation_id, ids_of, join, notes_of, recipe_of, split
from nexis_eval.graph.json import derivation_from_json, derivation_to_json
from nexis_store.digest import DerivationId, TreeDigest

# NUL and 0x01 have a meaning of their own in the encoding: let them turn up often.
TEXTS = st.text(st.sampled_from("\0\1\2ab=é"), max_size=5)
WORDS = st.sampled_from(["a", "b", "a b", ""])
IDS = st.sampled_from([DerivationId.of(bytes([each])) for each in range(4)])
TREES = st.sampled_from([TreeDigest.of(bytes([each])) for each in range(3)])
MODES = st.none() | st.integers(0, 0o7777)
FILE_NAMES = st.sampled_from(["x", "y.tar.gz", "größe"])
COMMITS = st.sampled_from(["0" * 40, "1" * 40, "0" * 64])
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), max_size=2).map(tuple)


def several(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(strategy, max_size=3).map(tuple)


def called(arguments: tuple[str, ...]) -> tuple[str, tuple[tuple[str, str], ...]]:
    return f"called with {arguments}", (("A", "b"),)


SCRIPTS = st.builds(Script, TEXTS, PAIRS, st.booleans(), several(st.builds(Attribute, TEXTS, TEXTS, TEXTS, MODES)))
CALLS = st.lists(TEXTS, min_size=1, max_size=3).map(lambda each: Script(*called(tuple(each)), call=tuple(each)))
BUILDERS: st.SearchStrategy[Builder] = st.one_of(
    st.builds(Fetch, several(TEXTS), TEXTS, TEXTS, FILE_NAMES, st.none() | st.integers(0, 9), st.none() | TREES),
    st.builds(FetchGit, st.lists(TEXTS, min_size=1, max_size=3).map(tuple), COMMITS, TREES, st.booleans()),
    st.builds(Local, TEXTS, TREES),
    st.builds(Files, several(st.builds(Entry, TEXTS, st.none() | TEXTS, st.none() | TEXTS, MODES, TEXTS, TEXTS))),
    st.builds(Unpack, st.sampled_from(["deb", "tar"]), st.integers(0, 2), several(TEXTS), TEXTS),
    st.builds(Union, PAIRS, st.booleans(), several(TEXTS)),
    SCRIPTS,
    CALLS,
    st.just(Choice()),
    st.builds(Stored, TREES),
)


@st.composite
def derivations(draw: st.DrawFn) -> Derivation:
    runtime = draw(st.lists(IDS, max_size=3, unique=True))
    return Derivation(
        draw(TEXTS),
        draw(BUILDERS),
        draw(WORDS),
        draw(WORDS),
        draw(TEXTS),
        draw(several(st.builds(Input, IDS, st.sampled_from(Use), WORDS, TEXTS, WORDS))),  # type: ignore[arg-type]
        draw(st.lists(TEXTS, min_size=1, max_size=2).map(tuple)),
        tuple(runtime),
        tuple(draw(st.lists(st.sampled_from(runtime), max_size=2, unique=True))) if runtime else (),
    )


@given(derivations())
def test_what_was_encoded_can_be_read_back(derivation: Derivation) -> None:
    ids = ids_of(derivation)
    assert decode(recipe_of(derivation), notes_of(derivation.builder), ids, called) == derivation


@given(derivations())
def test_json_can_be_read_back(derivation: Derivation) -> None:
    assert derivation_from_json(json.loads(json.dumps(derivation_to_json(derivation)))) == derivation


def without_notes(derivation: Derivation) -> Derivation:
    """The derivation with what is no part of its identity left out."""
    match derivation.builder:
        case Fetch() as fetch:
            return replace(derivation, builder=replace(fetch, size=None, tree=None))
        case Local() as local:
            return replace(derivation, builder=replace(local, path=""))
    return derivation


@given(derivations(), derivations())
def test_ids_are_equal_exactly_if_the_derivations_are(first: Derivation, second: Derivation) -> None:
    assert (derivation_id(first) == derivation_id(second)) == (without_notes(first) == without_notes(second))


@given(derivations(), st.data())
def test_an_id_changes_with_every_derivation_that_is_named(derivation: Derivation, data: st.DataObject) -> None:
    other = DerivationId.of(b"another")
    if derivation.inputs:
        index = data.draw(st.integers(0, len(derivation.inputs) - 1))
        inputs = list(derivation.inputs)
        inputs[index] = replace(inputs[index], derivation=other)
        assert derivation_id(replace(derivation, inputs=tuple(inputs))) != derivation_id(derivation)
    altered = replace(derivation, runtime=(*derivation.runtime, other))
    assert derivation_id(altered) != derivation_id(derivation)
    assert derivation_id(replace(altered, propagates=(other,))) != derivation_id(altered)


@given(several(TEXTS), several(TEXTS))
def test_no_two_lists_of_strings_share_an_encoding(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    if first:
        assert split(join(first)) == list(first)
    if first and second:
        assert (join(first) == join(second)) == (first == second)


def test_only_what_is_needed_at_run_time_can_be_propagated() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        recipe_of(Derivation("x", Choice(), "x86_64", propagates=(DerivationId.of(b"other"),)))
