"""Evaluates a configuration from its files, and remembers the result."""

from __future__ import annotations

import contextlib
import marshal
import os
import time
from collections.abc import Iterable, Iterator
from functools import cache as cache_of
from functools import partial
from typing import TYPE_CHECKING

from nexis_eval.config.cache import EvaluationCache, Request, program_files
from nexis_eval.config.check import local_paths
from nexis_eval.config.errors import ConfigErrors, each_error
from nexis_eval.config.explain import without_effect, written_key
from nexis_eval.config.load import load_with_origins
from nexis_eval.config.model import Config
from nexis_eval.config.toml import read_text
from nexis_eval.evaluation.directories import files_of, rules_of, toolchain_of
from nexis_eval.evaluation.record import encode, graph_of
from nexis_eval.evaluation.result import Evaluation, Summary
from nexis_eval.evaluation.state import files_with_secrets, kept_texts, state_of
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.instantiate import Instantiator
from nexis_eval.lock.model import Lock, load_lock, lock_file, read_lock
from nexis_eval.packages.errors import NotLockedError
from nexis_eval.places import RULES

if TYPE_CHECKING:
    from nexis_eval.evaluation.result import Pin


def evaluate_all(request: Request, cache: EvaluationCache, pin: Pin | None) -> Evaluation:
    """Evaluate. Raises ``NexisError`` for all that can be wrong; without ``pin`` also for what the lock lacks."""
    began = time.time_ns()
    config, origins = load_with_origins(
        request.file, arch=request.arch, profiles=request.profiles, overrides=request.overrides
    )
    rules = rules_of(config.rules)
    toolchain = cache_of(partial(toolchain_of, config.rules))
    path = lock_file(config.file)

    def instantiate(config: Config, lock: Lock) -> tuple[DerivationGraph, Instantiator]:
        instantiator = Instantiator(config, lock, rules, toolchain)
        return instantiator.graph(), instantiator

    try:
        graph, made = instantiate(config, load_lock(path))
    except (NotLockedError, ConfigErrors) as error:
        if pin is None or not all(isinstance(each, NotLockedError) for each in each_error(error)):
            raise
        graph, made = instantiate(config, pin(config))
    nodes, called = made.nodes, made.rules()
    files = [
        *_files(config, (path, *program_files(), *sorted(RULES.rglob("*")))),
        *map(os.fspath, files_of(config.rules)),
    ]
    listings = origins.listings
    summary = Summary(
        config.arch,
        config.system.hostname,
        config.store.profile,
        dict(config.mirrors),
        graph.targets,
        tuple(map(written_key, without_effect(origins))),
    )
    text = read_lock(path) or ""
    read, secret = config.files, files_with_secrets(origins)
    state = state_of(config, origins, text, made).encode()
    # Half of the memory, and what comes needs as much once more.
    del config, origins, made, graph
    texts = marshal.dumps(kept_texts({str(each): read_text(each, str(each)) for each in read}, secret))
    with contextlib.suppress(OSError):
        # A cache that cannot be written is a cache that is not there.
        cache.put(
            request,
            began,
            listings,
            files,
            summary.encode(),
            encode(nodes, called),
            state,
            texts,
        )
    return Evaluation(summary, lambda: graph_of(request, nodes, called, summary.targets, state))


def _files(config: Config, others: Iterable[os.PathLike[str]]) -> Iterator[str]:
    """The files whose content decides the evaluation of ``config``: its own, those it names, and ``others``."""
    yield from map(os.fspath, config.files)
    yield from (os.fspath(local.path) for local, _, _ in local_paths(config))
    yield from (path for path in map(os.fspath, others) if not os.path.isdir(path))  # noqa: PTH112 - strings
