"""Packages of several outputs: what goes where, who sees what."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from nexis_eval.build_rules.reading import load_rules
from nexis_eval.config.load import load
from nexis_eval.engine import open_engine
from nexis_eval.instantiate import instantiate
from nexis_eval.lock.model import Lock
from nexis_eval.lock.resolve import resolve
from nexis_eval.mirrors import Mirrors
from nexis_eval.realise import Options
from nexis_eval.schedule.plan import make_plan
from nexis_eval.ui.plain import PlainView
from nexis_store.store import Store
from tests.eval.roots import RULE_TOOLS, make_toolchain
from tests.eval.sandbox.rooms import require_sandbox

RULES = load_rules(Path(__file__).resolve().parents[2] / "rules" / "build")
SYSTEM = """\
[[packages]]
name = "lib"
version = "1"
source = "file://{top}/lib.tar"
build_system = "script"
outputs = ["debug", "dev", "doc"]
phases.install = '''
mkdir -p "$OUT"/usr/include "$OUT"/usr/lib/pkgconfig "$OUT"/usr/share/doc/lib "$OUT"/usr/share/man/man3
echo header >"$OUT"/usr/include/lib.h
echo pc >"$OUT"/usr/lib/pkgconfig/lib.pc
echo doc >"$OUT"/usr/share/doc/lib/README
echo page >"$OUT"/usr/share/man/man3/lib.3
cp libx.so "$OUT"/usr/lib/libx.so.1
ln -s libx.so.1 "$OUT"/usr/lib/libx.so
'''

[[packages]]
name = "tool"
version = "1"
source = "file://{top}/lib.tar"
build_system = "script"
dependencies = ["lib"]
phases.install = '''
mkdir -p "$OUT"/usr/share/seen
cp /usr/include/lib.h /usr/lib/libx.so "$OUT"/usr/share/seen/
[ ! -e /usr/share/doc/lib ] || echo doc >"$OUT"/usr/share/seen/doc
[ ! -e /usr/lib/debug ] || echo debug >"$OUT"/usr/share/seen/debug
'''
"""


def files(tree: Path) -> set[str]:
    return {str(each.relative_to(tree)) for each in tree.rglob("*") if not each.is_dir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, Path]]:
    require_sandbox()
    for tool in ("gcc", "objcopy", "readelf", "strip", "tail", *RULE_TOOLS):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    top = tmp_path_factory.mktemp("outputs")
    (top / "lib").mkdir()
    command = ["gcc", "-g", "-shared", "-nostdlib", "-Wl,--build-id", "-x", "c", "-", "-o", top / "lib/libx.so"]
    subprocess.run(command, input=b"int x(void) { return 1; }", check=True)
    subprocess.run(["tar", "-C", top, "-cf", top / "lib.tar", "lib"], check=True)
    (top / "system.toml").write_text(SYSTEM.format(top=top))
    config = load(top / "system.toml")
    lock = asyncio.run(resolve([config], Lock(), mirrors=Mirrors({}))).lock
    tools = (*RULE_TOOLS, "objcopy", "readelf", "strip")
    graph = instantiate(config, lock, RULES, make_toolchain(top / "tools", ("core", "c"), tools))
    with Store.open(top / "store") as store:

        async def work() -> None:
            roots = [graph.targets.packages["lib"], graph.targets.packages["tool"]]
            plan = make_plan(graph, roots, store.realised, store.realisation)
            async with open_engine(store, Mirrors({}), Options(), PlainView(log)) as engine:
                outcome = await engine.realise(graph, roots, plan)
            assert outcome.failed == (), (top / "log").read_text()

        with (top / "log").open("w") as log:
            asyncio.run(work())
        result = {}
        for name, each in graph.targets.packages.items():
            known = store.realised(each)
            if known is not None:
                result[name] = {output: store.path(digest) for output, digest in known.outputs.items()}
        lib = store.realised(graph.targets.packages["lib"])
        tool = store.realised(graph.targets.packages["tool"])
        assert lib is not None and tool is not None
        assert store.references(tool.outputs["out"]) == (lib.outputs["out"],), "whoever runs it needs no headers"
        return result


def test_what_is_installed_is_split_off(built: Mapping[str, Mapping[str, Path]]) -> None:
    lib = built["lib"]
    assert list(lib) == ["out", "debug", "dev", "doc"]
    assert files(lib["out"]) == {"usr/lib/libx.so.1"}
    assert files(lib["dev"]) == {"usr/include/lib.h", "usr/lib/pkgconfig/lib.pc", "usr/lib/libx.so"}
    assert files(lib["doc"]) == {"usr/share/doc/lib/README", "usr/share/man/man3/lib.3"}


def test_debugging_information_is_found_by_build_id(built: Mapping[str, Mapping[str, Path]]) -> None:
    library = built["lib"]["out"] / "usr/lib/libx.so.1"
    notes = subprocess.run(["readelf", "-n", library], capture_output=True, text=True, check=True).stdout
    build_id = notes.partition("Build ID: ")[2].split()[0]
    debug = built["lib"]["debug"] / "usr/lib/debug/.build-id" / build_id[:2] / f"{build_id[2:]}.debug"
    assert ".debug_info" in subprocess.run(["readelf", "-S", "-W", debug], capture_output=True, text=True).stdout
    assert ".debug_info" not in subprocess.run(["readelf", "-S", "-W", library], capture_output=True, text=True).stdout


def test_who_builds_with_it_sees_headers_and_no_more(built: Mapping[str, Mapping[str, Path]]) -> None:
    assert files(built["tool"]["out"]) == {"usr/share/seen/lib.h", "usr/share/seen/libx.so"}
