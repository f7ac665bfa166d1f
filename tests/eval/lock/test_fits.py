"""What makes an entry of the lock stale, and which of several entries serves which system."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from nexis_eval.cli.main import run
from nexis_eval.config.load import load
from nexis_eval.config.model import Config, LocalPath, Package
from nexis_eval.fetch.client import new_client
from nexis_eval.lock.debian import Index, parse_index
from nexis_eval.lock.fits import debian_request, locked_debs, locked_source, platform_in, scopes, system_in
from nexis_eval.lock.model import Lock, LockedDeb, LockedSource, format_lock, load_lock, parse_lock
from nexis_eval.lock.resolve import Resolver, resolve
from nexis_eval.mirrors import Mirrors
from nexis_eval.platforms import AARCH64, PLATFORMS, RISCV64, X86_64
from tests.eval.fetch.servers import Site
from tests.eval.lock.test_resolve import tarball

BASE = Package(
    "p",
    version="1",
    source=("https://x/{version}.tar",),
    prebuilt=("https://x/{version}-{arch}.tar",),
    debian=("a", "b={version}"),
)
CHANGES: dict[str, tuple[dict[str, object], set[str]]] = {
    "nothing": ({}, set()),
    "version": ({"version": "2"}, {"source", "prebuilt", "debian"}),
    "latest": ({"version": "latest"}, {"debian"}),
    "source": ({"source": ("https://y/{version}.tar",)}, {"source"}),
    "another source": ({"source": (*BASE.source, "https://y/{version}.tar")}, {"source"}),
    "a branch": ({"source": ("https://x/{version}.tar#main",)}, {"source"}),
    "prebuilt": ({"prebuilt": ("https://x/{version}-{debarch}.tar",)}, {"prebuilt"}),
    "the same, written otherwise": ({"source": ("https://x/1.tar",)}, set()),
    "debian": ({"debian": ("a", "c")}, {"debian"}),
    "fewer": ({"debian": ("a",)}, {"debian"}),
    "another order": ({"debian": ("b={version}", "a")}, {"debian"}),
    "suite": ({"debian_suite": "trixie"}, {"debian"}),
    "closure": ({"debian_closure": False}, {"debian"}),
    "what the lock has no part in": (
        {"patches": (LocalPath("x", Path("x")),), "env": {"A": "b"}, "hash": "sha256:" + "0" * 64, "install": False},
        set(),
    ),
}


def whole_lock(package: Package, arch: str = "x86_64") -> Lock:
    platform = PLATFORMS[arch]
    deb = LockedDeb("a", "1", "all", ("mirror://debian/a.deb",), "ab" * 32, 1)
    tar = LockedSource("p", "source", "", ("https://x/1.tar",), "sha256", "ab" * 32, version="1")
    binary = replace(tar, field="prebuilt", arch=arch, urls=(f"https://x/1-{arch}.tar",))
    lock = Lock().with_source(tar).with_source(binary)
    return lock.with_debs("p", arch, (deb,), debian_request(package, platform))


@pytest.mark.parametrize(("change", "stale"), CHANGES.values(), ids=CHANGES)
def test_what_makes_an_entry_stale(change: dict[str, object], stale: set[str]) -> None:
    lock, package = whole_lock(BASE), replace(BASE, **change)  # type: ignore[arg-type]
    found = {field: locked_source(lock, package, field, X86_64, "x86_64") for field in ("source", "prebuilt")}
    found["debian"] = locked_debs(lock, package, X86_64, "x86_64")  # type: ignore[assignment]
    assert {field for field, each in found.items() if each is None} == stale


def test_an_entry_for_one_architecture_serves_no_other() -> None:
    lock = whole_lock(BASE)
    assert locked_source(lock, BASE, "source", AARCH64, "aarch64") is not None
    assert locked_source(lock, BASE, "prebuilt", AARCH64, "aarch64") is None
    assert locked_debs(lock, BASE, AARCH64, "aarch64") is None


def test_debian_packages_without_what_was_asked_for_fit_nothing() -> None:
    lock = whole_lock(BASE)
    assert locked_debs(replace(lock, requests={}), BASE, X86_64, "x86_64") is None


@pytest.mark.parametrize("per_arch", [True, False])
def test_a_scope_says_for_what_and_for_which_system(per_arch: bool) -> None:
    own, usual = scopes(X86_64, "riscv64", per_arch=per_arch)
    assert (own, usual) == (("x86_64 for riscv64", "x86_64") if per_arch else ("for riscv64", ""))
    assert (platform_in(own), system_in(own)) == (usual, "riscv64")
    assert (platform_in(usual), system_in(usual)) == (usual, "")


STALE = """\
[[packages]]
name = "hello"
version = "1"
debian = ["hello"]

