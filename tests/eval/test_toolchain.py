"""The pinned toolchain: its two files agree, and become derivations."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from nexis_eval.graph.dag import GraphBuilder
from nexis_eval.graph.derivation import Fetch, Files, Unpack
from nexis_eval.graph.derivation import Union as UnionOf
from nexis_eval.toolchain import (
    PINS,
    Toolchain,
    ToolchainError,
    Toolset,
    format_pins,
    load_toolchain,
    toolsets,
)

RULES = Path(__file__).parents[2] / "rules"


@pytest.fixture(scope="module")
def toolchain() -> Toolchain:
    return load_toolchain(RULES)


def test_every_set_is_pinned_and_nothing_else(toolchain: Toolchain) -> None:
    assert toolchain.pins.keys() == toolchain.sets.keys()


def test_what_a_set_asks_for_it_or_what_it_extends_holds(toolchain: Toolchain) -> None:
    for name, toolset in toolchain.sets.items():
        held = {deb.name for each in toolchain.with_extended([name]) for deb in toolchain.pins[each]}
        assert set(toolset.packages) <= held, name


def test_a_package_is_in_one_layer_only(toolchain: Toolchain) -> None:
    for name in toolchain.sets:
        inherited = {
            deb.name for each in toolchain.with_extended(toolchain.set(name).extends) for deb in toolchain.pins[each]
        }
        assert inherited.isdisjoint(deb.name for deb in toolchain.pins[name]), name


def test_pins_name_the_main_archive_by_mirror_set(toolchain: Toolchain) -> None:
    """Files vanish from the security archive; and no host may be named."""
    for debs in toolchain.pins.values():
        for deb in debs:
            assert all(url.startswith("mirror://debian/pool/main/") for url in deb.urls), deb
            assert re.fullmatch("[0-9a-f]{64}", deb.sha256)
            assert deb.size > 0


def test_the_lock_is_written_as_it_is_read(toolchain: Toolchain) -> None:
    assert format_pins(toolchain.pins, toolchain.releases) == (RULES / PINS).read_text()


def test_the_core_set_is_a_usable_root(toolchain: Toolchain) -> None:
    core = toolchain.set("core")
    assert {"bin", "sbin", "lib", "lib64"} <= core.links.keys()
    assert {"proc", "dev", "tmp", "build", "out", "in"} <= set(core.directories)
    assert core.files["etc/passwd"].startswith("root:x:0:0:")
    assert toolchain.set("image-riscv64").links == core.links


def test_layers_come_topmost_first_and_once(toolchain: Toolchain) -> None:
    assert toolchain.with_extended(["meson", "cmake"]) == ["meson", "cmake", "python", "cxx", "c", "core"]
    assert toolchain.with_extended(["core", "c"]) == ["c", "core"]


def test_a_set_becomes_derivations(toolchain: Toolchain) -> None:
    builder = GraphBuilder()
    c, core = toolsets(builder, toolchain, ["c"])
    assert toolsets(builder, toolchain, ["c", "core"]) == (c, core)
    graph = builder.finish()
    assert (graph.targets.toolsets["c"], graph.targets.toolsets["core"]) == (c, core)
    assert isinstance(graph.derivations[core].builder, UnionOf)
    kinds = [type(graph.derivations[each.derivation].builder) for each in graph.derivations[core].inputs]
    assert kinds.count(Files) == 1
    assert kinds.count(Unpack) == len(toolchain.pins["core"]) == len(kinds) - 1
    fetches = [each.builder for each in graph.derivations.values() if isinstance(each.builder, Fetch)]
    assert len(fetches) == len(toolchain.pins["core"]) + len(toolchain.pins["c"])


def test_an_unknown_set_names_those_that_there_are(toolchain: Toolchain) -> None:
    with pytest.raises(ToolchainError) as caught:
        toolsets(GraphBuilder(), toolchain, ["fortran"])
    assert "cmake" in (caught.value.hint or "")


def test_a_set_without_pins_says_how_to_make_them() -> None:
    bare = Toolchain({"x": Toolset("x", "", "bookworm", ("a",))}, {})
    with pytest.raises(ToolchainError) as caught:
        toolsets(GraphBuilder(), bare, ["x"])
    assert caught.value.hint == "run 'nexis-eval lock --toolchain'"


def test_damaged_pins_have_a_place(tmp_path: Path) -> None:
    (tmp_path / "toolchain.toml").write_text((RULES / "toolchain.toml").read_text())
    (tmp_path / PINS).write_text('[[toolset]]\nname = "c"\ndebs = ["gcc 1"]\n')
    with pytest.raises(ToolchainError) as caught:
        load_toolchain(tmp_path)
    assert caught.value.place is not None
    assert caught.value.place.file == str(tmp_path / PINS)


@pytest.mark.parametrize("wanted", ["nothing-of-the-kind", "gzip=0"])
def test_pins_that_are_out_of_date_are_told(toolchain: Toolchain, wanted: str) -> None:
    core = toolchain.set("core")
    changed = replace(toolchain, sets={**toolchain.sets, "core": replace(core, packages=(*core.packages, wanted))})
    with pytest.raises(ToolchainError, match=f"out of date: rules/toolchain.toml names '{wanted}'") as caught:
        toolsets(GraphBuilder(), changed, ["c"])
    assert "lock --toolchain" in (caught.value.hint or "")
