"""From the command line's arguments to the derivation graph: what most commands begin with."""

from __future__ import annotations

import argparse
import contextlib
import os
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path

from nexis_eval.cli.common import add_variant_arguments
from nexis_eval.config.cache import EvaluationCache, Request, files_read, program_files
from nexis_eval.config.load import load_with_origins
from nexis_eval.config.model import Config, KeyPath
from nexis_eval.graph import DerivationGraph, LateOrigins, packed_graph
from nexis_eval.packed import Nodes, PackedDerivations
from nexis_eval.places import RULES
from nexis_eval.rules import Renderer
from nexis_store.digest import DIGEST_SIZE, DerivationId
from nexis_store.errors import NexisError, Place

DEFAULT_TARGET = "images"


class UnknownTargetError(NexisError):
    """A target was named that the system does not have."""

    code = "E0003"
    exit_code = 2


@dataclass(frozen=True)
class Evaluation:
    """What a configuration evaluates to. The graph is decoded when it is first needed: a no-op build never does."""

    arch: str
    system: str
    """The name under which builds of this system are remembered: its host name."""
    mirrors: Mapping[str, tuple[str, ...]]
    targets: Mapping[str, DerivationId]
    encoded: bytes
    place: Callable[[KeyPath], Place | None]
    """Where a key of the configuration is set."""

    @classmethod
    def of(cls, config: Config, graph: DerivationGraph) -> Evaluation:
        """A fresh evaluation."""
        made = cls(
            config.arch, config.system.hostname, dict(config.mirrors), graph.targets, _encode(graph), config.place
        )
        made.__dict__["graph"] = graph
        return made

    @cached_property
    def graph(self) -> DerivationGraph:
        """The derivation graph."""
        dump, paths, rules = pickle.loads(self.encoded)
        nodes = Nodes.load(dump)
        return packed_graph(nodes, self.targets, paths, Renderer(rules), self.place)


def _encode(graph: DerivationGraph) -> bytes:
    derivations, origins = graph.derivations, graph.origins
    assert isinstance(derivations, PackedDerivations)
    assert isinstance(derivations.call, Renderer)
    assert isinstance(origins, LateOrigins)
    nodes = derivations.nodes
    return pickle.dumps((nodes.dump(), origins.paths, derivations.call.rules), protocol=5)


class TargetCountError(NexisError):
    """A command was given too many or too few targets."""

    code = "E0005"
    exit_code = 2


def add_evaluation_arguments(parser: argparse.ArgumentParser, targets: str = "") -> None:
    """The system file, the targets (``targets`` is their help text), the architecture, the lock switches."""
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="SYSTEM.toml TARGET" if targets else "SYSTEM.toml",
        help="the configuration (default: ./system.toml)" + (f" and {targets}" if targets else ""),
    )
    add_variant_arguments(parser)
    parser.add_argument(
        "--locked", action="store_true", help="fail where nexis.lock lacks something, instead of pinning it"
    )


def add_store_argument(parser: argparse.ArgumentParser) -> None:
    """``--store``."""
    parser.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help="the store (default: $NEXIS_STORE, else nexis/store in your data directory)",
    )


def default_jobs() -> int:
    """As many builds side by side as there are processors this process may use."""
    return len(os.sched_getaffinity(0))


def take_targets(args: argparse.Namespace, least: int, most: int | None) -> list[str]:
    """Tell the system file (a path ending in .toml, or a directory that has one) from the targets in ``args``.

    Sets ``args.file``; returns the targets. Raises ``TargetCountError`` unless there are ``least`` to ``most`` of them.
    """
    args.file = Path("system.toml")
    targets = []
    for argument in args.arguments:
        path = Path(argument)
        if argument.endswith(".toml"):
            args.file = path
        elif "/" in argument or (path.is_dir() and (path / "system.toml").exists()):
            args.file = path / "system.toml" if path.is_dir() else path
        else:
            targets.append(argument)
    if len(targets) < least or (most is not None and len(targets) > most):
        wanted = f"{least}" if least == most else f"{least} to {most}" if most is not None else f"at least {least}"
        raise TargetCountError(
            f"{len(targets)} targets given ({', '.join(targets) or 'none'}), {wanted} wanted",
            hint="'nexis-eval targets' lists what a system has",
        )
    return targets