[[packages]]
name = "tar"
version = "2"
source = "https://x/{version}.tar"
"""


@pytest.mark.parametrize("request_line", ['request = "bookworm closure hello"\n', ""])
def test_a_lock_that_is_out_of_date_is_told(
    request_line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    forced = '[[force.packages]]\nname = "hello"\nversion = "2"\ndebian = ["zsh"]\n'
    Path("system.toml").write_text(STALE + forced)
    Path("nexis.lock").write_text(
        f'format = 1\n[[source]]\npackage = "tar"\nfield = "source"\nurls = ["https://x/1.tar"]\nversion = "1"\n'
        f'hash = "sha256:{"ab" * 32}"\n\n[[debian]]\npackage = "hello"\narch = "x86_64"\n{request_line}'
        f'debs = ["hello 1 amd64 5 {"cd" * 32} mirror://debian/hello.deb"]\n'
    )
    assert run(["check", "--strict", "--arch", "x86_64"]) == 2
    told = capsys.readouterr().out
    before = "'bookworm closure hello'" if request_line else "'something that it does not say'"
    assert f"what it has was pinned for {before}, and now it is 'bookworm closure zsh'" in told
    assert "system.toml:13:10" in told
    assert "the lock has version '1' from https://x/1.tar" in told


# Systems that differ


def system(directory: Path, site: Site, riscv64: str = 'version = "2"') -> dict[str, Config]:
    for version in "123":
        site.page(f"/ed-{version}.tar", tarball(version))
    site.page("/main.tar", tarball())
    directory.joinpath("system.toml").write_text(
        f'[[packages]]\nname = "main"\nversion = "1"\nsource = "{site.url}/main.tar"\nnative_dependencies = ["ed"]\n'
        f'[[packages]]\nname = "ed"\nversion = "1"\nsource = "{site.url}/ed-{{version}}.tar"\n'
        f'[[arch.riscv64.packages]]\nname = "ed"\n{riscv64}\n'
    )
    return {arch: load(directory / "system.toml", arch=arch) for arch in PLATFORMS}


def pin(configs: list[Config], old: Lock) -> Lock:
    result = asyncio.run(resolve(configs, old, mirrors=Mirrors({})))
    assert result.errors == ()
    assert parse_lock(format_lock(result.lock)) == result.lock
    return result.lock


def test_each_system_has_the_version_it_asks_for(site: Site, tmp_path: Path) -> None:
    configs = system(tmp_path, site)
    lock = pin([*configs.values()], Lock())
    versions = {scope: found.version for (name, _, scope), found in lock.sources.items() if name == "ed"}
    assert versions == {"": "1", "for riscv64": "2"}
    site.requests.clear()
    # Nobody takes from another what that needs, in whichever order.
    for arch in ("riscv64", "x86_64", "aarch64", "riscv64"):
        assert pin([configs[arch]], lock) == lock
    assert pin([*configs.values()], lock) == lock
    assert site.requests == []


def test_an_entry_for_one_system_goes_when_that_asks_for_it_no_more(site: Site, tmp_path: Path) -> None:
    lock = pin([*system(tmp_path, site).values()], Lock())
    lock = pin([*system(tmp_path, site, 'env = { A = "b" }').values()], lock)
    assert {scope for name, _, scope in lock.sources if name == "ed"} == {""}
    lock = pin([*system(tmp_path, site, 'version = "3"').values()], lock)
    assert {scope: each.version for (name, _, scope), each in lock.sources.items() if name == "ed"} == {
        "": "1",
        "for riscv64": "3",
    }


def test_what_runs_in_builds_is_locked_for_the_machine_that_builds(site: Site, tmp_path: Path) -> None:
    """As the system for riscv64 asks for it, where only that is meant or known."""
    site.page("/ed-1-x86_64.tar", tarball("x"))
    site.page("/ed-1-riscv64.tar", tarball("r"))
    site.page("/main.tar", tarball())
    (tmp_path / "system.toml").write_text(
        f'[system]\narchitectures = ["riscv64"]\n[[packages]]\nname = "main"\nsource = "{site.url}/main.tar"\n'
        'native_dependencies = ["through"]\n'
        f'[[packages]]\nname = "through"\nsource = "{site.url}/main.tar"\nruntime_dependencies = ["ed"]\n'
        f'[[packages]]\nname = "ed"\nversion = "1"\nprebuilt = "{site.url}/ed-1-{{arch}}.tar"\n'
    )
    lock = pin([load(tmp_path / "system.toml", arch="riscv64")], Lock())
    assert {scope for name, _, scope in lock.sources if name == "ed"} == {"x86_64", "riscv64"}


INDEX = "\n\n".join(
    f"Package: {name}\nVersion: 1\nArchitecture: all\nFilename: pool/{name}.deb\nSHA256: {'ab' * 32}\nSize: 1\n"
    for name in ("ed", "ed-new")
)


def test_debian_packages_that_run_in_builds(tmp_path: Path) -> None:
    (tmp_path / "system.toml").write_text(
        '[[packages]]\nname = "main"\nversion = "1"\nsource = "https://example.org/main-1.tar.gz"\n'
        'native_dependencies = ["ed"]\n'
        '[[packages]]\nname = "ed"\ndebian = ["ed"]\n'
        '[[arch.riscv64.packages]]\nname = "ed"\ndebian = ["ed-new"]\n'
    )
    configs = {arch: load(tmp_path / "system.toml", arch=arch) for arch in ("x86_64", "riscv64")}
    builder = PLATFORMS["x86_64"]

    async def pinned() -> Lock:
        async def index(arch: str) -> Index:
            return Index("bookworm", arch, parse_index(INDEX))

        async with new_client() as client:
            resolver = Resolver(Lock(), Mirrors({}), client, lambda _: None)
            for arch in ("amd64", "riscv64"):
                resolver._indexes["bookworm", arch] = asyncio.create_task(index(arch))
            for config, platform in (
                (configs["x86_64"], X86_64),
                (configs["riscv64"], RISCV64),
                (configs["riscv64"], builder),
            ):
                await resolver.package(config, config.packages["ed"], platform)
            return resolver.lock

    lock = asyncio.run(pinned())
    assert {scope: [each.name for each in debs] for (_, scope), debs in lock.debian.items()} == {
        "x86_64": ["ed"],
        "riscv64": ["ed-new"],
        "x86_64 for riscv64": ["ed-new"],
    }
    for arch, name in (("x86_64", "ed"), ("riscv64", "ed-new")):
        found = locked_debs(lock, configs[arch].packages["ed"], builder, arch)
        assert found is not None and [each.name for each in found] == [name]


def test_building_after_locking_finds_everything(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    system(tmp_path, site)
    assert run(["lock", "--store", str(tmp_path / "store")]) == 0
    assert "2 (sha256:" in capsys.readouterr().out
    assert run(["lock", "--store", str(tmp_path / "store")]) == 0
    assert "everything is pinned" in capsys.readouterr().out
    for arch in PLATFORMS:
        assert run(["build", "--locked", "-n", "--arch", arch, "main", "--store", str(tmp_path / "store")]) == 0
    assert len(load_lock(Path("nexis.lock")).sources) == 3
