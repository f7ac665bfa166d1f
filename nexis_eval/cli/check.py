"""Evaluate a configuration with everything it includes and report all mistakes, without building or fetching anything.

Every architecture that the system is meant for is checked, unless --arch names one; what is wrong for all of them is
told once. What the system still lacks (a pin in nexis.lock, a package that images need) is a mistake with --strict.

The exit code is 0 if nothing is wrong, else 2.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict

from nexis_eval.cli.arguments import add_system_arguments
from nexis_eval.cli.evaluation import evaluation_cache
from nexis_eval.cli.loading import load_config_with_origins
from nexis_eval.config.cache import Request
from nexis_eval.config.errors import ConfigErrors, PlaceholderHashError, each_error, is_not_meant, raise_together
from nexis_eval.config.explain import without_effect, written_key
from nexis_eval.config.model import Config
from nexis_eval.diagnostics import as_json, as_sarif, render
from nexis_eval.evaluation.directories import check_own
from nexis_eval.evaluation.evaluate import evaluate
from nexis_eval.image.assemble import missing_from
from nexis_eval.packages.errors import NotLockedError
from nexis_eval.platforms import PLATFORMS
from nexis_eval.system.context import MissingPackageError
from nexis_eval.system.exposed import ClosedPort, closed_ports
from nexis_eval.ui.text import plural
from nexis_store.errors import NexisError, Place

EXAMPLES = """\
examples:
  nexis-eval check
  nexis-eval check ~/my-system --strict
  nexis-eval check --format sarif >mistakes.sarif
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_system_arguments(parser, every_arch=True)
    parser.add_argument(
        "--format",
        choices=("human", "json", "sarif"),
        default="human",
        help="json and sarif are for editors and CI, on standard output (default: human)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="pins and packages that are still lacking are mistakes, too"
    )
    parser.add_argument(
        "--quick", action="store_true", help="only read the files: leave rules, templates and nexis.lock alone"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing where there is no mistake")


def run(arguments: argparse.Namespace) -> int:
    """Load, and print what is wrong."""
    summaries: dict[str, list[str]] = {}
    idle: dict[tuple[str, Place], None] = {}
    found: dict[tuple[str, str, Place | None], tuple[NexisError, list[str]]] = {}
    lacking: dict[str, NexisError] = {}
    closed: dict[tuple[str, int], ClosedPort] = {}
    code = 0
    archs = [arguments.arch] if arguments.arch else list(PLATFORMS)
    for arch in tuple(archs):
        arguments.arch = arch
        try:
            config, origins = load_config_with_origins(arguments)
            idle.update(((written_key(path), origins.place(path)), None) for path in without_effect(origins))
            closed.update(((each.service, each.port), each) for each in closed_ports(config))
            if not arguments.quick:
                lacking.update((each.message, each) for each in _evaluate(arguments, config))
            summaries.setdefault(_summary(config), []).append(config.arch)
        except NexisError as error:
            if is_not_meant(error) and len(archs) > 1:
                archs.remove(arch)
                continue
            code = code or error.exit_code
            for each in each_error(error):
                found.setdefault((each.code, each.message, each.place), (each, []))[1].append(arch)
    errors = tuple(_of_some(error, where, archs) for error, where in found.values())
    if errors and arguments.format == "human":
        print(_shown(errors))
    if arguments.format == "json":
        report = {
            "valid": not errors,
            "errors": [as_json(each) for each in errors],
            "lacking": [as_json(each) for each in lacking.values()],
            "without_effect": [{"key": key, "place": asdict(place)} for key, place in idle],
            "closed_ports": [_closed_json(each) for each in closed.values()],
        }
        print(json.dumps(report, indent=2))
    elif arguments.format == "sarif":
        from importlib.metadata import version

        print(json.dumps(as_sarif(errors, version("nexisos")), indent=2))
    elif arguments.format == "human" and not errors and not arguments.quiet:
        for key, place in idle:
            print(f"{place}: note: '{key}' has no effect yet")
        for port in closed.values():
            print(f"{port.place or arguments.file}: warning: {port.message}")
        for each in lacking.values():
            if isinstance(each, MissingPackageError):
                print(f"{each.place or arguments.file}: note: no images yet: {each.message}")
        unpinned = sum(not isinstance(each, MissingPackageError) for each in lacking.values())
        if unpinned:
            print(f"{arguments.file}: note: {plural(unpinned, 'source')} not pinned yet: run 'nexis-eval lock'")
        for summary, where in summaries.items():
            print(f"{arguments.file}: no mistakes ({', '.join(where)}: {summary})")
    return code


def _closed_json(port: ClosedPort) -> dict[str, object]:
    place = asdict(port.place) if port.place is not None else None
    return {"service": port.service, "port": port.port, "message": port.message, "place": place}


def _of_some(error: NexisError, where: list[str], archs: list[str]) -> NexisError:
    """``error``, which says for which architectures it is one if not for all that were checked."""
    if where != archs and not error.message.endswith(f" for {' '.join(where)}"):
        error.message += f" (for {', '.join(where)})"
    return error


def _shown(errors: tuple[NexisError, ...]) -> str:
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return render(ConfigErrors(errors), colour=colour)


LACKING = (MissingPackageError, NotLockedError, PlaceholderHashError)
"""What a configuration may lack that is still being written."""


def _evaluate(arguments: argparse.Namespace, config: Config) -> list[NexisError]:
    """Evaluate as a build would, pinning nothing. Returns what is lacking; raises all else that is wrong."""
    request = Request(arguments.file, arguments.arch, tuple(arguments.profile), tuple(arguments.overrides))
    found: list[NexisError] = list(missing_from(config))
    try:
        evaluation = evaluate(request, evaluation_cache(), None)
        if config.rules.paths:
            check_own(config.rules, evaluation.graph)
    except NexisError as error:
        found += each_error(error)
    lacking: list[NexisError] = [] if arguments.strict else [each for each in found if isinstance(each, LACKING)]
    raise_together(each for each in found if each not in lacking)
    return lacking


def _summary(config: Config) -> str:
    counts = (
        (len(config.files), "file"),
        (len(config.packages), "package"),
        (len(config.users), "user"),
        (len(config.services), "service"),
        (len(config.config_files), "config file"),
    )
    parts = [f"{number} {what}{'' if number == 1 else 's'}" for number, what in counts if number]
    return ", ".join(parts)