def lock_file(config: Config) -> Path:
    """``nexis.lock`` beside the system file."""
    return config.file.with_name("nexis.lock")


def cache_directory() -> Path:
    """Where evaluations are remembered; deleting it costs nothing but time."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "nexis" / "evaluation"


def evaluate(args: argparse.Namespace) -> Evaluation:
    """Load, lock what is not locked yet (unless ``--locked``), and instantiate; or recall what that gave before.

    What is recalled is exactly what would be evaluated: the record holds the content of every file that was read, and
    the program itself (``nexis_eval.config.cache``).
    """
    request = Request(args.file, args.arch, tuple(args.profile), tuple(args.overrides))
    cache = EvaluationCache(cache_directory())
    known = cache.get(request)
    if known is not None:
        arch, system, mirrors, names, ids, encoded = pickle.loads(known)
        targets = {
            name: DerivationId(ids[start : start + DIGEST_SIZE])
            for name, start in zip(names.split("\n"), range(0, len(ids), DIGEST_SIZE), strict=True)
        }
        return Evaluation(arch, system, mirrors, targets, encoded, _Places(args).place)
    return _evaluate(args, cache, request)


def _evaluate(args: argparse.Namespace, cache: EvaluationCache, request: Request) -> Evaluation:
    from nexis_eval.instantiate import NotLockedError, instantiate
    from nexis_eval.lock.model import load_lock
    from nexis_eval.rules import load_rules
    from nexis_eval.toolchain import load_toolchain

    config, origins = load_with_origins(args.file, arch=args.arch, profiles=args.profile, overrides=args.overrides)
    rules = load_rules(RULES / "build")
    toolchain = load_toolchain(RULES)
    path = lock_file(config)
    try:
        graph = instantiate(config, load_lock(path), rules, toolchain)
    except NotLockedError:
        if args.locked:
            raise
        from nexis_eval.cli.lock import lock_configs

        print(f"{path.name} lacks something this system needs: pinning it", file=sys.stderr)
        graph = instantiate(config, lock_configs([config], path), rules, toolchain)
    made = Evaluation.of(config, graph)
    files = [*files_read(config, origins), path, *program_files(), *sorted(RULES.rglob("*"))]
    names, ids = "\n".join(made.targets), b"".join(made.targets.values())
    values = (made.arch, made.system, made.mirrors, names, ids, made.encoded)
    with contextlib.suppress(OSError):
        # A cache that cannot be written is a cache that is not there.
        cache.put(request, origins, (each for each in files if not each.is_dir()), pickle.dumps(values, protocol=5))
    return made


class _Places:
    """Where keys are set, by reading the configuration again: what was recalled has no places, and few are shown."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args

    @cached_property
    def _config(self) -> Config:
        args = self._args
        return load_with_origins(args.file, arch=args.arch, profiles=args.profile, overrides=args.overrides)[0]

    def place(self, path: KeyPath) -> Place | None:
        """The place of a key; ``None`` if it is not set."""
        return self._config.place(path)


def named_roots(evaluation: Evaluation, names: Sequence[str]) -> list[DerivationId]:
    """The derivations that a person calls by ``names``; the graph is only decoded for what is no target."""
    return [evaluation.targets.get(name) or find_target(evaluation.graph, name) for name in names]


def find_target(graph: DerivationGraph, name: str) -> DerivationId:
    """What a person calls ``name``: a target, the only derivation of that name, or the beginning of a derivation id."""
    if name in graph.targets:
        return graph.targets[name]
    called = graph.called(name)
    if len(called) == 1:
        return called[0]
    if len(name) >= 8 and all(digit in "0123456789abcdef" for digit in name):
        found = [each for each in graph.derivations if str(each).startswith(name)]
        if len(found) == 1:
            return found[0]
    near = get_close_matches(name, graph.targets, n=3)
    shown = ", ".join(sorted(each for each in graph.targets if ":" not in each))
    raise UnknownTargetError(
        f"this system has no target '{name}'",
        hint=f"did you mean {' or '.join(repr(each) for each in near)}?" if near else f"targets: {shown}",
    )
