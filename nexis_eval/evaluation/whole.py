"""Evaluates a configuration from its files, and remembers the result."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from nexis_eval.config.cache import EvaluationCache, Request, program_files
from nexis_eval.config.check import local_paths
from nexis_eval.config.load import load_with_origins
from nexis_eval.config.model import Config
from nexis_eval.evaluation.record import Places, encode
from nexis_eval.evaluation.result import Evaluation, encode_summary
from nexis_eval.graph import DerivationGraph, packed_graph
from nexis_eval.incremental import state_of
from nexis_eval.instantiate import Instantiator
from nexis_eval.lock.model import Lock, load_lock
from nexis_eval.packages.errors import NotLockedError
from nexis_eval.places import RULES
from nexis_eval.rules import Renderer, load_rules
from nexis_eval.toolchain import load_toolchain

if TYPE_CHECKING:
    from nexis_eval.evaluation.evaluate import Pin


def evaluate_all(request: Request, cache: EvaluationCache, pin: Pin | None) -> Evaluation:
    """Evaluate. Raises ``NexisError`` for all that can be wrong; without ``pin`` also for what the lock lacks."""
    config, origins = load_with_origins(
        request.file, arch=request.arch, profiles=request.profiles, overrides=request.overrides
    )
    rules = load_rules(RULES / "build")
    toolchain = load_toolchain(RULES)
    path = config.file.with_name("nexis.lock")

    def instantiate(config: Config, lock: Lock) -> tuple[DerivationGraph, Instantiator]:
        instantiator = Instantiator(config, lock, rules, toolchain)
        return instantiator.graph(), instantiator

    try:
        graph, made = instantiate(config, load_lock(path))
    except NotLockedError:
        if pin is None:
            raise
        graph, made = instantiate(config, pin(config))
    nodes, paths, called = made.nodes, made.paths, made.rules()
    files, listings = [*_files(config, (path, *program_files(), *sorted(RULES.rglob("*"))))], origins.listings
    arch, system, mirrors, targets = config.arch, config.system.hostname, dict(config.mirrors), graph.targets
    state = state_of(config, origins, made.memory()).encode()
    # Half of the memory, and what comes needs as much once more.
    del config, origins, made, graph
    with contextlib.suppress(OSError):
        # A cache that cannot be written is a cache that is not there.
        summary = encode_summary(arch, system, mirrors, targets)
        cache.put(request, listings, files, summary, encode(nodes, paths, called), state)
    place = Places(request).place
    return Evaluation(
        arch, system, mirrors, targets, lambda: packed_graph(nodes, targets, paths, Renderer(called), place)
    )


def _files(config: Config, others: Iterable[os.PathLike[str]]) -> Iterator[str]:
    """The files whose content decides the evaluation of ``config``: its own, those it names, and ``others``."""
    yield from map(os.fspath, config.files)
    yield from (os.fspath(local.path) for local, _, _ in local_paths(config))
    yield from (path for path in map(os.fspath, others) if not os.path.isdir(path))  # noqa: PTH112 - strings
