"""What a person reads while a build runs, and at its end."""

from __future__ import annotations

import io
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from nexis_eval import events
from nexis_eval.cli.build import progress_view
from nexis_eval.schedule.timeline import Timeline
from nexis_eval.ui import text
from nexis_eval.ui.json import JsonView
from nexis_eval.ui.plain import PlainView
from nexis_eval.ui.raw import RawView
from nexis_eval.ui.trace import Trace
from nexis_eval.ui.tty import TerminalView
from nexis_store.digest import DerivationId, TreeDigest

ZLIB, PNG, SITE = (DerivationId.of(name) for name in (b"zlib", b"png", b"site"))
SECOND = 1_000_000_000
FAILURE = events.StepFailed(
    ZLIB,
    "zlib-1.3",
    "zlib-1.3 failed in phase 'build': exit code 2",
    hint="'nexis-eval log zlib' shows the whole log, 'nexis-eval debug zlib' opens a shell where it failed",
    log_tail=("cc -c adler32.c", "adler32.c:7:1: error: unknown type name 'uLong'", "make: *** [adler32.o] Error 1"),
    command="make",
    phase="build",
    duration_ns=3_200_000_000,
    blocked=tuple(f"user-{index}" for index in range(11)),
)


def started(each: DerivationId, label: str, *needs: DerivationId, kind: str = "script") -> events.StepStarted:
    return events.StepStarted(each, label, kind, "x86_64", needs=needs)


def finished(each: DerivationId, label: str, kind: str = "script") -> events.StepFinished:
    return events.StepFinished(each, label, kind, SECOND, {"out": TreeDigest.of(b"x")})


def test_a_failure_in_plain_lines() -> None:
    out = io.StringIO()
    with PlainView(out) as view:
        view(FAILURE)
    assert out.getvalue().splitlines() == [
        "error: zlib-1.3 failed in phase 'build': exit code 2",
        "  the command that failed: make",
        "  last lines of its log (3.2 s into the build):",
        "  | cc -c adler32.c",
        "  > adler32.c:7:1: error: unknown type name 'uLong'",
        "  > make: *** [adler32.o] Error 1",
        "  not built because of this: user-0, user-1, user-2, user-3, user-4, user-5, user-6, user-7 and 3 more",
        "hint: 'nexis-eval log zlib' shows the whole log, 'nexis-eval debug zlib' opens a shell where it failed",
    ]


def test_a_failure_on_a_terminal_highlights_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = io.StringIO()
    with TerminalView(out) as view:
        view(FAILURE)
    lines = out.getvalue().splitlines()
    culprits = [line for line in lines if "\x1b[1;31m" in line]
    assert [re.sub(r"\x1b\[[0-9;?]*\w", "", line).strip() for line in culprits] == [
        "error: zlib-1.3 failed in phase 'build': exit code 2",
        "the command that failed: make",
        "> adler32.c:7:1: error: unknown type name 'uLong'",
        "> make: *** [adler32.o] Error 1",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "main.c:3:10: fatal error: zlib.h: No such file or directory",
        "error[E0308]: mismatched types",
        "/usr/bin/ld: cannot find -lpng",
        "main.c:(.text+0x5): undefined reference to `deflate'",
        "make[2]: *** [Makefile:10: all] Error 2",
        "ninja: build stopped: subcommand failed.",
        "CMake Error at CMakeLists.txt:3 (find_package):",
        "/in/script: line 9: frobnicate: command not found",
        "ModuleNotFoundError: No module named 'x'",
        "configure: error: no acceptable C compiler found",
    ],
)
def test_lines_that_tell_the_reason(line: str) -> None:
    assert text.is_error(line)


@pytest.mark.parametrize("line", ["cc -c error.c", "checking for strerror... yes", "0 errors", "-Werror=format", ""])
def test_lines_that_do_not(line: str) -> None:
    assert not text.is_error(line)


