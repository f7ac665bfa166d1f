"""Detection, cause and culprit on packages that are unreproducible on purpose, and silence on those that are not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nexis_eval.repro.check import CheckOptions, check
from nexis_eval.repro.report import Status, Subject
from nexis_eval.repro.vary import NAMES, Setup
from tests.eval.repro.elsewhere import elsewhere_now, expect_nothing_since
from tests.eval.repro.packages import CORPUS, Bench, Package, package, packages

QUICK = ("shell-date", "host-name", "clean-archive")
MIN_DETECTED, MIN_CAUSE = 0.95, 0.90


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def checked(bench: Bench, item: Package, rounds: int = 1) -> Subject:
    options = CheckOptions(rounds=rounds, bisect=True)
    return bench.run(lambda room: check(room, bench.recipe(item.name, item.script), "x86_64", options))


def causes(subject: Subject) -> set[str]:
    return {str(verdict.cause) for each in subject.differences for verdict in each.verdicts()}


def culprits(subject: Subject) -> set[str]:
    found: set[str] = set()
    for each in subject.differences:
        for verdict in each.verdicts():
            if verdict.culprits is not None:
                found |= set(verdict.culprits) or {"none"}
    return found


def test_the_corpus_is_large_and_well_described() -> None:
    found = packages()
    assert sum(not item.is_clean for item in found) >= 30
    assert sum(item.is_clean for item in found) >= 8
    for item in found:
        assert item.variations <= {*NAMES, "none"}, item.name


@pytest.mark.parametrize("name", QUICK)
def test_quickly(bench: Bench, name: str) -> None:
    item = package(CORPUS / f"{name}.sh")
    subject = checked(bench, item)
    if item.is_clean:
        assert subject.status is Status.SAME
        return
    assert subject.status is Status.DIFFERS
    assert causes(subject) <= item.causes
    assert culprits(subject) <= item.variations


def test_a_build_that_fails_when_varied_is_told_with_its_log(bench: Bench) -> None:
    script = 'test "$(uname -n)" = nexis || { echo "wrong host" >&2; exit 3; }\n: > /out/x\n'
    subject = bench.run(lambda room: check(room, bench.recipe("picky", script), "x86_64", CheckOptions()))
    assert subject.status is Status.FAILED
    assert "exit code 3" in subject.notes[0]
    assert "wrong host" in subject.notes


def test_pinned_builds_have_nothing_left_to_differ_in(bench: Bench) -> None:
    script = """mkdir /tmp/d; for i in a b c d e f g; do : > /tmp/d/$i; done
    { date +%s.%N; ls -U /tmp/d; head -c 16 /dev/urandom | od; echo $RANDOM $$; stat -c %Y /tmp/d/a; } > /out/all
    """

    async def twice(room) -> list[bytes]:  # type: ignore[no-untyped-def]
        setup = Setup(pinned=True, frozen_at=1_900_000_000)
        built = [await room.build(bench.recipe("pinned", script), setup) for _ in range(2)]
        return [(each.trees["out"].root / "all").read_bytes() for each in built]

    first, second = bench.run(twice)
    assert first == second
    assert first.splitlines()[0].startswith(b"1900000000.")


def test_nothing_is_left_behind(bench: Bench, tmp_path: Path) -> None:
    before = elsewhere_now()
    bench.run(lambda room: check(room, bench.recipe("tidy", ": > /out/x\n"), "x86_64", CheckOptions()))
    assert not [path for path in (bench.path / "work").iterdir() if path.is_dir()]
    expect_nothing_since(before)


@pytest.mark.slow
def test_the_whole_corpus(bench: Bench) -> None:
    """At least 95 % detected, at least 90 % with the right cause and culprit, no false alarm."""
    detected, named, traced, total = 0, 0, 0, 0
    misses = []
    for item in packages():
        if any(shutil.which(tool) is None for tool in item.needs):
            continue
        subject = checked(bench, item)
        if item.is_clean:
            assert subject.status is Status.SAME, f"false alarm on {item.name}: {subject}"
            continue
        total += 1
        detected += subject.status is Status.DIFFERS
        right = causes(subject) <= item.causes
        found = culprits(subject)
        named += right
        traced += bool(found) and found <= item.variations
        if not right or not found <= item.variations:
            misses.append((item.name, causes(subject), found))
    print(f"{total} packages: {detected} detected, {named} causes named, {traced} traced; misses: {misses}")
    assert total >= 30
    assert detected >= MIN_DETECTED * total, misses
    assert named >= MIN_CAUSE * total, misses
    assert traced >= MIN_CAUSE * total, misses
