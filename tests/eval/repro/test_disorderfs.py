"""Directories shown through disorderfs: what the preload library cannot reach notices, and nothing else changes."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nexis_eval.repro.check import CheckOptions, check
from nexis_eval.repro.rebuild import Laboratory
from nexis_eval.repro.report import Status
from nexis_eval.repro.vary import Setup
from nexis_eval.sandbox.errors import SandboxError
from tests.eval.repro.packages import Bench

ORDER = frozenset({"order"})
LISTING = r"""
mkdir d; for each in c a d b; do : > d/$each; done
cat > list.c <<'C'
#include <dirent.h>
#include <stdio.h>
int main(void)
{
	DIR *stream = opendir("d");
	for (struct dirent *entry; (entry = readdir(stream));)
		if (entry->d_name[0] != '.')
			puts(entry->d_name);
	return 0;
}
C
gcc -static -o list list.c
./list > /out/order
"""
LIFE = r"""
echo one > a; ln a b; echo two >> b; stat -c %h a; cat a
mkfifo f; mkdir -m 000 closed; ln -s a link; readlink link; mv a c; cat link 2>/dev/null || echo gone
mkdir -p deep/er; touch -d @5 deep; stat -c '%Y %a %U' deep; umask; id -u; test ! -w /out/../usr && echo guarded
truncate -s 1M sparse; chmod 640 sparse; stat -c '%s %a' sparse; cp -a deep /out/; exec 5<>b; rm b; cat <&5
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    program = shutil.which("disorderfs")
    if program is None or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("needs disorderfs and /dev/fuse")
    made = Bench(tmp_path_factory.mktemp("bench"))
    made.tools = replace(made.tools, disorderfs=Path(program))
    return made


async def outputs(room: Laboratory, bench: Bench, script: str, *setups: Setup) -> list[str]:
    found = []
    for setup in setups:
        built = await room.build(bench.recipe("listing", script), setup)
        assert built.ok, built.log_tail
        root = built.trees["out"].root
        assert root is not None
        found.append((root / "order").read_text())
    return found


def test_static_programs_notice(bench: Bench) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")

    async def twice(room: Laboratory) -> list[str]:
        return await outputs(room, bench, LISTING, Setup(), Setup(ORDER))

    natural, reversed_ = bench.run(twice)
    assert sorted(natural.split()) == ["a", "b", "c", "d"]
    assert reversed_ == "d\nc\nb\na\n"
    before, after = bench.run(twice, disorderfs=None)
    assert before == after, "the preload library cannot reach it"


def test_the_rest_of_a_build_goes_on_as_usual(bench: Bench) -> None:
    async def twice(room: Laboratory) -> list[str]:
        script = f"{{ {LIFE} }} > /tmp/seen 2>&1; cp /tmp/seen /out/order\n"
        return await outputs(room, bench, script, Setup(), Setup(ORDER))

    natural, behind = bench.run(twice)
    assert natural == behind
    assert natural.splitlines() == [
        "2", "one", "two", "a", "gone", "5 755 build", "0022", "1000", "guarded", "1048576 640", "one", "two",
    ]  # fmt: skip


def test_nothing_of_it_is_left(bench: Bench) -> None:
    bench.run(lambda room: check(room, bench.recipe("tidy", ": > /out/x\n"), "x86_64", CheckOptions(vary=ORDER)))
    assert not list((bench.path / "work").iterdir())
    assert str(bench.path) not in Path("/proc/self/mounts").read_text()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert str(bench.path).encode() not in process.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue


def test_where_it_does_not_start_the_check_says_so(bench: Bench) -> None:
    async def work(room: Laboratory) -> None:
        await room.build(bench.recipe("any", ": > /out/x\n"), Setup(ORDER))

    with pytest.raises(SandboxError, match="mounting disorderfs"):
        bench.run(work, disorderfs=Path("/bin/false"))


@pytest.mark.slow
def test_an_unordered_listing_by_a_static_program_is_traced(bench: Bench) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    options = CheckOptions(bisect=True, vary=ORDER | {"time", "hostname"})
    subject = bench.run(lambda room: check(room, bench.recipe("static", LISTING), "x86_64", options))
    assert subject.status is Status.DIFFERS
    (difference,) = subject.differences
    assert [(str(each.cause), each.culprits) for each in difference.verdicts()] == [("order", ("order",))]
