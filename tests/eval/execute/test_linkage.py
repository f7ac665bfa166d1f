"""Installed trees with real ELF files, cut down to headers where the architecture is one no compiler here makes."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from nexis_eval.execute.linkage import MissingLibraryError, WrongArchitectureError, check_linkage
from nexis_eval.platforms import AARCH64, X86_64, Platform
from nexis_store.digest import TreeDigest
from nexis_store.store import Store


def elf(path: Path, machine: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    head = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
    path.write_bytes(head + struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 0, 0, 0, 64, 56, 0, 64, 0, 0))
    path.chmod(0o755)


def script(path: Path, first: str, mode: int = 0o755) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{first}\necho\n")
    path.chmod(mode)


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program and the library of its own that it needs; both need the C library."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    top = tmp_path_factory.mktemp("linked")
    (top / "x.c").write_text('#include <stdio.h>\nint hello(void) { return puts("hello"); }\n')
    (top / "main.c").write_text("int hello(void); int main(void) { return hello() < 0; }\n")
    for words in (("-shared", "-fPIC", "-Wl,-soname,libx.so.7", "x.c", "-o", "libx.so.7"), ("main.c", "libx.so.7")):
        subprocess.run(["gcc", *words], cwd=top, check=True)
    return top


class Check:
    """A package's tree under construction, and the packages of a system."""

    def __init__(self, store: Store, directory: Path) -> None:
        self.store, self.out = store, directory / "out"
        self.out.mkdir()
        self.packages: dict[str, TreeDigest] = {}

    def package(self, name: str, *paths: str, references: tuple[str, ...] = ()) -> None:
        with self.store.writer(name) as writer:
            for path in paths:
                writer.file(path, path.encode())
            self.packages[name] = writer.commit([self.packages[each] for each in references]).digest

    def run(self, *runtime: str, platform: Platform = X86_64, allowed: tuple[str, ...] = ()) -> None:
        check_linkage(
            self.store,
            "tool-1.0",
            self.out,
            platform,
            [self.packages[each] for each in runtime],
            allowed=allowed,
            packages=lambda: self.packages.items(),
        )


@pytest.fixture
def check(tmp_path: Path) -> Check:
    return Check(Store.open(tmp_path / "store"), tmp_path)


def install(check: Check, linked: Path, *names: str) -> None:
    for name in names:
        place = check.out / ("usr/bin/tool" if name == "a.out" else f"usr/lib/{name}")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(linked / name, place)


def test_what_is_needed_may_be_in_the_package_or_anywhere_in_the_closure(check: Check, linked: Path) -> None:
    install(check, linked, "a.out", "libx.so.7")
    check.package("libc", "usr/lib/libc.so.6", "usr/lib64/ld-linux-x86-64.so.2")
    check.package("middle", "usr/lib/libm.so.6", references=("libc",))
    check.run("middle")


def test_a_missing_library_is_named_with_the_file_and_the_package_that_has_it(check: Check, linked: Path) -> None:
    install(check, linked, "a.out")
    check.package("libc", "usr/lib/libc.so.6", "usr/lib64/ld-linux-x86-64.so.2")
    check.package("extra", "usr/lib/libx.so.7")
    with pytest.raises(MissingLibraryError) as caught:
        check.run("libc")
    assert caught.value.message == (
        "tool-1.0: its runtime_dependencies lack what it needs: /usr/bin/tool needs libx.so.7 (extra provides it)"
    )
    assert caught.value.hint == (
        'add runtime_dependencies = ["extra"]; or, if it can do without: allow_missing = ["libx.so.7"]'
    )


def test_a_library_that_nobody_has_and_a_loader_that_is_not_declared(check: Check, linked: Path) -> None:
    install(check, linked, "a.out")
    with pytest.raises(MissingLibraryError) as caught:
        check.run()
    assert "/usr/bin/tool needs libx.so.7 (no package of this system provides it)" in caught.value.message
    assert "/usr/bin/tool needs /lib64/ld-linux-x86-64.so.2" in caught.value.message
    assert caught.value.hint is not None
    assert 'name = "glibc" and debian = ["libc6"], then `nexis-eval lock`' in caught.value.hint


def test_what_is_allowed_to_be_missing_may_be(check: Check, linked: Path) -> None:
    install(check, linked, "a.out")
    check.run(allowed=("libx.so.*", "libc.so.6", "/lib64/*"))
    check.run(allowed=("/usr/bin/tool",))
    with pytest.raises(MissingLibraryError):
        check.run(allowed=("libx.so.*", "libc.so.6"))


def test_a_file_of_another_architecture_is_named(check: Check) -> None:
    elf(check.out / "usr/bin/tool", 183)
    check.run(platform=AARCH64)
    with pytest.raises(WrongArchitectureError) as caught:
        check.run()
    assert caught.value.message == "tool-1.0 was made for x86_64, but /usr/bin/tool is for aarch64"
    check.run(allowed=("/usr/bin/*",))


def test_bpf_programs_and_damaged_files_belong_to_no_architecture(check: Check) -> None:
    elf(check.out / "usr/lib/x.bpf.o", 247)
    (check.out / "usr/lib/damaged").write_bytes(b"\x7fELF")
    check.run()


@pytest.mark.parametrize(
    ("first", "needs"),
    [
        ("#!/usr/bin/python3 -I", "/usr/bin/python3"),
        ("#! /usr/bin/perl -w", "/usr/bin/perl"),
        ("#!/usr/bin/env ruby", "ruby"),
        ("#!/usr/bin/env -S LC_ALL=C awk -f", "awk"),
        ("#!/bin/sh", ""),
        ("#!/usr/bin/env sh", ""),
        ("#!", ""),
    ],
)
def test_the_interpreter_of_a_script_is_needed_unless_every_system_has_it(check: Check, first: str, needs: str) -> None:
    script(check.out / "usr/bin/tool", first)
    if not needs:
        check.run()
        return
    with pytest.raises(MissingLibraryError) as caught:
        check.run()
    assert f"/usr/bin/tool needs {needs} (no package" in caught.value.message
    check.package("language", f"usr/bin/{needs.rpartition('/')[2]}")
    check.run("language")


def test_scripts_that_are_data_need_nothing(check: Check) -> None:
    script(check.out / "usr/share/tool/example.pl", "#!/usr/bin/perl")
    script(check.out / "usr/bin/not-executable", "#!/usr/bin/perl", 0o644)
    check.run()