def run_of_three(view: events.Event | object) -> Timeline:
    """zlib (10 s: 2 configure, 8 build), then png (5 s); site (1 s) beside them."""
    now = 0
    assert callable(view)
    timeline = Timeline(view, lambda: now * SECOND)
    timeline(started(ZLIB, "zlib"))
    timeline(events.StepPhase(ZLIB, "configure"))
    timeline(started(SITE, "site", kind="files"))
    now = 1
    timeline(finished(SITE, "site", "files"))
    now = 2
    timeline(events.StepPhase(ZLIB, "build"))
    now = 10
    timeline(finished(ZLIB, "zlib"))
    timeline(started(PNG, "png", ZLIB, SITE))
    timeline(events.StepPhase(PNG, "build"))
    now = 15
    timeline(finished(PNG, "png"))
    return timeline


def test_what_decided_how_long_it_took() -> None:
    timeline = run_of_three(lambda _: None)
    assert timeline.longest_chain() == (("zlib", 10 * SECOND), ("png", 5 * SECOND))
    assert dict(timeline.spent()) == {"build": 13 * SECOND, "configure": 2 * SECOND, "files": SECOND, "start": 0}


def test_the_account_at_the_end() -> None:
    timeline = run_of_three(lambda _: None)
    event = events.Finished(2, 0, 5, 1, 0, 15 * SECOND, timeline.longest_chain(), timeline.spent())
    assert text.account(event) == [
        "2 built, 1 cut off (inputs came out unchanged), 5 already there; 15 s",
        "longest chain: zlib 10 s -> png 5.0 s",
        "time went into: build 13 s, configure 2.0 s, files 1.0 s",
    ]
    several = events.Finished(0, 0, 0, 0, 2, 1, failures=("a-1", "b-2"), blocked=("c-1", "d-1"))
    assert text.account(several)[1:] == ["failed: a-1, b-2", "not built because of these: c-1, d-1"]
    first = events.Finished(0, 0, 0, 0, 1, 1, failures=("a-1",), blocked=("c-1",), left=7)
    assert text.account(first)[1:] == ["7 other steps not done: --keep-going does what can be done after a failure"]
    short = events.Finished(1, 0, 0, 0, 0, 1_000_000, (("a", 1), ("b", 1)), (("build", 1),))
    assert text.account(short) == ["1 built; 0.0 s"]


def test_a_long_chain_shows_what_matters() -> None:
    chain = tuple((f"s{index}", (index + 1) * SECOND) for index in range(40))
    line = text.account(events.Finished(40, 0, 0, 0, 0, 820 * SECOND, chain))[1]
    assert line.endswith("s38 39 s -> s39 40 s; with 34 shorter steps")


def test_a_profile_that_chrome_opens(tmp_path: Path) -> None:
    now = 0
    trace = Trace(lambda _: None, lambda: now)
    trace(started(ZLIB, "zlib"))
    trace(started(SITE, "site"))
    trace(events.StepPhase(ZLIB, "build"))
    now = 2_000_000
    trace(finished(ZLIB, "zlib"))
    trace(started(PNG, "png"))
    now = 3_000_000
    trace(FAILURE.__class__(PNG, "png", "it failed"))
    trace.save(tmp_path / "trace.json")
    found = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    spans = {(each["name"], each["tid"], each["ts"], each["dur"]) for each in found if each["ph"] == "X"}
    assert spans == {
        ("build", 0, 0.0, 2000.0),
        ("zlib", 0, 0.0, 2000.0),
        ("png", 0, 2000.0, 1000.0),
        ("site", 1, 0.0, 3000.0),
    }
    results = {each["name"]: each["args"]["result"] for each in found if "result" in each.get("args", {})}
    assert results == {"zlib": "done", "png": "failed", "site": "interrupted"}
    names = [each["args"]["name"] for each in found if each["name"] == "thread_name"]
    assert names == ["slot 1", "slot 2"]


