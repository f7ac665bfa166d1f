"""What ``--help`` prints: every option says what it does, and the examples are command lines that are understood."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import shlex
from collections.abc import Iterator
from types import ModuleType

import pytest

from nexis_eval.cli.main import PROGRAM as EVAL
from nexis_store.cli.dispatch import Program, run
from nexis_store.cli.main import PROGRAM as STORE


def _commands(program: Program) -> Iterator[tuple[str, ModuleType]]:
    for command in program.commands:
        name = command.replace("-", "_")
        module = importlib.import_module(f"{program.package}.{'import_' if name == 'import' else name}")
        for inner in getattr(module, "COMMANDS", ()):
            yield f"{program.name} {command} {inner}", importlib.import_module(f"{program.package}.{name}_{inner}")
        if not hasattr(module, "COMMANDS"):
            yield f"{program.name} {command}", module


ALL = {name: (program, module) for program in (EVAL, STORE) for name, module in _commands(program)}


def _examples(module: ModuleType) -> list[str]:
    lines: list[str] = module.EXAMPLES.splitlines()
    assert lines.pop(0) == "examples:"
    assert all(line.startswith("  ") for line in lines)
    return lines


@pytest.mark.parametrize("name", ALL)
def test_examples_are_understood(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, module = ALL[name]
    monkeypatch.setattr(module, "run", lambda args: 0)
    for line in _examples(module):
        assert f"{name} " in f"{line} "
        for part in line.partition(" >")[0].split(" | "):
            words = shlex.split(part)
            if words[0] == program.name:
                assert run(program, words[1:]) == 0, line


@pytest.mark.parametrize("name", ALL)
def test_every_option_says_what_it_does(name: str) -> None:
    program, module = ALL[name]
    parser = argparse.ArgumentParser(add_help=False)
    program.common(parser)
    module.add_arguments(parser)
    for action in parser._actions:
        if action.option_strings:
            assert action.help, action.option_strings
            assert "default: all)" in action.help or "--jobs" not in action.option_strings
        else:
            assert action.metavar, f"{action.dest} would be shown in small letters, as if it were to be typed"


@pytest.mark.parametrize("name", [EVAL.name, STORE.name, *ALL])
def test_help_ends_with_the_exit_codes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = name.split()
    with contextlib.suppress(SystemExit):
        run(EVAL if words[0] == EVAL.name else STORE, [*words[1:], "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: {name} ")
    assert "exit codes: 0 " in shown.split("\n\n")[-1] or "exit codes: 0 " in shown.split("\n\n")[-2]
