"""Evaluates, wholly or what an edit can have changed, and remembers the result."""

from __future__ import annotations

import argparse
import contextlib
import marshal
import os
import pickle
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from nexis_eval.cli.evaluation import (
    GRAPH,
    Evaluation,
    cache_directory,
    decode_summary,
    encode_summary,
    lock_file,
    without_collecting,
)
from nexis_eval.config.cache import EvaluationCache, Recalled, Request, program_files, row_of
from nexis_eval.config.check import local_paths
from nexis_eval.config.model import Config, KeyPath
from nexis_eval.config.origin import Origins
from nexis_eval.graph import DerivationGraph, packed_graph
from nexis_eval.incremental import State, state_of, update
from nexis_eval.instantiate import Instantiator
from nexis_eval.lock.model import Lock, load_lock
from nexis_eval.packages.errors import NotLockedError
from nexis_eval.packed import Nodes
from nexis_eval.places import RULES
from nexis_eval.rules import Renderer, Rule, load_rules
from nexis_eval.toolchain import load_toolchain
from nexis_store.digest import DerivationId
from nexis_store.errors import Place


class _Places:
    """Where keys are set, by reading the configuration again: what was recalled has no places, and few are shown."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args

    @cached_property
    def _config(self) -> Config:
        return _load(self._args)[0]

    def place(self, path: KeyPath) -> Place | None:
        """The place of a key; ``None`` if it is not set."""
        return self._config.place(path)


def _load(args: argparse.Namespace) -> tuple[Config, Origins]:
    # Imported on use: an edit of packages does without.
    from nexis_eval.config.load import load_with_origins

    return load_with_origins(args.file, arch=args.arch, profiles=args.profile, overrides=args.overrides)


def _encode(nodes: Nodes, paths: Mapping[int, KeyPath], rules: Mapping[str, Rule]) -> bytes:
    return marshal.dumps((nodes.dump(), dict(paths), pickle.dumps(rules, protocol=5)))


def _decode(data: bytes) -> tuple[Nodes, dict[int, KeyPath], dict[str, Rule]]:
    dump, paths, rules = marshal.loads(data)
    return Nodes.load(dump), paths, pickle.loads(rules)


def decode_graph(args: argparse.Namespace, known: Recalled, targets: Mapping[str, DerivationId]) -> DerivationGraph:
    """The graph of an evaluation that was recalled; made anew if its record is damaged."""
    data = known.part(GRAPH)
    if data is None:
        request = Request(args.file, args.arch, tuple(args.profile), tuple(args.overrides))
        return evaluate_all(args, EvaluationCache(cache_directory()), request).graph
    with without_collecting():
        nodes, paths, rules = _decode(data)
    return packed_graph(nodes, targets, paths, Renderer(rules), _Places(args).place)


def evaluate_all(args: argparse.Namespace, cache: EvaluationCache, request: Request) -> Evaluation:
    """Evaluate from the files alone. Raises ``NexisError`` for all that can be wrong with them."""
    with without_collecting():
        return _evaluate_all(args, cache, request)


def _evaluate_all(args: argparse.Namespace, cache: EvaluationCache, request: Request) -> Evaluation:
    config, origins = _load(args)
    rules = load_rules(RULES / "build")
    toolchain = load_toolchain(RULES)
    path = lock_file(config)

    def instantiate(config: Config, lock: Lock) -> tuple[DerivationGraph, Instantiator]:
        instantiator = Instantiator(config, lock, rules, toolchain)
        return instantiator.graph(), instantiator

    try:
        graph, made = instantiate(config, load_lock(path))
    except NotLockedError:
        if args.locked:
            raise
        from nexis_eval.cli.lock import lock_configs

        print(f"{path.name} lacks something this system needs: pinning it", file=sys.stderr)
        graph, made = instantiate(config, lock_configs([config], path))
    nodes, paths, called = made.nodes, made.paths, made.rules()
    files, listings = [*_files(config, (path, *program_files(), *sorted(RULES.rglob("*"))))], origins.listings
    arch, system, mirrors, targets = config.arch, config.system.hostname, dict(config.mirrors), graph.targets
    state = state_of(config, origins, made.memory()).encode()
    # Half of the memory, and what comes needs as much once more.
    del config, origins, made, graph
    with contextlib.suppress(OSError):
        # A cache that cannot be written is a cache that is not there.
        cache.put(
            request,
            listings,
            files,
            encode_summary(arch, system, mirrors, targets),
            _encode(nodes, paths, called),
            state,
        )
    place = _Places(args).place
    return Evaluation(
        arch, system, mirrors, targets, lambda: packed_graph(nodes, targets, paths, Renderer(called), place)
    )


def _files(config: Config, others: Iterable[os.PathLike[str]]) -> Iterator[str]:
    """The files whose content decides the evaluation of ``config``: its own, those it names, and ``others``."""
    yield from map(os.fspath, config.files)
    yield from (os.fspath(local.path) for local, _, _ in local_paths(config))
    yield from (path for path in map(os.fspath, others) if not os.path.isdir(path))  # noqa: PTH112 - strings


def evaluate_changed(
    args: argparse.Namespace, cache: EvaluationCache, request: Request, known: Recalled, changed: Sequence[str]
) -> Evaluation | None:
    """Evaluate what an edit of the files ``changed`` can have changed; ``None`` if that is not known to be enough."""
    program = {*map(os.fspath, program_files())}
    if any(file in program or file.startswith(f"{RULES}/") for file in changed):
        # What another program remembered may even have another form.
        return None
    summary, graph, state = (known.part(number) for number in range(len(known.parts)))
    if summary is None or graph is None or state is None:
        return None
    with without_collecting():
        arch, system, mirrors, targets = decode_summary(summary)
        nodes, paths, rules = _decode(graph)
        numbers = [nodes.index[each] for each in targets.values()]
        path = args.file.with_name("nexis.lock")
        now = time.time_ns()
        again = {file: row_of(file, now) for file in changed}
        made = update(
            State.decode(state),
            changed,
            args.profile,
            load_lock(path),
            {rule.name: rule for rule in rules.values()},
            nodes,
            targets,
            paths,
        )
        if made is None:
            return None
        rules = {**rules, **made.rules}
        targets = {name: made.nodes.ids[number] for name, number in zip(targets, numbers, strict=True)}
        rows = [again.get(row[0], row) for row in known.rows]
        rows += [row_of(file, now) for file in {*map(os.fspath, made.files)} - {row[0] for row in rows}]
        with contextlib.suppress(OSError):
            encoded = encode_summary(arch, system, mirrors, targets)
            cache.put_rows(request, known.listings, rows, encoded, _encode(made.nodes, paths, rules), state)
    place = _Places(args).place

    def late_graph() -> DerivationGraph:
        return packed_graph(made.nodes, targets, paths, Renderer(rules), place)

    return Evaluation(arch, system, mirrors, targets, late_graph)
