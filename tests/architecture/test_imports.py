"""What imports what, and what a command costs to start: the layout is the documentation, so it is tested."""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import nexis_eval
import nexis_store

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("networkx", "httpx", "jinja2", "grpc", "rich", "rocksdict", "asyncio")


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules() -> list[str]:
    return [
        each.name
        for package in (nexis_eval, nexis_store)
        for each in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    ]


def test_each_module_can_be_imported_alone() -> None:
    """As if it were the first one: a module that needs another one imported before it has a cycle in disguise."""
    code = """
import importlib, os, sys
sys.dont_write_bytecode = False
for name in sys.argv[1:]:
    importlib.import_module(name)
# What others made is the same whoever imports it first.
for name in [name for name in sys.modules if name.startswith("nexis_")]:
    del sys.modules[name]
failed = 0
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        try:
            importlib.import_module(name)
        except BaseException as error:
            print(name, repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    failed += os.waitpid(child, 0)[1] != 0
sys.exit(failed > 0)
"""
    run(code, *modules())


def test_package_markers_are_empty() -> None:
    for package in ("nexis_eval", "nexis_store"):
        for marker in (ROOT / package).rglob("__init__.py"):
            assert marker.read_text() == "", marker


def test_version_loads_nothing_heavy() -> None:
    code = """
import sys
from nexis_eval.cli.main import run
run(["--version"])
print(*sys.modules)
"""
    loaded = run(code).split()
    assert not [each for each in HEAVY if each in loaded]


def test_a_build_that_has_nothing_to_do_loads_nothing_heavy(tmp_path: Path) -> None:
    """A literal file of examples/minimal is built for real; the second build is the one that is looked at."""
    code = """
import sys
from nexis_eval.cli.main import run
run(["build", sys.argv[1], sys.argv[2], "--store", sys.argv[3]])
print(*sys.modules)
"""
    system = str(ROOT / "examples/minimal/system.toml")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    listing = "import sys; from nexis_eval.cli.main import run; run(['show-derivation', sys.argv[1], '-r', '--json'])"
    shown = json.loads(run(listing, system))
    motd = next(each for each, item in shown["derivations"].items() if item["name"].startswith("config-file-motd"))
    for _ in range(2):
        command = [sys.executable, "-c", code, system, motd, str(tmp_path / "store")]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stderr
    loaded = done.stdout.split()
    assert not [each for each in HEAVY if each in loaded]


def test_one_helper_finds_what_was_meant() -> None:
    modules = [path for package in ("nexis_eval", "nexis_store") for path in (ROOT / package).rglob("*.py")]
    assert [path.name for path in modules if "get_close_matches" in path.read_text()] == ["suggest.py"]
