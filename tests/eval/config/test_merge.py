"""Merging: the same result however the files and keys are ordered and grouped, where that is promised."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from nexis_eval.config.errors import ConfigErrors
from nexis_eval.config.kinds import Merge
from nexis_eval.config.load import load
from nexis_eval.config.merge import decide
from nexis_eval.config.model import Config
from nexis_eval.config.origin import Problem, Setter, Source
from nexis_eval.config.reference import toml_key, toml_text

SOURCE = Source(Path("/a"), "a")
RANKS = st.integers(0, 3)


def setters(values: list[tuple[int, object]]) -> list[Setter]:
    return [Setter(rank, SOURCE, (), value) for rank, value in values]


def decided(values: list[tuple[int, object]], merge: Merge) -> tuple[object, bool]:
    problems: list[Problem] = []
    return decide(setters(values), merge, problems.append, "key"), bool(problems)


@given(st.lists(st.tuples(RANKS, st.integers(0, 3)), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_scalars_the_strongest_counts_in_any_order(values: list[tuple[int, object]], random: object) -> None:
    result, conflict = decided(values, Merge.SAME)
    top = max(rank for rank, _ in values)
    strongest = {value for rank, value in values if rank == top}
    assert conflict == (len(strongest) > 1)
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again, conflict_again = decided(shuffled, Merge.SAME)
    assert conflict_again == conflict
    if not conflict:
        assert result == again


LISTS = st.lists(st.integers(0, 5), max_size=4, unique=True).map(tuple)


@given(st.lists(LISTS, min_size=1, max_size=5), st.integers(0, 5))
def test_joining_lists_is_associative(lists: list[tuple[int, ...]], split: int) -> None:
    whole, _ = decided([(1, each) for each in lists], Merge.JOIN)
    first, rest = lists[:split], lists[split:]
    grouped = [decided([(1, each) for each in part], Merge.JOIN)[0] for part in (first, rest) if part]
    assert decided([(1, each) for each in grouped], Merge.JOIN)[0] == whole


@given(st.lists(st.tuples(RANKS, LISTS), min_size=1, max_size=5))
def test_a_stronger_list_replaces_weaker_ones(values: list[tuple[int, object]]) -> None:
    top = max(rank for rank, _ in values)
    result, _ = decided(list(values), Merge.JOIN)
    assert result == decided([each for each in values if each[0] == top], Merge.JOIN)[0]


TABLES = st.recursive(
    st.integers(0, 1), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
).filter(lambda value: isinstance(value, dict))


@given(st.lists(st.tuples(RANKS, TABLES), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_tables_merge_alike_in_any_order(values: list[tuple[int, object]], random: object) -> None:
    result, conflict = decided(list(values), Merge.KEYS)
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again, conflict_again = decided(shuffled, Merge.KEYS)
    assert conflict == conflict_again
    if not conflict:
        assert result == again


@given(st.lists(TABLES, min_size=1, max_size=5), st.integers(0, 5))
def test_merging_tables_is_associative(tables: list[object], split: int) -> None:
    whole, conflict = decided([(1, each) for each in tables], Merge.KEYS)
    parts = [decided([(1, each) for each in part], Merge.KEYS) for part in (tables[:split], tables[split:]) if part]
    grouped, conflict_after = decided([(1, value) for value, _ in parts], Merge.KEYS)
    # Who disagrees within a part is told there; what one part settles is not taken up again.
    assert conflict == (conflict_after or any(each for _, each in parts))
    if not conflict:
        assert grouped == whole


# Whole configurations

HOSTS = st.sampled_from(["a", "b", "c"])
SYSTEM = st.fixed_dictionaries({}, optional={"hostname": HOSTS, "version": st.sampled_from(["1", "2"])})
USER = st.fixed_dictionaries({}, optional={"uid": st.integers(1000, 1001), "shell": st.sampled_from(["/bin/sh", "/b"])})
PART = st.fixed_dictionaries(
    {},
    optional={
        "system": SYSTEM,
        "users": st.dictionaries(st.sampled_from(["ann", "bob"]), USER, max_size=2),
        "packages": st.lists(
            st.fixed_dictionaries({"name": HOSTS}, optional={"version": st.sampled_from(["1", "2"])}), max_size=2
        ),
    },
)
FILE = st.fixed_dictionaries(
    {},
    optional={
        **{key: PART.map(lambda part, key=key: part.get(key)) for key in ("system", "users", "packages")},
        "default": PART,
        "force": PART,
        "arch": st.dictionaries(st.sampled_from(["x86_64", "aarch64"]), PART, max_size=2),
    },
).map(lambda file: {key: value for key, value in file.items() if value is not None})


def write(path: Path, table: dict[str, object], *, backwards: bool) -> None:
    keys = sorted(table, reverse=backwards)
    path.write_text("".join(f"{toml_key(key)} = {_value(table[key], backwards=backwards)}\n" for key in keys))


def _value(value: object, *, backwards: bool) -> str:
    if isinstance(value, dict):
        ordered = {key: value[key] for key in sorted(value, reverse=backwards)}
        return "{" + ", ".join(f"{toml_key(k)} = {_value(v, backwards=backwards)}" for k, v in ordered.items()) + "}"
    if isinstance(value, list):
        each = [_value(item, backwards=backwards) for item in value]
        return f"[{', '.join(each[::-1] if backwards else each)}]"
    return toml_text(value)


def outcome(directory: Path, files: list[dict[str, object]], order: list[int], *, backwards: bool) -> object:
    """The configuration, or the codes of the errors."""
    for index, table in enumerate(files):
        write(directory / f"{index}.toml", table, backwards=backwards)
    paths = ", ".join(f'"{index}.toml"' for index in order)
    (directory / "system.toml").write_text(f"includes.paths = [{paths}]\n")
    try:
        config = load(directory / "system.toml")
    except ConfigErrors as error:
        return sorted({each.code for each in error.errors})
    return _without_files(config)


def _without_files(config: Config) -> tuple[object, ...]:
    return (config.system, config.users, config.packages, list(config.packages))


@settings(deadline=None, max_examples=60)
@given(st.lists(FILE, min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_the_order_of_files_and_keys_does_not_matter(files: list[dict[str, object]], random: object) -> None:
    order = list(range(len(files)))
    with tempfile.TemporaryDirectory() as name:
        first = outcome(Path(name), files, order, backwards=False)
        random.shuffle(order)  # type: ignore[attr-defined]
        assert outcome(Path(name), files, order, backwards=True) == first
