"""What ``debug`` and ``shell`` share: a target's own sandbox, with a person in it."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from nexis_eval.cli.arguments import (
    add_evaluation_arguments,
    add_jobs_argument,
    add_store_argument,
    selection,
    take_targets,
)
from nexis_eval.cli.evaluation import evaluate, find_target
from nexis_eval.cli.stopping import run_stoppable
from nexis_eval.cli.stores import open_store
from nexis_eval.evaluation.result import Evaluation
from nexis_eval.execute.action import action_of
from nexis_eval.execute.adopt import adopt_cut_off, check_run_time, references
from nexis_eval.execute.land import prepare
from nexis_eval.execute.staging import stage
from nexis_eval.execute.workspace import Workspace
from nexis_eval.graph.closures import Closures, Outputs, visible
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import Choice, Derivation, Script
from nexis_eval.sandbox.spec import Bind, SandboxSpec
from nexis_eval.schedule.plan import make_plan
from nexis_store.digest import DerivationId
from nexis_store.errors import NexisError
from nexis_store.store import Store

FILES_AT = "/in/nexis"


class NoSandboxError(NexisError):
    """The target is not made by a script, so that there is no sandbox to enter.

    Downloads, unpacked archives and merged trees are made by the engine. ``nexis-eval show-derivation TARGET`` says
    how, and which inputs of it are built.
    """

    code = "X0003"
    exit_code = 2


class InputsFailedError(NexisError):
    """What the target is built from could not be built.

    The failures stand above: enter one of those first, by ``nexis-eval debug``.
    """

    code = "X0004"
    exit_code = 1


@dataclass(frozen=True, slots=True)
class Room:
    """A staged build. ``directory`` is fresh and goes when the context ends; files put into ``files`` are inside.

    ``check_outputs`` raises what a build raises whose script succeeded and whose outputs cannot be used.
    """

    derivation: Derivation
    spec: SandboxSpec
    directory: Path
    check_outputs: Callable[[], None] = lambda: None

    def with_files(self, files: Mapping[str, str], argv: tuple[str, ...], **env: str) -> SandboxSpec:
        """The sandbox with some files at ``FILES_AT``, another command, and more in its environment."""
        directory = self.directory / "nexis"
        directory.mkdir()
        for name, text in files.items():
            (directory / name).write_text(text, encoding="utf-8")
        environment = {**dict(self.spec.env), "TERM": os.environ.get("TERM", "dumb"), **env}
        return replace(
            self.spec,
            argv=argv,
            env=tuple(sorted(environment.items())),
            binds=(*self.spec.binds, Bind(FILES_AT, directory)),
        )


def add_enter_arguments(parser: argparse.ArgumentParser, targets: str) -> None:
    """The system file, the target, the store, the number of jobs."""
    add_evaluation_arguments(parser, targets)
    add_store_argument(parser)
    add_jobs_argument(parser)


@contextmanager
def staged(args: argparse.Namespace, *, to_run: bool = False) -> Iterator[Room]:
    """Build what the target needs, with ``to_run`` also at run time, and lay out its sandbox as for a build."""
    from nexis_eval.sandbox.check import available

    (name,) = take_targets(args, 1, 1)
    evaluation = evaluate(args)
    each = _script_of(evaluation.graph, find_target(evaluation.graph, name), name)
    derivation = evaluation.graph.derivations[each]
    script = derivation.builder
    assert isinstance(script, Script)
    available()
    with open_store(args, evaluation.summary.store_profile) as store:
        outputs = _realise_inputs(store, evaluation, derivation, args, to_run=to_run)
        closures = Closures(evaluation.graph.derivations, outputs)
        for item in derivation.inputs:
            for digest in closures.trees(item):
                store.temporary_root(digest)
        with Workspace(store.root / ".build") as workspace:
            directory = workspace.directory(derivation.name)
            action = action_of(derivation, script, closures.trees)
            spec = stage(action, store, directory, jobs=args.jobs)

            def check_outputs() -> None:
                parts = prepare(store, action, directory)
                try:
                    needed = references(derivation, outputs)
                    check_run_time(store, evaluation.graph, derivation, parts["out"].tree, needed)
                finally:
                    for part in parts.values():
                        part.close()

            yield Room(derivation, spec, directory, check_outputs)


def _script_of(graph: DerivationGraph, each: DerivationId, name: str) -> DerivationId:
    """The step with a script behind a target: itself, or the source build among the alternatives of a choice."""
    derivation = graph.derivations[each]
    if isinstance(derivation.builder, Script):
        return each
    if isinstance(derivation.builder, Choice):
        return _script_of(graph, derivation.inputs[-1].derivation, name)
    raise NoSandboxError(
        f"'{name}' is not made by a script but by the step '{derivation.builder.kind}': it has no sandbox to enter",
        hint="'nexis-eval targets' lists what there is",
    )


def _realise_inputs(
    store: Store, evaluation: Evaluation, derivation: Derivation, args: argparse.Namespace, *, to_run: bool
) -> Mapping[DerivationId, Outputs]:
    from nexis_eval.engine import open_engine
    from nexis_eval.mirrors import default_mirrors
    from nexis_eval.realise import Options, Outcome
    from nexis_eval.ui.plain import PlainView

    roots = [*visible(evaluation.graph.derivations, derivation), *(derivation.runtime if to_run else ())]
    plan = make_plan(evaluation.graph, roots, store.realised, store.realisation)
    adopt_cut_off(store, evaluation.graph, plan)
    if not plan.pending:
        return plan.done

    options = Options(jobs=args.jobs, selection=selection(args))

    async def work() -> Outcome:
        mirrors = default_mirrors(evaluation.summary.mirrors)
        with PlainView(sys.stderr) as view:
            async with open_engine(store, mirrors, options, view) as engine:
                return await engine.realise(evaluation.graph, roots, plan)

    outcome = run_stoppable(work())
    if outcome.failed:
        raise InputsFailedError(
            f"{derivation.label} cannot be entered: {', '.join(outcome.failed)} failed to build",
            hint="to enter the build that failed, run the 'nexis-eval debug' command printed with the failure",
        )
    return outcome.outputs


def shell_startup(label: str, greeting: str) -> str:
    """What an interactive bash in a sandbox begins with; ``greeting`` is shell text that prints what is needed."""
    # Not \w, which is '~' for the directory that is most asked for: /build is the home of a build.
    prompt = shlex.quote("[" + label + r":$PWD]\$ ")
    return f"PS1={prompt}\nunset HISTFILE BASH_ENV\n{greeting}\n"
