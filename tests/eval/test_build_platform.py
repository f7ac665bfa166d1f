"""The machine that builds run on: from the configuration to every recipe, and to who runs them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from nexis_eval.build_rules.reading import load_rules
from nexis_eval.config.errors import ConfigErrors
from nexis_eval.config.load import load
from nexis_eval.engine import open_engine
from nexis_eval.execute.base import NoExecutorError
from nexis_eval.execute.local import this_machine
from nexis_eval.graph.dag import DerivationGraph, GraphBuilder
from nexis_eval.instantiate import instantiate
from nexis_eval.lock.model import parse_lock
from nexis_eval.mirrors import Mirrors
from nexis_eval.platforms import PLATFORMS
from nexis_eval.realise import Options
from nexis_eval.schedule.plan import make_plan
from nexis_eval.toolchain import load_toolchain
from nexis_store.store import Store
from tests.eval.graphs import leaf, script

TOP = Path(__file__).parents[2]
SYSTEM = TOP / "examples/minimal"


def graph(platform: str = "", pinned_for: str = "x86_64", arch: str = "x86_64") -> DerivationGraph:
    overrides = [f'build.platform="{platform}"'] if platform else []
    config = load(SYSTEM / "system.toml", arch=arch, overrides=overrides)
    lock = parse_lock((SYSTEM / "nexis.lock").read_text())
    toolchain = replace(load_toolchain(TOP / "rules"), platform=pinned_for)
    return instantiate(config, lock, load_rules(TOP / "rules/build"), toolchain)


@pytest.mark.parametrize("arch", ["aarch64", "riscv64"])
def test_every_recipe_runs_on_the_platform_of_the_configuration(arch: str) -> None:
    usual, other = graph(arch=arch), graph("aarch64", "aarch64", arch)
    assert {item.build_platform for item in usual.derivations.values()} == {"x86_64"}
    assert {item.build_platform for item in other.derivations.values()} == {"aarch64"}
    assert usual.derivations.keys() == graph("x86_64", arch=arch).derivations.keys()
    assert usual.derivations.keys().isdisjoint(other.derivations)


def test_tool_sets_for_another_platform_are_an_error_with_a_cure() -> None:
    with pytest.raises(ConfigErrors) as caught:
        graph("riscv64")
    for error in caught.value.errors:
        assert "is pinned for builds on x86_64, and [build] platform is 'riscv64'" in error.message
        assert 'write platform = "x86_64" in [build]' in (error.hint or "")


def test_a_build_for_which_there_is_no_machine_does_not_begin(tmp_path: Path) -> None:
    other = next(arch for arch in PLATFORMS if arch != this_machine())
    builder = GraphBuilder(other)
    root = builder.add(script("tool", [builder.add(leaf("base"))]))
    finished = builder.finish()
    with Store.open(tmp_path / "store") as store:

        async def work() -> None:
            plan = make_plan(finished, [root], store.realised, store.realisation)
            async with open_engine(store, Mirrors({}), Options(jobs=1)) as engine:
                outcome = await engine.realise(finished, [root], plan)
                assert outcome.exit_code == NoExecutorError.exit_code
                assert outcome.failed == ("tool",)
                await engine.realise(finished, [root], make_plan(finished, [root], store.realised, store.realisation))

        # The first time it is not certain that it has to run; what it is made from needs no executor.
        with pytest.raises(NoExecutorError, match=f"tool is built on {other}, and this machine runs") as caught:
            asyncio.run(work())
        assert f"set platform in [build] to one of: {this_machine()}" in (caught.value.hint or "")
