"""The examples evaluate, for every architecture, with nothing but what is committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexis_eval.build_rules.reading import load_rules
from nexis_eval.config.load import load
from nexis_eval.config.model import Config
from nexis_eval.instantiate import instantiate
from nexis_eval.lock.model import load_lock
from nexis_eval.places import RULES
from nexis_eval.platforms import PLATFORMS
from nexis_eval.toolchain import load_toolchain

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("arch", PLATFORMS)
@pytest.mark.parametrize("example", ["minimal", "packages"])
def test_an_example_is_complete(example: str, arch: str) -> None:
    config = load(EXAMPLES / example / "system.toml", arch=arch)
    graph = instantiate(
        config, load_lock(EXAMPLES / example / "nexis.lock"), load_rules(RULES / "build"), load_toolchain(RULES)
    )
    assert set(config.packages) <= set(graph.targets.by_name())


def rules_used(config: Config) -> set[str]:
    return {each.build_system or "make" for each in config.packages.values() if each.source}


def test_enough_is_built_from_source_by_enough_rules() -> None:
    for arch in PLATFORMS:
        config = load(EXAMPLES / "packages" / "system.toml", arch=arch)
        assert len([each for each in config.packages.values() if each.source]) >= 15
        assert len(rules_used(config)) >= 6
    every = {name for name, rule in load_rules(RULES / "build").items() if not rule.abstract}
    native = load(EXAMPLES / "packages" / "system.toml", arch="x86_64")
    assert every - rules_used(native) == {"deb", "kernel", "prebuilt"}
