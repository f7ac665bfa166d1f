"""The command line on what needs no build: files, directories, artifacts, stores, records."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nexis_eval.cli.repro_diff import MAX_DIFFOSCOPE_CHARACTERS
from nexis_eval.record import Record, keep
from nexis_eval.repro.record import encode_record
from nexis_store.store import Store
from tests.eval.repro.test_record import built, system


def repro(*arguments: object, store: Path | None = None, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("nexis-eval"), "repro", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "NEXIS_STORE": str(store or "/nonexistent"),
            **({"PATH": str(path)} if path else {}),
        },
    )


@pytest.fixture
def directories(tmp_path: Path) -> tuple[Path, Path]:
    first, second = tmp_path / "a", tmp_path / "b"
    for path, text in ((first, "1700000000"), (second, "1800000000")):
        (path / "etc").mkdir(parents=True)
        (path / "etc/stamp").write_text(text)
        (path / "etc/same").write_text("same")
    return first, second


def test_directories_and_exit_codes(directories: tuple[Path, Path]) -> None:
    first, second = directories
    same, differs = repro("diff", first, first), repro("diff", first, second)
    assert (same.returncode, differs.returncode) == (0, 1)
    assert "the same" in same.stdout
    assert "etc/stamp: content" in differs.stdout
    assert "cause: timestamp" in differs.stdout
    assert repro("diff", first, second / "etc/stamp").returncode == 2
    missing = repro("diff", first, "/no/such/thing")
    assert missing.returncode == 2
    assert "there is no /no/such/thing" in missing.stderr
    assert repro("diff", first).returncode == 2


def test_diffoscope_speaks_where_it_is_installed(directories: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = directories
    without = repro("diff", *directories, "--diffoscope", path=tmp_path / "empty")
    assert without.returncode == 1
    assert "diffoscope is not installed" in without.stdout
    program = tmp_path / "bin/diffoscope"
    program.parent.mkdir()
    # Its own command line is what is relied on: the two sides come last, the text goes to stdout, 1 means they differ.
    program.write_text(
        '#!/bin/sh\nfor each; do last=$before before=$each; done\necho "compared $last $before"; exit 1\n'
    )
    program.chmod(0o755)
    result = repro("diff", *directories, "--diffoscope", path=program.parent)
    assert result.returncode == 1
    assert f"compared {first} {second}" in result.stdout
    assert f"compared {first}" not in repro("diff", *directories, path=program.parent).stdout


@pytest.mark.peers
@pytest.mark.skipif(shutil.which("diffoscope") is None, reason="diffoscope is not installed")
def test_the_real_diffoscope_adds_what_it_sees(directories: tuple[Path, Path], tmp_path: Path) -> None:
    result = repro("diff", *directories, "--diffoscope")
    assert result.returncode == 1
    assert "--- " in result.stdout and "etc/stamp" in result.stdout.partition("cause:")[0]
    assert "│ -1700000000" in result.stdout and "│ +1800000000" in result.stdout
    for name, data in (("a.bin", os.urandom(400_000)), ("b.bin", os.urandom(400_000))):
        (tmp_path / name).write_bytes(data)
    limited = repro("diff", tmp_path / "a.bin", tmp_path / "b.bin", "--diffoscope")
    assert limited.returncode == 1
    assert "what else diffoscope says is left out" in limited.stdout
    assert len(limited.stdout) < 2 * MAX_DIFFOSCOPE_CHARACTERS
    assert "--- " not in repro("diff", directories[0], directories[0], "--diffoscope").stdout


def test_formats_to_a_file(directories: tuple[Path, Path], tmp_path: Path) -> None:
    result = repro("diff", *directories, "--format", "json", "-o", tmp_path / "report.json")
    assert result.returncode == 1
    assert result.stdout == ""
    assert json.loads((tmp_path / "report.json").read_text())["exit_code"] == 1


def test_files_are_opened(tmp_path: Path) -> None:
    import tarfile

    for name, mtime in (("a.tar", 5), ("b.tar", 6)):
        (tmp_path / "readme").write_text("text\n")
        os.utime(tmp_path / "readme", (mtime, mtime))
        with tarfile.open(tmp_path / name, "w") as archive:
            archive.add(tmp_path / "readme", arcname="readme")
    result = repro("diff", tmp_path / "a.tar", tmp_path / "b.tar")
    assert result.returncode == 1
    assert "readme: metadata" in result.stdout
    assert "mtime: 5 → 6" in result.stdout


def test_images_are_opened_down_to_the_text_that_differs(tmp_path: Path) -> None:
    """An ISO with a squashfs in it, as the engine makes them, made by the usual tools."""
    if shutil.which("xorriso") is None or shutil.which("mksquashfs") is None:
        pytest.skip("needs xorriso and mksquashfs")
    for name, text in (("one", "an old text\n"), ("two", "a new text\n")):
        (tmp_path / name / "root/etc").mkdir(parents=True)
        (tmp_path / name / "iso").mkdir()
        (tmp_path / name / "root/etc/banner").write_text(text)
        commands = (
            "mksquashfs root iso/root.squashfs -quiet -no-progress -all-time 1 -mkfs-time 1",
            f"xorriso -as mkisofs -quiet -R -o ../{name}.iso iso",
        )
        for command in commands:
            subprocess.run(command.split(), cwd=tmp_path / name, check=True, capture_output=True)
    result = repro("diff", tmp_path / "one.iso", tmp_path / "two.iso")
    assert result.returncode == 1
    assert "root.squashfs > etc/banner" in result.stdout
    assert "-an old text" in result.stdout and "+a new text" in result.stdout
    assert repro("diff", tmp_path / "one.iso", tmp_path / "one.iso").returncode == 0


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Path, Path]:
    """Two stores that built the same system, the second with another banner; their records beside them."""
    hook = tmp_path / "hook.sh"
    hook.write_text("echo hook\n")
    for name, banner in (("one", "hello"), ("two", "goodbye")):
        with Store.open(tmp_path / name) as store:
            record = built(store, system(hook, banner))
            (tmp_path / f"{name}.json").write_text(encode_record(record))
            outputs = {each: step.outputs for each, step in record.steps.items()}
            keep(store, Record(record.graph, outputs), "demo", "x86_64")
    return tmp_path / "one", tmp_path / "two"


@pytest.mark.parametrize("how", ["stores", "records", "roots"])
def test_builds(stores: tuple[Path, Path], tmp_path: Path, how: str) -> None:
    first, second = stores
    if how == "stores":
        result = repro("diff", first, second)
    elif how == "records":
        result = repro("diff", tmp_path / "one.json", tmp_path / "two.json", store=first)
    else:
        result = repro("diff", "builds/demo-x86_64", "--against", second, store=first)
    assert result.returncode == 1, result.stderr
    lines = result.stdout.splitlines()
    marks = [line.split()[:2] for line in lines if line and line[0] in "✗↳✓!"]
    assert marks == [["✗", "banner"], ["↳", "base"], ["↳", "system"]]
    assert "3 of 3 differ, 2 of them only as a consequence" in lines[-1]


def test_against_never_compares_a_thing_with_itself(stores: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = stores
    one = tmp_path / "one.json"
    assert repro("diff", one, "--against", first).returncode == 0
    for mine in (one, first):
        differs = repro("diff", mine, "--against", second)
        assert (differs.returncode, "✗ banner" in differs.stdout) == (1, True), differs.stderr
    Store.open(tmp_path / "empty").close()
    for mine, there, told in (
        (one, tmp_path / "nothing", "there is no store or binary cache at"),
        (one, tmp_path, "there is no store or binary cache at"),
        (one, tmp_path / "empty", "has no build of demo-x86_64"),
        (tmp_path / "hook.sh", second, "it cannot be looked up in another store"),
        ("", second, "a variable of your script empty"),
    ):
        result = repro("diff", mine, "--against", there)
        assert (result.returncode, told in result.stderr) == (2, True), result.stderr


def test_what_cannot_be_written_is_told_before_anything_is_built(stores: tuple[Path, Path], tmp_path: Path) -> None:
    one, taken = tmp_path / "one.json", tmp_path / "hook.sh"
    example = Path(__file__).parents[3] / "examples/minimal"
    for words in (
        ("diff", one, one, "-o", tmp_path),
        ("diff", one, one, "-o", taken / "report.html"),
        ("rebuild", one, "--result", taken),
        ("check", example, "--keep", taken),
        ("check", example, "-o", taken / "report.html"),
        ("record", example, "-o", tmp_path),
        ("record", example, "-o", "/proc/record.json"),
        ("record", example, "-o", one, "--provenance", one),
        ("record", example, "-o", tmp_path / "new.json", "--cache", taken),
    ):
        result = repro(*words, store=tmp_path / "none")
        assert (result.returncode, "R0006" in result.stderr) == (2, True), (words, result.stderr)
    result = repro("record", example, "--sign", tmp_path / "key", store=tmp_path / "none")
    assert (result.returncode, "there is no key" in result.stderr) == (2, True), result.stderr
    assert not (tmp_path / "none").exists()


def test_what_is_no_record_store_or_file(stores: tuple[Path, Path], tmp_path: Path) -> None:
    one, odd = tmp_path / "one.json", tmp_path / "odd.json"
    for text in ('{"format":"nexis record 2","x":' + "[" * 200_000, one.read_text()[:5000], '{"nexis record'):
        odd.write_text(text)
        for words in (("diff", odd, one), ("rebuild", odd)):
            result = repro(*words, store=stores[0])
            assert (result.returncode, "R0003" in result.stderr) == (2, True), result.stderr
    os.mkfifo(tmp_path / "fifo")
    for mine, told in (
        (tmp_path / "fifo", "neither a file nor a directory"),
        ("nosuch.json", "there is no file nosuch.json"),
        ("x" * 400 + ".json", "cannot be read"),
    ):
        result = repro("diff", mine, one, store=stores[0])
        assert (result.returncode, told in result.stderr) == (2, True), result.stderr


def test_what_follows_is_explained_once(stores: tuple[Path, Path], tmp_path: Path) -> None:
    told = repro("diff", *stores).stdout.partition("↳")[2]
    assert "follows from banner" in told
    assert "cause:" not in told and "cure:" not in told


def test_targets_that_were_built_alone(stores: tuple[Path, Path]) -> None:
    first, second = stores
    with Store.open(first) as store:
        record = store.roots()["builds/demo-x86_64"]
        store.set_root("builds/demo-x86_64:system", record)
        store.set_root("builds/other-x86_64:system", record)
    assert "other-x86_64:system" in repro("diff", first, second).stdout
    with Store.open(first) as store:
        store.remove_root("builds/other-x86_64:system")
    # Beside the build of their system they are no builds that the other store lacks.
    result = repro("diff", first, second)
    assert result.returncode == 1
    assert "3 of 3 differ, 2 of them only as a consequence" in result.stdout
    assert repro("diff", "builds/demo-x86_64:system", "builds/demo-x86_64", store=first).returncode == 0


def test_a_record_and_the_store_that_it_is_not_of(stores: tuple[Path, Path], tmp_path: Path) -> None:
    same = repro("diff", tmp_path / "one.json", stores[0])
    assert (same.returncode, same.stdout.splitlines()[-1]) == (0, "the same")
    differs = repro("diff", tmp_path / "one.json", stores[1])
    assert differs.returncode == 1
    assert "3 of 3 differ, 2 of them only as a consequence" in differs.stdout


def test_a_record_of_another_version_cannot_be_compared(stores: tuple[Path, Path], tmp_path: Path) -> None:
    record = tmp_path / "one.json"
    record.write_text(record.read_text().replace('"nexis record 2"', '"nexis record 1"'))
    for command in (("diff", record, stores[0]), ("rebuild", record)):
        result = repro(*command)
        assert result.returncode == 2
        assert f"{record} was made by an older version of this program" in result.stderr
    (tmp_path / "no-text").write_bytes(bytes(range(256)))
    for path, told in (("no-text", "is no record"), ("missing", "cannot be read: No such file")):
        result = repro("rebuild", tmp_path / path)
        assert (result.returncode, told in result.stderr) == (2, True)


def test_a_store_of_another_version_is_told(stores: tuple[Path, Path]) -> None:
    with Store.open(stores[0]) as store:
        with store.writer("demo-x86_64-record") as writer:
            writer.file("record.json", b'{"format": 0, "targets": {}, "derivations": {}, "outputs": {}}')
            digest = writer.commit().digest
        store.set_root("builds/demo-x86_64", digest)
    result = repro("diff", *stores)
    assert result.returncode == 2
    assert "builds/demo-x86_64 was recorded by another version of this program" in result.stderr
    assert "build demo for x86_64 again" in result.stderr


def test_a_store_equals_itself(stores: tuple[Path, Path]) -> None:
    result = repro("diff", stores[0], stores[0])
    assert result.returncode == 0, result.stdout
    marks = [line.split()[:3] for line in result.stdout.splitlines() if line.startswith("✓")]
    assert marks == [["✓", "system", "same"]]


def test_artifacts_by_digest_and_name(stores: tuple[Path, Path]) -> None:
    first, second = stores
    result = repro("diff", "motd", "--against", second, store=first)
    assert result.returncode == 0, result.stderr
    result = repro("diff", "banner", "--against", second, store=first)
    assert result.returncode == 1
    assert "-hello" in result.stdout and "+goodbye" in result.stdout


def test_what_is_to_be_checked_is_checked_first() -> None:
    listing = repro("check", "--vary", "help")
    assert listing.returncode == 0
    assert "timezone" in listing.stdout
    downloaded = repro("check", "examples/packages", "go-blackfriday")
    assert downloaded.returncode == 2
    assert "R0008" in downloaded.stderr
    wrong = repro("check", "--vary", "tme")
    assert wrong.returncode == 2
    assert "did you mean 'time'?" in wrong.stderr
    for option in ("--rounds=0", "--jobs=many"):
        nothing = repro("check", "examples/minimal", "zlib", option)
        assert (nothing.returncode, "is not a positive integer" in nothing.stderr) == (2, True), option


def test_options_may_stand_anywhere_and_commands_are_suggested() -> None:
    example = Path(__file__).parents[3] / "examples/minimal"
    result = repro("check", example, "--rounds", "1", "nosuch", "--vary", "time")
    assert (result.returncode, "this system has no target 'nosuch'" in result.stderr) == (2, True)
    result = repro("chek", example)
    assert (result.returncode, "did you mean 'check'?" in result.stderr) == (2, True)
    assert "  rebuild  build again what a record describes" in repro("--help").stdout
    assert "exit codes: 0 everything is the same" in repro("check", "--help").stdout
