"""One suite for every executor: the same actions, the same answers, whichever machine runs them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from nexis_eval.execute.action import (
    Action,
    BoundArchive,
    BoundFile,
    BoundTree,
    Layer,
    OutputDirectory,
)
from nexis_eval.execute.base import LANDING, Executor, Result
from nexis_eval.execute.local import LocalExecutor, this_machine
from nexis_eval.execute.workspace import Workspace
from nexis_eval.sandbox.spec import Limits
from nexis_eval.schedule.jobserver import TokenPool
from nexis_eval.schedule.memory import MemoryPool
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.realisation import Realisation
from nexis_store.store import Store
from nexis_store.tree import Attributes
from tests.eval.roots import make_root
from tests.eval.sandbox.rooms import require_sandbox


@dataclass
class Watch:
    """What an executor told."""

    usual_memory_bytes: int = 0
    starts: int = 0
    phases: list[str] = field(default_factory=list)
    began: asyncio.Event = field(default_factory=asyncio.Event)

    def started(self, log: Path | None) -> None:
        self.starts += 1
        self.began.set()

    def phase(self, name: str) -> None:
        self.phases.append(name)


@dataclass
class Scene:
    """A store with a root, and executors over it."""

    store: Store
    root: TreeDigest
    make: Callable[[Store, Workspace, TokenPool, int], Executor]

    def action(self, script: str, name: str = "action", **changes: object) -> Action:
        action = Action(
            name=name,
            label=f"{name}-1",
            root=(Layer(self.root, "/"),),
            binds=(BoundFile(f"set -eu\n{script}\n".encode(), "/in/script"),),
            argv=("/bin/bash", "/in/script"),
            env=(),
            outputs=(OutputDirectory("out", "", name),),
            platform=this_machine(),
        )
        return replace(action, **changes)

    def tree(self, **files: str) -> TreeDigest:
        with self.store.writer("tree") as writer:
            for name, text in files.items():
                writer.file(name, text.encode())
            return writer.commit().digest

    def run(self, work: Callable[[Executor], Awaitable[None]], jobs: int = 2) -> None:
        async def inside() -> None:
            with Workspace(self.store.root / ".build") as workspace, TokenPool(workspace.path, jobs) as tokens:
                executor = self.make(self.store, workspace, tokens, jobs)
                try:
                    await work(executor)
                finally:
                    await executor.close()

        asyncio.run(inside())

    def execute(self, action: Action, watch: Watch | None = None) -> tuple[Result, str, dict[str, Path]]:
        """Run and record; returns how it ended, what it printed, and its outputs in the store."""
        seen: list[tuple[Result, str]] = []

        async def work(executor: Executor) -> None:
            result = await executor.execute(action, watch or Watch())
            seen.append((result, result.log.read_text()))
            if result.ok and result.error is None:
                record(self.store, action.name, result)
            result.close()

        self.run(work)
        ((result, log),) = seen
        return result, log, {name: self.store.path(digest) for name, digest in result.outputs.items()}


def record(store: Store, name: str, result: Result) -> None:
    realisation = Realisation(BuildKey.of(name.encode()), DerivationId.of(name.encode()), name, dict(result.outputs))
    store.record_together([(tuple(result.pending.values()), realisation)])


def local(store: Store, workspace: Workspace, tokens: TokenPool, jobs: int) -> Executor:
    return LocalExecutor(store, workspace, tokens, MemoryPool(None), jobs=jobs)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_sandbox()
    return make_root(tmp_path_factory.mktemp("root"))


@pytest.fixture(params=[local], ids=["local"])
def scene(request: pytest.FixtureRequest, tmp_path: Path, root: Path) -> Iterator[Scene]:
    with Store.open(tmp_path / "store") as store:
        yield Scene(store, store.add_directory(root, "root").digest, request.param)


def test_an_output_is_a_tree_of_the_store(scene: Scene) -> None:
    watch = Watch()
    result, log, outputs = scene.execute(scene.action("mkdir /out/usr; echo text >/out/usr/a; echo said"), watch)
    assert result.ok and list(result.outputs) == ["out"]
    assert (outputs["out"] / "usr/a").read_text() == "text\n"
    assert log.endswith("said\n")
    assert (watch.starts, watch.phases[-1]) == (1, LANDING)


def test_the_same_action_comes_out_the_same(scene: Scene) -> None:
    action = scene.action("echo $HOSTNAME $(id -u) $TZ >/out/a; touch -d @$SOURCE_DATE_EPOCH /out/a; sleep 0.01")
    first, second = (scene.execute(replace(action, name=name))[0].outputs for name in ("one", "two"))
    assert first == second


def test_what_nobody_recorded_is_gone_when_the_result_is_closed(scene: Scene) -> None:
    async def work(executor: Executor) -> None:
        result = await executor.execute(scene.action("echo text >/out/a"), Watch())
        assert result.ok
        log = result.log
        result.close()
        assert not log.exists()
        assert not scene.store.has(result.outputs["out"])

    scene.run(work)


def test_inputs_are_shown_where_the_action_says(scene: Scene) -> None:
    tree, other = scene.tree(a="one", b="two"), scene.tree(a="hidden", c="three")
    script = "set -eu\ncat /in/tree/a /in/file /in/one /etc/a /etc/c\ncp /in/archive.tar /out/tar\n"
    result, log, _ = scene.execute(
        scene.action(
            "",
            binds=(
                BoundFile(script.encode(), "/in/script"),
                BoundTree(tree, "/in/tree"),
                BoundTree(tree, "/in/one", "b"),
                BoundFile(b"file", "/in/file"),
                BoundArchive(tree, "/in/archive.tar", "tar"),
            ),
            root=(Layer(tree, "/etc"), Layer(other, "/etc"), Layer(scene.root, "/")),
        )
    )
    assert result.ok, log
    assert log.endswith("onefiletwoonethree")


def test_inputs_cannot_be_changed(scene: Scene) -> None:
    tree = scene.tree(a="one")
    script = "! echo x >/in/tree/a; ! echo x >/usr/x; ! rm /in/tree/a"
    action = scene.action(script)
    result, log, _ = scene.execute(replace(action, binds=(*action.binds, BoundTree(tree, "/in/tree"))))
    assert result.ok, log
    assert (scene.store.path(tree) / "a").read_text() == "one"


def test_several_outputs_and_what_no_build_can_set(scene: Scene) -> None:
    action = scene.action(
        "echo tool >/out/out/tool; echo head >/out/dev/head",
        outputs=(OutputDirectory("out", "out", "two"), OutputDirectory("dev", "dev", "two-dev")),
        attributes=(("tool", Attributes(mode=0o4755, owner="daemon")),),
    )
    result, log, outputs = scene.execute(action)
    assert result.ok, log
    assert (outputs["dev"] / "head").read_text() == "head\n"
    entry = scene.store.manifest(result.outputs["out"]).get("tool")
    assert entry is not None
    assert (entry.attributes.mode, entry.attributes.owner) == (0o4755, "daemon")


def test_a_failure_has_its_exit_code_its_phase_and_no_outputs(scene: Scene) -> None:
    watch = Watch()
    script = "echo '@nexis phase configure' >&3; echo text >/out/a; echo why >&2; exit 7"
    result, log, outputs = scene.execute(scene.action(script), watch)
    assert (result.ok, result.run.exit_code, result.run.phase) == (False, 7, "configure")
    assert (outputs, log.splitlines()[-1], watch.phases) == ({}, "why", ["configure"])


def test_a_signal_is_told(scene: Scene) -> None:
    result, _, _ = scene.execute(scene.action("kill -SEGV $$"))
    assert result.run.exit_code == 139


def test_a_limit_ends_it_and_is_named(scene: Scene) -> None:
    result, _, outputs = scene.execute(scene.action("sleep 600", limits=Limits(wall_seconds=0.2)))
    assert not result.ok and outputs == {}
    assert result.run.reason == "it took longer than 0.2 s"


def test_there_is_no_network(scene: Scene) -> None:
    script = "! (exec 5<>/dev/tcp/192.0.2.1/80) 2>/dev/null; cat /proc/net/route"
    result, log, _ = scene.execute(scene.action(script))
    assert result.ok, log
    assert log.splitlines()[-1].startswith("Iface"), "a route"


def test_cancelling_ends_what_runs_and_leaves_nothing(scene: Scene) -> None:
    async def work(executor: Executor) -> None:
        watch = Watch()
        task = asyncio.ensure_future(executor.execute(scene.action("echo up >/out/a; sleep 600"), watch))
        await watch.began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        (place,) = (scene.store.root / ".build").glob("engine-*")
        assert not [path for path in place.iterdir() if path.is_dir()]
        again = await executor.execute(scene.action("echo again >/out/a", "again"), Watch())
        assert again.ok
        again.close()

    scene.run(work)


def test_no_more_run_at_a_time_than_there_is_capacity(scene: Scene) -> None:
    async def work(executor: Executor) -> None:
        assert executor.capacity.total == 1
        script = "date +'%s%N' >/out/began; sleep 0.05; date +'%s%N' >/out/ended"
        actions = [scene.action(script, f"n{number}") for number in range(4)]
        results = await asyncio.gather(*(executor.execute(action, Watch()) for action in actions))
        spans = []
        for number, result in enumerate(results):
            record(scene.store, f"n{number}", result)
            path = scene.store.path(result.outputs["out"])
            spans.append((int((path / "began").read_text()), int((path / "ended").read_text())))
            result.close()
        spans.sort()
        assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans))

    scene.run(work, jobs=1)


def test_what_cannot_be_landed_is_an_error_and_leaves_nothing(scene: Scene) -> None:
    result, _, outputs = scene.execute(scene.action("echo a >/out/a", attributes=(("b", Attributes(mode=0o700)),)))
    assert "which the tree does not have" in str(result.error)
    assert outputs == {}
    assert list((scene.store.root / ".build").iterdir()) == []
