"""From the command line's arguments to the derivation graph: what most commands begin with."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import nexis_eval.evaluation.evaluate
from nexis_eval.cli.arguments import DEFAULT_TARGET
from nexis_eval.config.cache import EvaluationCache, Request
from nexis_eval.evaluation.result import Evaluation
from nexis_eval.graph.target import SystemTarget, parse_target
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError
from nexis_store.homes import cache_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nexis_eval.config.model import Config
    from nexis_eval.graph.dag import DerivationGraph
    from nexis_eval.lock.model import Lock


class UnknownTargetError(NexisError):
    """A target was named that the system does not have.

    ``nexis-eval targets`` lists those that it has: packages, parts of the system, images, tool sets. The name of a
    step, with or without its version, and the beginning of a derivation id serve as well if they mean one step.
    """

    code = "E0003"
    exit_code = 2


def evaluation_cache() -> EvaluationCache:
    """Where evaluations are remembered; deleting it costs nothing but time."""
    return EvaluationCache(cache_directory("evaluation"))


def evaluate(args: argparse.Namespace) -> Evaluation:
    """Evaluate what the arguments ask for, after pinning what is not pinned yet (unless ``--locked``)."""
    request = Request(args.file, args.arch, tuple(args.profile), tuple(args.overrides))
    evaluation = nexis_eval.evaluation.evaluate.evaluate(
        request, evaluation_cache(), None if args.locked else partial(_pin, args)
    )
    if evaluation.summary.idle:
        print(f"note: not implemented yet, ignored: {', '.join(evaluation.summary.idle)}", file=sys.stderr)
    return evaluation


def _pin(args: argparse.Namespace, config: Config) -> Lock:
    from nexis_eval.cli.pinning import lock_configs
    from nexis_eval.lock.model import lock_file

    path = lock_file(config.file)
    print(f"{path.name} lacks something this system needs: pinning it", file=sys.stderr)
    return lock_configs([config], path, args)


def default_names(evaluation: Evaluation) -> list[str]:
    """What is meant where no target is named: the images, or all packages where the configuration has no kernel.

    Raises what a system lacks for having images, and ``UnknownTargetError`` where there is nothing at all.
    """
    targets = evaluation.summary.targets
    if not targets.system:
        evaluation.graph.lacking()
        packages = sorted(targets.packages)
        if not packages:
            raise UnknownTargetError(
                "there is nothing to build: this configuration has no packages",
                hint="add [[packages]] tables (docs/packages.md), or begin with a copy of examples/minimal",
            )
        return packages
    return [DEFAULT_TARGET]


def named_roots(evaluation: Evaluation, names: Sequence[str]) -> list[DerivationId]:
    """The derivations that a person calls by ``names``; the graph is only decoded for what is no target."""
    return [evaluation.summary.targets.named(name) or find_target(evaluation.graph, name) for name in names]


def find_target(graph: DerivationGraph, name: str) -> DerivationId:
    """What a person calls ``name``: a target, the only derivation of that name, or the beginning of a derivation id."""
    target = parse_target(name)
    identity = graph.targets.find(target)
    if identity is not None:
        return identity
    called = graph.called(name)
    if len(called) == 1:
        return called[0]
    if len(name) >= 8 and all(digit in "0123456789abcdef" for digit in name):
        found = [each for each in graph.derivations if str(each).startswith(name)]
        if len(found) == 1:
            return found[0]
    names = sorted([*graph.targets.packages, *map(str, graph.targets.system)])
    shown = ", ".join(names[:12]) + (" and more: see 'nexis-eval targets'" if len(names) > 12 else "")
    if isinstance(target, SystemTarget):
        graph.lacking()
        raise UnknownTargetError(
            f"there is no '{name}': this configuration has no kernel to make a system with",
            hint=f"targets: {shown or 'none'}; for a system, add the package of a kernel, as in examples/minimal",
        )
    from nexis_store.suggest import did_you_mean

    raise UnknownTargetError(
        f"this system has no target '{name}'",
        hint=did_you_mean(name, graph.targets.by_name(), f"targets: {shown}", most=3),
    )
