"""The engine with a real store and a real sandbox: cutoff, failures, fallbacks, interruption."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tomli

from nexis_eval import events
from nexis_eval.engine import open_engine
from nexis_eval.execute import committer
from nexis_eval.execute.adopt import adopt_cut_off
from nexis_eval.execute.linkage import MissingLibraryError
from nexis_eval.graph.dag import DerivationGraph, GraphBuilder, layers
from nexis_eval.graph.derivation import Choice, Derivation, Entry, Fetch, Files, Input, Script, Union, Use
from nexis_eval.mirrors import Mirrors
from nexis_eval.realise import Options, Outcome
from nexis_eval.schedule.plan import Plan, make_plan
from nexis_store.digest import DerivationId
from nexis_store.queries import built_from
from nexis_store.store import Store
from tests.eval.roots import make_root, root_derivation
from tests.eval.sandbox.rooms import require_sandbox


@dataclass
class Bench:
    """A store, and a graph under construction whose scripts find bash and a few tools."""

    store: Store
    root: Path
    seen: list[events.Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.fresh()

    def fresh(self) -> None:
        """Begin another graph over the same store."""
        self.builder = GraphBuilder()
        self.tools = self.builder.add(root_derivation(self.root))
        self.seen = []

    def script(self, name: str, text: str, inputs: tuple[DerivationId, ...] = (), **fields: object) -> DerivationId:
        binds = tuple(Input(each, Use.BIND, f"/in/{index}") for index, each in enumerate(inputs))
        derivation = Derivation(
            name, Script("set -eu\n" + text), platform="x86_64", inputs=(*binds, *layers([self.tools])), **fields
        )
        return self.builder.add(derivation)

    def graph(self) -> DerivationGraph:
        return self.builder.finish(lambda arguments: (arguments[0], ()))

    def plan(self, *roots: DerivationId) -> Plan:
        return make_plan(self.graph(), roots, self.store.realised, self.store.realisation)

    async def realise(self, *roots: DerivationId, options: Options | None = None) -> Outcome:
        plan = self.plan(*roots)
        async with open_engine(self.store, Mirrors({}), options or Options(jobs=2), self.seen.append) as engine:
            return await engine.realise(self.graph(), roots, plan)

    def build(self, *roots: DerivationId, options: Options | None = None) -> Outcome:
        return asyncio.run(self.realise(*roots, options=options))

    def text(self, each: DerivationId, path: str) -> str:
        known = self.store.realised(each)
        assert known is not None
        return (self.store.path(known.outputs["out"]) / path).read_text()

    def events(self, kind: type[events.Event]) -> list[events.Event]:
        return [each for each in self.seen if isinstance(each, kind)]

    def started(self) -> list[str]:
        return [each.label for each in self.seen if isinstance(each, events.StepStarted) and each.kind == "script"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_sandbox()
    return make_root(tmp_path_factory.mktemp("root"))


@pytest.fixture
def bench(tmp_path: Path, root: Path) -> Iterator[Bench]:
    with Store.open(tmp_path / "store") as store:
        yield Bench(store, root)


def test_builds_what_is_asked_and_nothing_twice(bench: Bench) -> None:
    first = bench.script("first", "mkdir -p /out/usr; echo one >/out/usr/a")
    second = bench.script("second", "mkdir -p /out/usr; cat /in/0/usr/a >/out/usr/b; echo two >>/out/usr/b", (first,))
    outcome = bench.build(second)
    assert outcome.failed == ()
    assert bench.text(second, "usr/b") == "one\ntwo\n"
    assert bench.started() == ["first", "second"]
    assert not bench.plan(second).pending
    assert list((bench.store.root / ".build").iterdir()) == []


def test_a_damaged_input_is_not_built_from(bench: Bench) -> None:
    first = bench.script("first", "mkdir -p /out/usr; echo one >/out/usr/a")
    third = bench.script("third", "mkdir -p /out/usr; cat /in/0/usr/a >/out/usr/c", (first,))
    assert bench.build(third).failed == ()
    known = bench.store.realised(first)
    assert known is not None
    file = bench.store.path(known.outputs["out"]) / "usr/a"
    file.chmod(0o644)
    file.write_text("two\n")
    file.chmod(0o444)
    second = bench.script("second", "mkdir -p /out/usr; cat /in/0/usr/a >/out/usr/b", (first,))
    # A process that has used the tree before looks no second time.
    with Store.open(bench.store.root) as store:
        bench.store = store
        assert bench.build(second).failed == ("second",) and "usr/a is damaged" in str(bench.seen)
        assert store.realised(second) is None
        assert [build.name for build in built_from(store, known.outputs.values())] == ["third"]


def test_an_output_that_is_gone_from_the_disk_is_built_again(bench: Bench) -> None:
    first = bench.script("first", "mkdir -p /out/usr; echo one >/out/usr/a")
    assert bench.build(first).failed == ()
    known = bench.store.realised(first)
    assert known is not None
    place = bench.store.path(known.outputs["out"])
    shutil.rmtree(place)
    bench.seen = []
    assert bench.build(first).failed == () and bench.started() == ["first"]
    assert (place / "usr/a").read_text() == "one\n" and list(bench.store.verify(contents=True)) == []


def test_unchanged_output_cuts_off_what_follows(bench: Bench) -> None:
    def graph(comment: str) -> DerivationId:
        bench.fresh()
        first = bench.script("first", f"mkdir -p /out/usr; echo one >/out/usr/a # {comment}")
        return bench.script("second", "mkdir -p /out/usr; cp /in/0/usr/a /out/usr/b", (first,))

    bench.build(graph("one comment"))
    outcome = bench.build(graph("another comment"))
    assert bench.started() == ["first"]
    assert (outcome.built, outcome.cut_off) == (1, 1)
    (finished,) = [each for each in bench.seen if isinstance(each, events.StepFinished)]
    assert finished.unchanged
    assert not bench.plan(graph("another comment")).pending


def test_how_long_writing_a_file_took_says_nothing_of_building_it(bench: Bench) -> None:
    def expected(made: DerivationId) -> int | None:
        assert bench.build(made).exit_code == 0
        started = [each for each in bench.seen if isinstance(each, events.StepStarted) and each.label == "thing"]
        bench.fresh()
        return started[-1].expected_ns

    def file(text: str) -> DerivationId:
        return bench.builder.add(Derivation("thing", Files((Entry("etc/thing", text=text),)), platform="x86_64"))

    assert expected(file("one")) is None
    assert expected(file("two"))
    assert expected(bench.script("thing", "echo built >/out/thing\n")) is None
    assert expected(bench.script("thing", "echo built again >/out/thing\n"))


def test_a_failure_tells_phase_log_and_what_it_blocks(bench: Bench) -> None:
    text = "echo '@nexis phase configure' >&3\necho checking for luck... no\nmkdir /out/usr\nexit 7"
    broken = bench.script("broken", text, version="1.0")
    user = bench.script("user", "mkdir /out/usr", (broken,))
    outcome = bench.build(user)
    assert outcome.failed == ("broken-1.0",)
    (failure,) = [each for each in bench.seen if isinstance(each, events.StepFailed)]
    assert failure.phase == "configure"
    assert failure.log_tail[-1] == "checking for luck... no"
    assert failure.blocked == ("user",)
    assert "broken-1.0 failed in phase 'configure': exit code 7" in failure.message
    assert bench.store.realised(broken) is None


def test_a_failure_is_not_remembered(bench: Bench, tmp_path: Path) -> None:
    marker = Entry("usr/ok", text="no")
    inputs = bench.builder.add(Derivation("switch", Files((marker,)), platform="x86_64"))
    broken = bench.script("broken", "[ -e /in/0/usr/fixed ]; mkdir /out/usr", (inputs,))
    assert bench.build(broken).failed
    assert bench.build(broken).failed
    assert bench.started() == ["broken", "broken"]


def test_keep_going_builds_the_rest(bench: Bench) -> None:
    broken = bench.script("broken", "exit 1")
    good = bench.script("good", "mkdir /out/usr; touch /out/usr/good")
    outcome = bench.build(broken, good, options=Options(jobs=1, keep_going=True))
    assert outcome.failed == ("broken",)
    assert bench.store.realised(good) is not None


def test_a_vendor_binary_that_cannot_be_had_is_replaced(bench: Bench) -> None:
    archive = Derivation(
        "tool-prebuilt-archive", Fetch(("file:///nowhere/tool.tar",), "sha256", "0" * 64, "tool.tar"), platform="x86_64"
    )
    fetched = bench.builder.add(archive)
    prebuilt = bench.script("tool-prebuilt", "cp -r /in/0 /out/usr", (fetched,))
    source = bench.script("tool", "mkdir -p /out/usr; echo from source >/out/usr/tool")
    choice = bench.builder.add(
        Derivation(
            "tool",
            Choice(),
            platform="x86_64",
            inputs=(Input(prebuilt, Use.LAYER, "/"), Input(source, Use.LAYER, "/")),
        )
    )
    user = bench.script("user", "mkdir /out/usr; cp /in/0/usr/tool /out/usr/copy", (choice,))
    outcome = bench.build(user)
    assert outcome.failed == ()
    assert bench.text(user, "usr/copy") == "from source\n"
    known = bench.store.realised(choice)
    assert known is not None
    assert known.origin == "fallback"
    assert "cannot fetch tool.tar" in known.note
    (told,) = [each for each in bench.seen if isinstance(each, events.StepFailed)]
    assert told.replaced
    assert not bench.plan(user).pending


def test_a_vendor_binary_that_is_there_is_taken_and_the_source_left_alone(bench: Bench) -> None:
    prebuilt = bench.script("tool-prebuilt", "mkdir -p /out/usr; echo vendor >/out/usr/tool")
    source = bench.script("tool", "exit 1")
    choice = bench.builder.add(
        Derivation(
            "tool",
            Choice(),
            platform="x86_64",
            inputs=(Input(prebuilt, Use.LAYER, "/"), Input(source, Use.LAYER, "/")),
        )
    )
    assert bench.build(choice).failed == ()
    assert bench.text(choice, "usr/tool") == "vendor\n"
    assert bench.started() == ["tool-prebuilt"]


def test_cancelling_stops_builds_at_once_and_leaves_nothing(bench: Bench) -> None:
    slow = bench.script("slow", "echo started >&2; sleep 98731; mkdir /out/usr")
    quick = bench.script("quick", "mkdir -p /out/usr; echo done >/out/usr/quick")

    async def work() -> None:
        task = asyncio.create_task(bench.realise(slow, quick))
        while not any(isinstance(each, events.StepFinished) and each.label == "quick" for each in bench.seen):
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    assert list((bench.store.root / ".build").iterdir()) == []
    assert bench.store.realised(quick) is not None
    assert bench.store.realised(slow) is None


def test_an_impatient_person_changes_nothing(bench: Bench) -> None:
    """Cancelled again while it is ending, it still ends its builds before it lets go of the pool and the workspace."""
    slow = bench.script("slow", "trap '' TERM; sleep 60")

    async def work() -> None:
        task = asyncio.create_task(bench.realise(slow))
        while not bench.started():
            await asyncio.sleep(0.02)
        for _ in range(5):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work())
    assert list((bench.store.root / ".build").iterdir()) == []


def test_what_a_dead_engine_left_is_removed(bench: Bench) -> None:
    orphan = bench.store.root / ".build" / "engine-dead"
    (orphan / "build").mkdir(parents=True)
    (orphan / "lock").touch()
    (orphan / "build").chmod(0o555)
    bench.build(bench.script("any", "mkdir /out/usr"))
    assert not orphan.exists()


def test_a_failed_build_is_kept_for_a_look(bench: Bench) -> None:
    broken = bench.script("broken", "echo traces >/build/traces; exit 1")
    bench.build(broken, options=Options(keep_failed=True))
    (failure,) = [each for each in bench.seen if isinstance(each, events.StepFailed)]
    kept = Path(failure.hint.rpartition("its directory was kept, for you to remove: ")[2])
    assert (kept / "build" / "traces").read_text() == "traces\n"


def test_a_tree_deeper_than_a_path_may_name_is_removed(bench: Bench) -> None:
    # 1,900 levels fit into one path as the build sees it, and not into one as the engine does.
    bench.build(bench.script("deep", "mkdir -p $(printf 'd/%.0s' {1..1900}); exit 1"))
    assert list((bench.store.root / ".build").iterdir()) == []


def test_unions_name_both_owners_of_a_path(bench: Bench) -> None:
    one = bench.builder.add(Derivation("one", Files((Entry("etc/motd", text="1"),)), platform="x86_64"))
    two = bench.builder.add(Derivation("two", Files((Entry("etc/motd", text="2"),)), platform="x86_64"))
    both = bench.builder.add(Derivation("both", Union(), platform="x86_64", inputs=tuple(layers([one, two]))))
    assert bench.build(both).failed == ("both",)
    (failure,) = [each for each in bench.seen if isinstance(each, events.StepFailed)]
    assert "one" in failure.message
    assert "two" in failure.message
    assert "etc/motd" in failure.message


def system_of(bench: Bench, *parts: DerivationId, winners: tuple[tuple[str, str], ...] = ()) -> DerivationId:
    """The union of packages, as a system has it."""
    union = Union(winners=winners, exclude=("boot",))
    return bench.builder.add(Derivation("packages", union, platform="x86_64", inputs=tuple(layers(parts))))


def package(bench: Bench, name: str, *paths: str) -> DerivationId:
    entries = tuple(Entry(path, text=name) for path in sorted(paths))
    return bench.builder.add(Derivation(name, Files(entries), version="1.0", platform="x86_64"))


@pytest.mark.parametrize("keep_going", [False, True])
@pytest.mark.parametrize("realised", [False, True])
def test_contested_paths_are_told_at_once_and_before_a_build(bench: Bench, realised: bool, keep_going: bool) -> None:
    one = package(bench, "one", "usr/bin/a", "usr/bin/b", "usr/bin/c", 'usr/"x\\y')
    two = package(bench, "two", "usr/bin/a", "usr/bin/b", "usr/bin/d", 'usr/"x\\y')
    if realised:
        bench.build(one, two)
        bench.seen.clear()
    slow = bench.script("slow", "echo slow >/out/c")
    other = bench.script("other", "echo other >/out/other")
    system = system_of(bench, one, two, slow, winners=(("usr/bin/b", "one"),))
    outcome = bench.build(system, other, options=Options(jobs=1, keep_going=keep_going))
    assert (outcome.failed, outcome.exit_code) == (("packages",), 2)
    # What could only be told beside other steps is told as soon as those have ended.
    assert "slow" not in bench.started() or not realised or keep_going
    (failure,) = [each for each in bench.seen if isinstance(each, events.StepFailed)]
    table = tomli.loads(failure.message[failure.message.index("[conflicts]") :])
    assert table == {"conflicts": {"/usr/bin/a": "two", '/usr/"x\\y': "two"}}
    assert (bench.store.realised(other) is not None) == keep_going or not realised


def test_what_was_told_early_may_lose_its_other_inputs_too(bench: Bench) -> None:
    one, two = package(bench, "one", "a"), package(bench, "two", "a")
    bench.build(one, two)
    bad = bench.script("bad", "exit 1")
    outcome = bench.build(system_of(bench, one, two, bad), options=Options(jobs=2, keep_going=True))
    assert outcome.failed == ("packages", "bad")
    assert outcome.exit_code == 2


def test_the_winner_of_a_path_is_named_without_its_version(bench: Bench) -> None:
    parts = [
        bench.builder.add(Derivation(name, Files((Entry("etc/motd", text=name),)), version="1.0", platform="x86_64"))
        for name in ("one", "two", "three")
    ]
    union = Union(winners=(("etc/motd", "two"),))
    both = bench.builder.add(Derivation("both", union, platform="x86_64", inputs=tuple(layers(parts))))
    assert bench.build(both).failed == ()
    assert bench.text(both, "etc/motd") == "two"


def test_makes_share_the_tokens_of_one_pool(bench: Bench) -> None:
    lines = ["all: a b c d", *(f"{name}: ; @echo {name}" for name in "abcd")]
    makefile = "\n".join(lines)
    text = f"mkdir /out/usr; cat >Makefile <<'END'\n{makefile}\nEND\nmake >/out/usr/log 2>&1; cat /out/usr/log >&2"
    both = bench.script("one", text), bench.script("two", text)
    assert bench.build(*both).failed == ()
    for each in both:
        # Anything else would be make's complaint that it cannot reach the pool.
        assert sorted(bench.text(each, "usr/log").split()) == ["a", "b", "c", "d"]


def test_wide_graphs_run_side_by_side(bench: Bench) -> None:
    many = [bench.script(f"n{index}", f"mkdir /out/usr; echo {index} >/out/usr/n") for index in range(40)]
    inputs = tuple(Input(each, Use.BIND, f"/in/{index}") for index, each in enumerate(many))
    top = bench.builder.add(
        Derivation("top", Script("mkdir /out/usr"), platform="x86_64", inputs=(*inputs, *layers([bench.tools])))
    )
    outcome = bench.build(top)
    assert outcome.built == 42


def test_a_chain_does_not_wait_for_company(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody else can be built beside is committed at once."""
    monkeypatch.setattr(committer, "MAX_WAIT_SECONDS", 86400)
    entry = Entry("etc/n", text="0")
    last = bench.builder.add(Derivation("n0", Files((entry,)), platform="x86_64"))
    for index in range(1, 60):
        last = bench.builder.add(Derivation(f"n{index}", Union(), platform="x86_64", inputs=tuple(layers([last]))))
    assert bench.build(last).built == 60


