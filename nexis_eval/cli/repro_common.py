"""What the commands of ``repro`` share: realising steps, the tools of a varied build, printing reports."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from nexis_eval.cli import writing
from nexis_eval.execute.adopt import adopt_cut_off
from nexis_eval.graph.closures import Outputs
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.mirrors import Mirrors
from nexis_eval.places import RULES
from nexis_eval.repro.formats.render import FORMATS, format_of, render
from nexis_eval.repro.record import BuildRecord, RecordError, decode_record
from nexis_eval.repro.report import EXIT_INCOMPARABLE, Report
from nexis_eval.repro.tools import SHIM_FILE, tool_graph
from nexis_eval.repro.vary import Tools
from nexis_eval.schedule.plan import make_plan
from nexis_eval.toolchain import load_toolchain
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError
from nexis_store.store import Store

T = TypeVar("T")

MIN_FREE_BYTES = 2 << 30
"""How much room a file system must have to take a build."""


Run = Callable[[argparse.Namespace], int]


def comparing(run: Run) -> Run:
    """A command whose exit code tells whether two things are the same: whatever keeps it from comparing is code 2.

    The code of the error itself could be taken for a difference, which is 1 like a build that failed.
    """

    @wraps(run)
    def compare(args: argparse.Namespace) -> int:
        try:
            return run(args)
        except NexisError as error:
            vars(error)["exit_code"] = EXIT_INCOMPARABLE
            raise

    return compare


class BuildFirstFailedError(NexisError):
    """What was to be checked could not be built in the first place.

    A check compares with a build that succeeded. Where only some of what is to be checked fails, the rest is checked.
    """

    code = "R0002"
    exit_code = 2

    def __init__(self, failed: Sequence[str]) -> None:
        super().__init__(
            f"{', '.join(failed)} cannot be built, so there is nothing to compare",
            hint="'nexis-eval build' must succeed first",
        )


class ReportError(NexisError):
    """A report or a record cannot be written where it should be.

    This is looked at before anything is built. Directories that are missing are made; name a file in one that you may
    write to.
    """

    code = "R0006"
    exit_code = 2


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """``--format`` and ``--output``."""
    parser.add_argument(
        "--format", choices=tuple(FORMATS), help="how to tell the result (default: by the file's ending, else text)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="write the result there instead of stdout; may be repeated: report.html, report.xml, report.sarif …",
    )


def expect_room_for(files: Iterable[Path | None], directories: Iterable[Path | None] = ()) -> None:
    """Find out before hours of building whether their result can be written; raises ``ReportError``."""
    writing.expect_room_for(files, directories, ReportError)


def deliver(args: argparse.Namespace, report: Report) -> int:
    """Print the report, or write it and print its headline; returns the exit code."""
    if not args.output:
        print(render(report, args.format or "text", colour=sys.stdout.isatty()), end="")
        return report.exit_code
    for path in args.output:
        write(path, render(report, args.format or format_of(path)))
    print(f"{report.headline()}; written to {', '.join(map(str, args.output))}", file=sys.stderr)
    return report.exit_code


def write(path: Path, text: str) -> None:
    """Write a report or a record; raises ``ReportError``."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"{path} cannot be written: {error.strerror}") from error


def read_record(path: Path, name: str) -> BuildRecord:
    """The record in a file; raises ``RecordError``, which calls it ``name``."""
    try:
        return decode_record(path.read_text(encoding="utf-8"), name)
    except OSError as error:
        raise RecordError(f"{name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise RecordError(f"{name} is no record", hint="'nexis-eval repro record' writes records") from None


def realise_steps(
    store: Store, graph: DerivationGraph, roots: Sequence[DerivationId], mirrors: Mirrors, jobs: int
) -> Mapping[DerivationId, Outputs]:
    """Build what is missing of ``roots``; returns the outputs of these and of everything known on the way.

    Raises ``BuildFirstFailedError`` if one fails.
    """
    outputs, failed = realise_what_can_be(store, graph, roots, mirrors, jobs, keep_going=False)
    if failed:
        raise BuildFirstFailedError(failed)
    return outputs


def realise_what_can_be(
    store: Store,
    graph: DerivationGraph,
    roots: Sequence[DerivationId],
    mirrors: Mirrors,
    jobs: int,
    *,
    keep_going: bool = True,
) -> tuple[Mapping[DerivationId, Outputs], tuple[str, ...]]:
    """As ``realise_steps``, but what fails is named in the second value and does not keep the rest from being built."""
    from nexis_eval.engine import open_engine
    from nexis_eval.realise import Options, Outcome
    from nexis_eval.ui.plain import PlainView

    plan = make_plan(graph, roots, store.realised, store.realisation)
    adopt_cut_off(store, graph, plan)
    if not plan.pending:
        return plan.done, ()

    options = Options(jobs=jobs, keep_going=keep_going)

    async def work() -> Outcome:
        with PlainView(sys.stderr) as view:
            async with open_engine(store, mirrors, options, view) as engine:
                return await engine.realise(graph, roots, plan)

    outcome = run_to_the_end(work())
    return outcome.outputs, outcome.failed


def run_to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work``; a SIGTERM ends it as Ctrl-C does, so that no sandbox and no temporary file is left."""

    async def inside() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        return asyncio.run(inside())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def varying_tools(store: Store, mirrors: Mirrors, jobs: int) -> Tools:
    """The preload library, the locale, and a directory on another file system, where there is one with room."""
    tools = tool_graph(load_toolchain(RULES))
    outputs = realise_steps(store, tools.graph, [tools.shim, tools.locale], mirrors, jobs)
    shim, locale = outputs[tools.shim]["out"], outputs[tools.locale]["out"]
    for digest in (shim, locale):
        store.temporary_root(digest)
    return Tools(store.path(shim) / SHIM_FILE, store.path(locale), other_file_system(store.root))


def other_file_system(path: Path) -> Path | None:
    """A directory for temporary files on another device than ``path``'s, writable and with room; or ``None``."""
    here = path.stat().st_dev
    for candidate in ("/dev/shm", os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/var/tmp"):
        place = Path(candidate)
        if not candidate or not place.is_dir() or place.stat().st_dev == here or not os.access(place, os.W_OK):
            continue
        room = os.statvfs(place)
        if room.f_bavail * room.f_frsize >= MIN_FREE_BYTES:
            return place
    return None
