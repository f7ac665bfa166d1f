"""The process that is forked for every build stays small."""

from __future__ import annotations

import subprocess

from nexis_eval.sandbox.isolated import command

FORBIDDEN = {
    "asyncio",
    "collections",
    "dataclasses",
    "enum",
    "json",
    "pathlib",
    "re",
    "socket",
    "subprocess",
    "threading",
}
FORBIDDEN |= {"nexis_eval.sandbox.spec", "nexis_eval.sandbox.wire", "nexis_store.errors", "typing"}


def test_it_imports_next_to_nothing() -> None:
    line = command("nexis_eval.sandbox.spawner")
    line[line.index("-c") + 1] = line[line.index("-c") + 1].replace("main(*sys.argv[2:])", "print(*sys.modules)")
    loaded = set(subprocess.run(line, capture_output=True, text=True, check=True, env={}).stdout.split())
    assert "nexis_eval.sandbox.inside" in loaded
    assert not loaded & FORBIDDEN