def needing(bench: Bench, *runtime: str) -> tuple[DerivationId, dict[str, DerivationId]]:
    """A fresh graph: a program that a rule made, and what it needs at run time, of which ``python9`` is the one."""
    bench.fresh()
    others = {
        name: bench.builder.add(Derivation(name, Files((Entry(f"usr/bin/{name}", text=name, mode=0o755),)), "x86_64"))
        for name in ("python9", "helper")
    }
    text = "mkdir -p /out/usr/bin; printf '#!/usr/bin/python9\\n' >/out/usr/bin/tool; chmod 755 /out/usr/bin/tool"
    tool = Derivation(
        "tool",
        Script(text, call=(text,)),
        platform="x86_64",
        inputs=tuple(layers([bench.tools])),
        runtime=tuple(others[name] for name in runtime),
    )
    return bench.builder.add(tool), others


def adopt(bench: Bench, *roots: DerivationId) -> Plan:
    plan = bench.plan(*roots)
    adopt_cut_off(bench.store, bench.graph(), plan)
    return plan


def test_run_time_needs_that_are_new_are_kept_although_nothing_is_built(bench: Bench) -> None:
    tool, others = needing(bench, "python9")
    assert bench.build(tool).built
    known = bench.store.realised(tool)
    assert known is not None
    out = known.outputs["out"]
    tool, others = needing(bench, "python9", "helper")
    bench.build(others["helper"])
    assert not adopt(bench, tool).pending
    needed = {bench.store.realised(each).outputs["out"] for each in others.values()}  # type: ignore[union-attr]
    assert set(bench.store.references(out)) == needed
    bench.store.set_root("tool", out)
    bench.store.session.close()  # and with it what this process keeps
    bench.store.execute_gc(bench.store.plan_gc())
    assert all(map(bench.store.has, needed))


def test_run_time_needs_that_are_new_and_not_yet_made_are_kept_too(bench: Bench) -> None:
    tool, _ = needing(bench, "python9")
    bench.build(tool)
    tool, others = needing(bench, "python9", "helper")
    outcome = bench.build(tool)
    assert (outcome.cut_off, bench.started()) == (1, [])
    known = bench.store.realised(tool)
    helper = bench.store.realised(others["helper"])
    assert known is not None
    assert helper is not None
    assert helper.outputs["out"] in bench.store.references(known.outputs["out"])


def test_what_lost_a_run_time_need_is_checked_again_although_nothing_is_built(bench: Bench) -> None:
    tool, _ = needing(bench, "python9")
    bench.build(tool)
    tool, _ = needing(bench, "helper")
    outcome = bench.build(tool)
    assert outcome.failed == ("tool",)
    (failure,) = bench.events(events.StepFailed)
    assert isinstance(failure, events.StepFailed)
    assert "/usr/bin/tool needs /usr/bin/python9" in failure.message
    tool, _ = needing(bench)
    with pytest.raises(MissingLibraryError, match="/usr/bin/tool needs /usr/bin/python9"):
        adopt(bench, tool)
    assert bench.store.realised(tool) is None
