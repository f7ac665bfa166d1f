"""The packages of examples/packages, built for an architecture and run there: under QEMU where it is a foreign one.

They are built in $NEXIS_STORE, or in the default store, so that nothing is compiled twice.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from nexis_eval.config.load import load
from nexis_eval.platforms import PLATFORMS, Platform

SYSTEM = Path(__file__).resolve().parents[2] / "examples" / "packages" / "system.toml"
pytestmark = pytest.mark.cross

RUNS: tuple[tuple[str, Sequence[str], str], ...] = (
    ("bash", ("/usr/bin/bash", "-c", "echo $MACHTYPE"), "{arch}-"),
    ("bzip2", ("/usr/bin/bzip2", "--help"), "1.0.8"),
    ("curl", ("/usr/bin/curl", "--version"), "mbedTLS/2.28.3"),
    ("e2fsprogs", ("/usr/sbin/mke2fs", "-V"), "1.47.0"),
    ("fuse3", ("/usr/bin/fusermount3", "--version"), "3.14.0"),
    ("go-md2man", ("/usr/bin/go-md2man", "-in", "/input", "-out", "/dev/stdout"), ".TH NAME"),
    ("jq", ("/usr/bin/jq", ".a", "/input.json"), "42"),
    ("less", ("/usr/bin/less", "--version"), "PCRE2"),
    ("lz4", ("/usr/bin/lz4", "--version"), "1.9.4"),
    ("nano", ("/usr/bin/nano", "--version"), "7.2"),
    ("ncurses", ("/usr/bin/tic", "-V"), "6.4"),
    ("pkgconf", ("/usr/bin/pkgconf", "--version"), "1.8.1"),
    ("sqlite", ("/usr/bin/sqlite3", ":memory:", "select 6 * 7"), "42"),
    ("strace", ("/usr/bin/strace", "-V"), "6.1"),
    ("tree", ("/usr/bin/tree", "--version"), "2.1.0"),
    ("vim", ("/usr/bin/vim", "--version"), "NexisOS"),
    ("xz", ("/usr/bin/xz", "--version"), "5.4.1"),
    ("zstd", ("/usr/bin/zstd", "--version"), "1.5.4"),
)
LIBRARIES = ("expat", "json-c", "mbedtls", "oniguruma", "pcre2", "readline", "glibc")
OTHERS = ("busybox", "perl-json", "python-toml", "tzdata")
"""Built by rules of which nothing else here is."""
LIMITED = {"difference": ("x86_64", "aarch64")}
"""For which architectures the toolchain has Rust."""


@pytest.fixture(scope="module", params=list(PLATFORMS))
def built(request: pytest.FixtureRequest) -> tuple[Platform, dict[str, Path]]:
    platform = PLATFORMS[request.param]
    names = [
        *(name for name, _, _ in RUNS),
        *LIBRARIES,
        *OTHERS,
        *(name for name, archs in LIMITED.items() if platform.arch in archs),
    ]
    command = [sys.executable, "-m", "nexis_eval.cli.main", "build", str(SYSTEM), *names, "--locked", "--json"]
    done = subprocess.run([*command, "--arch", platform.arch], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, "the build failed: see above"
    return platform, {
        name: Path(outputs["out"]["path"]) for name, outputs in json.loads(done.stdout)["results"].items()
    }


@pytest.fixture(scope="module")
def root(built: tuple[Platform, dict[str, Path]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Platform, Path]:
    """One directory with the files of all packages, as in a system."""
    platform, paths = built
    top = tmp_path_factory.mktemp(platform.arch)
    for name, path in paths.items():
        if name in OTHERS:
            continue
        shutil.copytree(path, top, symlinks=True, dirs_exist_ok=True, copy_function=_link)
    for name in ("lib", "lib64", "bin", "sbin"):
        if (top / "usr" / name).is_dir():
            (top / name).symlink_to(f"usr/{name}")
    (top / "input").write_text("# NAME\n")
    (top / "input.json").write_text('{"a": 42}\n')
    return platform, top


def _link(source: str, target: str) -> None:
    Path(target).unlink(missing_ok=True)
    os.link(source, target, follow_symlinks=False)


def run(platform: Platform, root: Path, words: Sequence[str]) -> str:
    """What a program of ``root`` prints: its loader and libraries are those of ``root`` as well."""
    if platform.arch == os.uname().machine:
        loader = root / "usr/lib" / platform.triplet / "ld-linux-x86-64.so.2"
        libraries = f"{root}/usr/lib:{root}/usr/lib/{platform.triplet}"
        program = root / words[0].lstrip("/")
        with program.open("rb") as file:
            static = not any(each["p_type"] == "PT_INTERP" for each in ELFFile(file).iter_segments())
        start = [program] if static else [loader, "--library-path", libraries, program]
        rest = [f"{root}{each}" if each.startswith("/input") else each for each in words[1:]]
    else:
        emulator = shutil.which(f"qemu-{platform.arch}-static") or shutil.which(f"qemu-{platform.arch}")
        if emulator is None:
            pytest.skip(f"qemu-{platform.arch} is not installed (package qemu-user-static)")
        start, rest = [emulator, "-L", root, f"{root}{words[0]}"], list(words[1:])
    done = subprocess.run(
        [*start, *rest],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"TERM": "xterm", "TERMINFO": f"{root}/usr/share/terminfo", "PATH": "/usr/bin"},
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout


@pytest.mark.parametrize(("package", "words", "printed"), RUNS, ids=[each[0] for each in RUNS])
def test_a_program_runs_where_it_was_built_for(
    root: tuple[Platform, Path], package: str, words: Sequence[str], printed: str
) -> None:
    platform, top = root
    assert printed.format(arch=platform.arch) in run(platform, top, words)


def test_every_executable_is_of_the_target_and_names_no_place_of_the_build(
    built: tuple[Platform, dict[str, Path]],
) -> None:
    platform, paths = built
    count = 0
    for path in paths.values():
        for file in path.rglob("*"):
            if not file.is_file() or file.is_symlink():
                continue
            with file.open("rb") as opened:
                if opened.read(4) != b"\x7fELF":
                    continue
                opened.seek(0)
                assert ELFFile(opened).header["e_machine"] == _machine(platform), file
            count += 1
    assert count > 50


def test_needed_libraries_are_there(root: tuple[Platform, Path]) -> None:
    platform, top = root
    present = {each.name for each in (top / "usr" / "lib").rglob("*.so*")}
    missing = {}
    for file in (*(top / "usr" / "bin").iterdir(), *(top / "usr" / "lib").glob("*.so.*")):
        if file.is_symlink() or file.read_bytes()[:4] != b"\x7fELF":
            continue
        with file.open("rb") as opened:
            dynamic = ELFFile(opened).get_section_by_name(".dynamic")
            needed = {tag.needed for tag in dynamic.iter_tags("DT_NEEDED")} if dynamic else set()
        if needed - present:
            missing[file.name] = needed - present
    assert missing == {}, platform.arch


def _machine(platform: Platform) -> str:
    return {62: "EM_X86_64", 183: "EM_AARCH64", 243: "EM_RISCV"}[platform.elf_machine]


def test_the_list_of_programs_is_the_list_of_packages() -> None:
    config = load(SYSTEM, arch="aarch64")
    assert {*(name for name, _, _ in RUNS), *LIBRARIES} <= set(config.packages)
