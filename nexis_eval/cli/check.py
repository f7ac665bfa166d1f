"""Read a configuration with everything it includes and report all mistakes, without building or fetching anything.

Every architecture that the system is meant for is checked, unless --arch names one; what is wrong for all of them is
told once. The exit code is 0 if nothing is wrong, else 2.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict

from nexis_eval.cli.arguments import add_system_arguments
from nexis_eval.cli.loading import load_config_with_origins
from nexis_eval.config.errors import ConfigErrors, each_error, is_not_meant, raise_together
from nexis_eval.config.explain import without_effect, written_key
from nexis_eval.config.model import Config
from nexis_eval.diagnostics import as_json, as_sarif, render
from nexis_eval.platforms import PLATFORMS
from nexis_store.errors import NexisError, Place


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_system_arguments(parser)
    parser.set_defaults(arch=None)
    parser.add_argument(
        "--format",
        choices=("human", "json", "sarif"),
        default="human",
        help="json and sarif are for editors and CI, on standard output (default: human)",
    )
    parser.add_argument(
        "--derivations",
        action="store_true",
        help="turn the configuration into derivations as well, which finds what only rules and nexis.lock know",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing where there is no mistake")


def run(arguments: argparse.Namespace) -> int:
    """Load, and print what is wrong."""
    summaries: dict[str, list[str]] = {}
    idle: dict[tuple[str, Place], None] = {}
    found: dict[tuple[str, str, Place | None], tuple[NexisError, list[str]]] = {}
    code = 0
    archs = [arguments.arch] if arguments.arch else list(PLATFORMS)
    for arch in tuple(archs):
        arguments.arch = arch
        try:
            config, origins = load_config_with_origins(arguments)
            idle.update(((written_key(path), origins.place(path)), None) for path in without_effect(origins))
            if arguments.derivations:
                _make_derivations(config)
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
            "without_effect": [{"key": key, "place": asdict(place)} for key, place in idle],
        }
        print(json.dumps(report, indent=2))
    elif arguments.format == "sarif":
        from importlib.metadata import version

        print(json.dumps(as_sarif(errors, version("nexisos")), indent=2))
    elif arguments.format == "human" and not errors and not arguments.quiet:
        for key, place in idle:
            print(f"{place}: note: '{key}' has no effect yet")
        for summary, where in summaries.items():
            print(f"{arguments.file}: no mistakes ({', '.join(where)}: {summary})")
    return code


def _of_some(error: NexisError, where: list[str], archs: list[str]) -> NexisError:
    """``error``, which says for which architectures it is one if not for all that were checked."""
    if where != archs and not error.message.endswith(f" for {' '.join(where)}"):
        error.message += f" (for {', '.join(where)})"
    return error


def _shown(errors: tuple[NexisError, ...]) -> str:
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return render(ConfigErrors(errors), colour=colour)


def _make_derivations(config: Config) -> None:
    """Evaluate as a build would, without pinning what is not pinned; raises ``NexisError``."""
    # Imported on use: editors run the plain check on every save, and this would double its time to start.
    from nexis_eval.cli.evaluation import lock_file
    from nexis_eval.image.assemble import missing_packages
    from nexis_eval.instantiate import instantiate
    from nexis_eval.lock.model import Lock, load_lock
    from nexis_eval.places import RULES
    from nexis_eval.rules import load_rules
    from nexis_eval.toolchain import load_toolchain

    path = lock_file(config)
    lock = load_lock(path) if path.exists() else Lock()
    graph = instantiate(config, lock, load_rules(RULES / "build"), load_toolchain(RULES))
    raise_together(missing_packages(config))
    for each in graph.derivations:
        # Decoding renders the script.
        graph.derivations[each]


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
