"""From the command line's arguments to the derivation graph: what most commands begin with."""

from __future__ import annotations

import argparse
import contextlib
import gc
import marshal
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nexis_eval.cli.common import add_variant_arguments
from nexis_eval.config.cache import EvaluationCache, Recalled, Request
from nexis_store.digest import DIGEST_SIZE, DerivationId
from nexis_store.errors import NexisError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nexis_eval.config.model import Config
    from nexis_eval.graph import DerivationGraph

DEFAULT_TARGET = "images"
SUMMARY, GRAPH, STATE = range(3)
"""The parts of the record of an evaluation."""


class UnknownTargetError(NexisError):
    """A target was named that the system does not have."""

    code = "E0003"
    exit_code = 2


@dataclass(frozen=True)
class Evaluation:
    """What a configuration evaluates to. The graph is made when it is first needed: a no-op build never does."""

    arch: str
    system: str
    """The name under which builds of this system are remembered: its host name."""
    mirrors: Mapping[str, tuple[str, ...]]
    targets: Mapping[str, DerivationId]
    make_graph: Callable[[], DerivationGraph]

    @cached_property
    def graph(self) -> DerivationGraph:
        """The derivation graph."""
        return self.make_graph()


def encode_summary(
    arch: str, system: str, mirrors: Mapping[str, tuple[str, ...]], targets: Mapping[str, DerivationId]
) -> bytes:
    """An evaluation without its graph, as bytes for this machine."""
    return marshal.dumps((arch, system, dict(mirrors), "\n".join(targets), b"".join(targets.values())))


def decode_summary(data: bytes) -> tuple[str, str, Mapping[str, tuple[str, ...]], dict[str, DerivationId]]:
    """The inverse of ``encode_summary``."""
    arch, system, mirrors, names, ids = marshal.loads(data)
    each = [DerivationId(ids[start : start + DIGEST_SIZE]) for start in range(0, len(ids), DIGEST_SIZE)]
    return arch, system, mirrors, dict(zip(names.split("\n"), each, strict=True)) if each else {}


def _recalled(data: bytes, make_graph: Callable[[Mapping[str, DerivationId]], DerivationGraph]) -> Evaluation:
    arch, system, mirrors, targets = decode_summary(data)
    return Evaluation(arch, system, mirrors, targets, lambda: make_graph(targets))


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
    the program itself (``nexis_eval.config.cache``). After an edit, only what it can have changed is evaluated.
    """
    request = Request(args.file, args.arch, tuple(args.profile), tuple(args.overrides))
    cache = EvaluationCache(cache_directory())
    known = cache.find(request)
    changed: list[str] | None = None
    if known is not None and known.same_listings():
        changed = known.changed()
        summary = None if changed else known.part(SUMMARY)
        if summary is not None:
            return _recalled(summary, _late_graph(args, known))
    # Imported on use: recalling, which is what most runs do, takes a third of the time that this takes to import.
    with without_collecting():
        from nexis_eval.cli.evaluating import evaluate_all, evaluate_changed

    made = evaluate_changed(args, cache, request, known, changed) if known is not None and changed else None
    return made or evaluate_all(args, cache, request)


@contextlib.contextmanager
def without_collecting() -> Iterator[None]:
    """Hundreds of thousands of small objects are made, none is garbage, and the collector would walk them each time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _late_graph(args: argparse.Namespace, known: Recalled) -> Callable[[Mapping[str, DerivationId]], DerivationGraph]:
    def make(targets: Mapping[str, DerivationId]) -> DerivationGraph:
        from nexis_eval.cli.evaluating import decode_graph

        return decode_graph(args, known, targets)

    return make


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
    from difflib import get_close_matches

    near = get_close_matches(name, graph.targets, n=3)
    shown = ", ".join(sorted(each for each in graph.targets if ":" not in each))
    raise UnknownTargetError(
        f"this system has no target '{name}'",
        hint=f"did you mean {' or '.join(repr(each) for each in near)}?" if near else f"targets: {shown}",
    )
