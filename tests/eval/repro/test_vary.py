"""Variations: names, conditions, and the search for the smallest set."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.repro.bisect import minimal_set
from nexis_eval.repro.causes import PRIORITY, REFINEMENTS, TRIGGERS
from nexis_eval.repro.vary import (
    NAMES,
    Machine,
    Setup,
    Tools,
    UnknownVariationError,
    clock_shown,
    conditions,
    disorder,
    kernel_2_6,
    parse_names,
)
from nexis_eval.sandbox.spec import Identity

MACHINE = Machine(cpus=4, kernel="6.1.0-50-amd64")
TOOLS = Tools(Path("/shim.so"), Path("/locale"), Path("/dev/shm"))


def test_every_variation_has_a_cause() -> None:
    assert set(TRIGGERS) == set(NAMES)
    assert set(REFINEMENTS) <= set(NAMES)
    assert set(PRIORITY) <= set(NAMES)
    assert all(TRIGGERS[name] in causes for name, causes in REFINEMENTS.items())


def test_names() -> None:
    assert parse_names(None) == set(NAMES)
    assert parse_names("time, cpus") == {"time", "cpus"}
    assert parse_names("-kernel,-user") == set(NAMES) - {"kernel", "user"}
    with pytest.raises(UnknownVariationError, match="did you mean 'locale'"):
        parse_names("locales")


def test_natural_changes_nothing() -> None:
    given_ = conditions(Setup(), Identity(), 4, TOOLS, MACHINE, 1000)
    assert given_.identity == Identity()
    assert (given_.jobs, given_.cpus, given_.run_time, given_.settings) == (4, None, {}, ())


def test_pinned_leaves_nothing_to_chance() -> None:
    given_ = conditions(Setup(pinned=True, frozen_at=77), Identity(), 4, TOOLS, MACHINE, 1000)
    assert given_.settings == ("frozen 77", "started 1000", "order sorted", "seed 1", "fill 0")
    assert (given_.jobs, given_.cpus) == (1, 1)
    assert clock_shown(given_, 5.0, 6.0) == (77.0, 77.0)


def test_all_varied() -> None:
    given_ = conditions(Setup(frozenset(NAMES)), Identity(), 4, TOOLS, MACHINE, 1000)
    natural = Identity()
    for name in ("hostname", "user", "uid", "gid", "umask", "home", "locale", "timezone", "aslr", "kernel_2_6"):
        assert getattr(given_.identity, name) != getattr(natural, name), name
    assert (given_.jobs, given_.cpus) == (1, 1)
    assert given_.run_time["LOCPATH"]
    assert given_.surroundings.noise in given_.run_time.values()
    assert given_.deep_directory and given_.on_other_file_system
    again = conditions(Setup(frozenset(NAMES), round=2), Identity(), 4, TOOLS, MACHINE, 1000)
    assert (again.jobs, again.cpus) == (5, None)
    assert again.settings != given_.settings


def test_root_stays_root() -> None:
    root = Identity(user="root", uid=0, gid=0)
    assert conditions(Setup(frozenset({"user"})), root, 1, TOOLS, MACHINE, 0).identity == root


def test_without_tools_the_rest_is_varied() -> None:
    possible = Tools().possible(NAMES)
    assert possible == set(NAMES) - {"time", "order", "memory", "random", "filesystem"}
    given_ = conditions(Setup(frozenset(NAMES)), Identity(), 1, Tools(), MACHINE, 0)
    assert given_.settings == ()
    assert given_.identity.locale == "C"


def test_order_can_be_varied_by_disorderfs_alone() -> None:
    tools = Tools(disorderfs=Path("/usr/bin/disorderfs"))
    assert "order" in tools.possible(NAMES)
    options = [
        disorder(conditions(Setup(frozenset(varied), round=number), Identity(), 1, tools, MACHINE, 0))
        for varied, number in ((NAMES, 1), (NAMES, 2), (("time",), 1))
    ]
    assert options == [("--sort-dirents=yes", "--reverse-dirents=yes"), ("--shuffle-dirents=yes",), ()]


@pytest.mark.parametrize(
    ("release", "shown"), [("6.1.0-50-amd64", "2.6.61-50-amd64"), ("6.18.3", "2.6.78"), ("5.10.0+x", "2.6.70+x")]
)
def test_kernel_release(release: str, shown: str) -> None:
    assert kernel_2_6(release) == shown


@given(st.lists(st.sampled_from(NAMES), min_size=1, unique=True), st.data())
def test_minimal_sets(names: list[str], data: st.DataObject) -> None:
    """Whatever conjunction of variations makes the difference, exactly it is found."""
    guilty = frozenset(data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True)))
    builds = 0

    async def differs(varied: frozenset[str]) -> frozenset[str]:
        nonlocal builds
        builds += 1
        return frozenset({"path"}) if guilty <= varied else frozenset()

    found = asyncio.run(minimal_set(names, frozenset({"path"}), differs))
    assert set(found) == guilty
    if len(guilty) == 1:
        assert builds <= 2 * max(1, len(names).bit_length())