def test_raw_shows_all_that_builds_print(tmp_path: Path) -> None:
    logs = {each: tmp_path / str(each) for each in (ZLIB, PNG)}
    out = io.StringIO()
    with RawView(out) as view:
        for each, label in ((ZLIB, "zlib"), (PNG, "png")):
            logs[each].write_text("")
            view(started(each, label))
            view(events.StepLog(each, str(logs[each])))
        logs[ZLIB].write_text("cc -c a.c\nhalf a line")
        logs[PNG].write_text("configure\n")
        # A build's directory goes before the step is told to be done.
        logs[ZLIB].unlink()
        view(finished(ZLIB, "zlib"))
        view(FAILURE.__class__(PNG, "png", "it failed"))
    lines = out.getvalue().splitlines()
    assert "zlib> cc -c a.c" in lines
    assert lines.index("zlib> half a line") < next(i for i, line in enumerate(lines) if "build zlib" in line)
    assert "png> configure" in lines


def test_json_lines_hold_every_event() -> None:
    out = io.StringIO()
    with JsonView(out) as view:
        for event in (
            started(PNG, "png", ZLIB),
            events.StepLog(PNG, "/x"),
            FAILURE,
            finished(PNG, "png"),
            events.Finished(1, 0, 0, 0, 0, 5, (("png", 5),)),
        ):
            view(event)
    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [each["event"] for each in told] == ["StepStarted", "StepLog", "StepFailed", "StepFinished", "Finished"]
    assert told[0]["needs"] == [ZLIB.hex()]
    assert told[-1]["longest_chain"] == [["png", 5]]


def test_json_lines_are_documented(accept: bool) -> None:
    """The page has a row for each event: what happened, and the members of its line."""
    page = Path(__file__).parents[3] / "docs/commands/build.md"
    rows = ["| `event` | what happened | members |", "|---|---|---|"]
    for each in get_args(events.Event):
        told = " ".join((each.__doc__ or "").split()).replace("``", "`").replace("|", "/")
        rows.append(f"| `{each.__name__}` | {told} | {', '.join(f'`{item.name}`' for item in fields(each))} |")
    before, mark, rest = page.read_text().partition("<!-- events -->\n")
    after = rest.partition("\n\n")[2]
    wanted = f"{before}{mark}" + "\n".join(rows) + "\n\n" + after
    if accept:
        page.write_text(wanted)
    assert page.read_text() == wanted, "'pytest --accept' writes it anew"


def test_the_live_view_counts_and_estimates() -> None:
    out = io.StringIO()
    view = TerminalView(out)
    view(events.PlanReady(12, 5))
    view(events.Estimate(90 * SECOND, 0.9))
    view(started(ZLIB, "zlib"))
    view(finished(PNG, "png"))
    view(events.StepCached(SITE, "site", cut_off=True))
    bar = view._bar().plain
    assert "2 of 7: 1 built, 1 cut off, 5 cached" in bar
    assert re.search(r"about 1 min (29|30) s left", bar)
    view(events.Estimate(90 * SECOND, 0.2))
    assert "left" not in view._bar().plain, "a guess is not told as if it were known"


class Terminal(io.StringIO):
    """What a terminal of some encoding was sent."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1", "ascii"])
def test_the_live_view_sends_only_letters_that_the_terminal_has(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    out = Terminal(encoding)
    with TerminalView(out) as view:
        view(events.PlanReady(12, 5))
        for index in range(10):
            each = DerivationId.of(str(index).encode())
            view(started(each, f"a-package-with-quite-a-long-name-{index}"))
        view._live.refresh()
        view(finished(PNG, "png"))
        view(FAILURE)
        view(events.Finished(1, 0, 0, 0, 1, 5, (("zlib", 5), ("png", 5))))
    sent = out.getvalue()
    sent.encode(encoding)
    assert ("\u2713" in sent) == (encoding == "utf-8")
    assert "png" in sent
    assert "and 2 more" in sent


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", Terminal("utf-8"))
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(progress_view("auto"), TerminalView)
    for dumb in ("dumb", None):
        monkeypatch.setenv("TERM", dumb) if dumb else monkeypatch.delenv("TERM")
        assert isinstance(progress_view("auto"), PlainView)
