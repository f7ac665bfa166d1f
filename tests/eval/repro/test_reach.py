"""Each variation reaches the build, by the way that a program would notice it, and changes nothing else."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nexis_eval.repro.rebuild import Laboratory
from nexis_eval.repro.vary import NAMES, VARIATIONS, Setup, Tools
from nexis_eval.sandbox.spec import SandboxSpec
from nexis_store.digest import TreeDigest
from nexis_store.store import Store
from tests.eval.repro.packages import Bench, HostRecipe

FROZEN_AT = 1_900_000_000
PROBE = r"""
cd /tmp; mkdir d out; for each in c a d b; do : > d/$each; done
cat > heap.c <<'C'
#include <stdio.h>
#include <stdlib.h>
int main(void) { volatile unsigned char *p = malloc(64); printf("%02x\n", p[40]); return 0; }
C
gcc -o heap heap.c
date +%s > out/time
date -d @0 +%H:%M%Z > out/timezone
awk '$5 == "/build" { print $4 }' /proc/self/mountinfo | sed 's/[0-9a-z_]*[/]b[/]build$//' > out/path
echo "$HOME" > out/home
uname -n > out/hostname
LC_ALL=C id > out/user
umask > out/umask
printf 't\nz\n' | sort > out/locale
echo "$(nproc) $NEXIS_JOBS" > out/cpus
ls -U d > out/order
uname -r > out/kernel
stat -f -c %T /build > out/filesystem
env | grep -c NEXIS_NOISE > out/environment || true
grep -m1 stack /proc/self/maps | cut -d- -f1 > out/aslr
./heap > out/memory
head -c 8 /dev/urandom | od -An -tx1 > out/random
umask 022
cp -r out/. /out/
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("reach"))


@pytest.fixture(scope="module")
def seen(bench: Bench) -> dict[str, dict[str, str]]:
    """What a pinned build sees, under ``pinned``, and what it sees with each one variation."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    setups = {"pinned": Setup(pinned=True, frozen_at=FROZEN_AT)} | {
        name: Setup(frozenset({name}), pinned=True, frozen_at=FROZEN_AT) for name in possible(bench.tools)
    }

    async def all_of_them(room: Laboratory) -> dict[str, dict[str, str]]:
        found = {}
        for name, setup in setups.items():
            built = await room.build(bench.recipe("probe", PROBE), setup)
            assert built.ok, (name, built.log_tail)
            root = built.trees["out"].root
            assert root is not None
            found[name] = {path.name: path.read_text() for path in Path(root).iterdir()}
        return found

    return bench.run(all_of_them)


def possible(tools: Tools) -> list[str]:
    names = tools.possible(NAMES)
    return [name for name in NAMES if name in names and not (name == "locale" and tools.locale is None)]


def test_every_variation_is_tried_here(bench: Bench) -> None:
    absent = set(NAMES) - set(possible(bench.tools))
    assert absent <= {"locale", "filesystem"}, "only what this machine may lack"
    assert len(VARIATIONS) == 17


@pytest.mark.parametrize("name", NAMES)
def test_it_is_noticed_and_nothing_else_is(seen: dict[str, dict[str, str]], name: str) -> None:
    if name not in seen:
        pytest.skip(f"{name} cannot be varied on this machine")
    changed = {each for each, text in seen["pinned"].items() if seen[name][each] != text}
    # A directory on another file system has another path, too; what the engine is reaches no build.
    assert changed == {"filesystem": {name, "path"}, "engine": set()}.get(name, {name})


def test_the_values(seen: dict[str, dict[str, str]]) -> None:
    expected = {
        "hostname": "vary-host",
        "kernel": "2.6.",
        "umask": "0077",
        "user": "uid=54321(varyuser) gid=54320(varyuser)",
        "home": "/tmp",
        "timezone": "13:37NXT",
        "environment": "1",
        "order": "d\nc\nb\na",
    }
    for name, text in expected.items():
        assert seen[name][name].startswith(text), name
    assert seen["pinned"]["time"] == f"{FROZEN_AT}\n"
    assert seen["pinned"]["order"] == "a\nb\nc\nd\n"
    assert seen["pinned"]["memory"] == "00\n"
    assert seen["memory"]["memory"] in ("a5\n", "5b\n")
    if "locale" in seen:
        assert (seen["pinned"]["locale"], seen["locale"]["locale"]) == ("t\nz\n", "z\nt\n")


@dataclass(frozen=True)
class Looking(HostRecipe):
    """Notes what the engine is while it lays out and lands."""

    seen: list[tuple[object, ...]] = field(default_factory=list)

    def look(self) -> None:
        mask = os.umask(0)
        os.umask(mask)
        self.seen.append((mask, os.environ.get("HOME"), time.tzname[0], os.environ.get("LC_ALL")))

    def stage(self, directory: Path, *rest: Any) -> SandboxSpec:
        self.look()
        return super().stage(directory, *rest)

    def land(self, store: Store, directory: Path, *, move: bool) -> Mapping[str, TreeDigest]:
        self.look()
        return super().land(store, directory, move=move)


def test_the_engine_is_another_and_the_result_is_the_same(bench: Bench) -> None:
    recipe = Looking("probe", "mkdir -p /out/größe; echo text >/out/größe/a; chmod 640 /out/größe/a", bench.root)
    before = (os.environ.get("HOME"), time.tzname, os.environ.get("LC_ALL"))

    async def both(room: Laboratory) -> list[dict[str, object]]:
        return [
            {name: tree.manifest.digest for name, tree in (await room.build(recipe, Setup(varied))).trees.items()}
            for varied in (frozenset(), frozenset({"engine"}))
        ]

    usual, varied = bench.run(both)
    assert usual == varied and usual
    assert recipe.seen[2:] == [(0o077, "/nonexistent", "NXT", "et_EE.UTF-8")] * 2
    assert recipe.seen[0] != recipe.seen[2]
    assert (os.environ.get("HOME"), time.tzname, os.environ.get("LC_ALL")) == before
