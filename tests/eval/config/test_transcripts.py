"""The transcripts in ``docs/commands`` are what the commands print.

A block after ``<!-- transcript in DIRECTORY -->`` is run by a shell, line by line, in a copy of that directory and with
a store of its own. ``<!-- transcript in DIRECTORY, once built -->``: that store remembers a build of the system there,
and has the logs of ``tests/golden/logs``, which builds of these packages wrote.
"""

from __future__ import annotations

import re
import shutil
from argparse import Namespace
from pathlib import Path

import pytest

from nexis_eval.cli.evaluation import evaluate
from nexis_eval.cli.main import COMMANDS
from nexis_eval.record import Record, keep
from nexis_store.digest import BuildKey
from nexis_store.realisation import Realisation
from nexis_store.store import Store
from tests.transcripts import commands_of, transcript

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    page for page in (ROOT / "docs/commands").glob("*.md") if "<!-- transcript in " in page.read_text(encoding="utf-8")
)
_BLOCK = re.compile(
    r"(<!-- transcript in ([^\s,]+)(, once built)? -->\n```console\n)(.*?)(?=^```$)", re.DOTALL | re.MULTILINE
)


def store_of(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}-store")


def remember(directory: Path) -> None:
    """Let the store know a build of the system, without building anything."""
    args = Namespace(file=directory / "system.toml", arch="x86_64", profile=[], overrides=[], locked=True)
    evaluation = evaluate(args)
    with Store.open(store_of(directory)) as store:
        keep(store, Record(evaluation.graph, {}), evaluation.summary.system, evaluation.summary.arch)
        for log in (ROOT / "tests/golden/logs").glob("*.txt"):
            each = evaluation.graph.targets.packages[log.stem]
            key = BuildKey.of(each)
            made = directory.with_name(f"{directory.name}-{log.stem}")
            made.mkdir()
            label = evaluation.graph.derivations[each].label
            store.record(Realisation(key, each, label, {"out": store.add_directory(made, label).digest}))
            store.put_log(key, log.read_bytes())


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_transcripts(page: Path, tmp_path: Path, accept: bool) -> None:
    text = page.read_text()

    def run(match: re.Match[str]) -> str:
        directory = tmp_path / f"at{match.start()}"
        shutil.copytree(ROOT / match[2], directory)
        if match[3]:
            remember(directory)
        return match[1] + transcript(commands_of(match[4]), directory, store_of(directory))

    found = _BLOCK.sub(run, text)
    if accept:
        page.write_text(found)
    assert page.read_text() == found


def test_every_command_has_a_page() -> None:
    assert {name for name in COMMANDS if not (ROOT / f"docs/commands/{name}.md").exists()} == set()
