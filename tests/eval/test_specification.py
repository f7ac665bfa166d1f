"""The sample of the specification, unchanged: a whole graph, from its files and its lock alone."""

from __future__ import annotations

import hashlib
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from nexis_eval.build_rules.reading import load_rules
from nexis_eval.config.errors import ConfigErrors
from nexis_eval.config.load import load
from nexis_eval.config.model import Config, Package
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.graph.derivation import Fetch, FetchGit, Files, Script
from nexis_eval.instantiate import instantiate
from nexis_eval.lock.fits import LATEST, arch_names, debian_request, declared_hash_of, templates_of, urls_of
from nexis_eval.lock.model import Lock, LockedDeb, LockedSource, format_lock, load_lock
from nexis_eval.packages.errors import NotLockedError
from nexis_eval.places import RULES
from nexis_eval.platforms import PLATFORMS, Platform
from nexis_eval.toolchain import load_toolchain
from nexis_store.digest import TreeDigest

SPEC = Path(__file__).parent / "config/spec"
BASE = """
[[packages]]
name = "busybox"
version = "1.35.0"
source = "mirror://debian/pool/main/b/busybox/busybox_1.35.0.orig.tar.bz2"
build_system = "kconfig"

[[packages]]
name = "nftables"
debian = ["nftables"]
"""
"""What every system needs, and the sample leaves to the files that it includes."""
COMMIT = "c" * 40
TREE = TreeDigest(b"\1" * 32)


def pin(package: Package, field: str, platform: Platform) -> LockedSource:
    """What 'nexis-eval lock' would write for a field, with made-up content."""
    version, tag = ("9.1.1", "v9.1.1") if package.version == LATEST else (package.version, "")
    urls = urls_of(
        package, field, platform, version=version, tag=tag, arch_name=arch_names(package, field, platform)[0]
    )
    found = LockedSource(package.name, field, platform.arch, urls, version=version, tag=tag)
    if urls[0].endswith(".git"):
        return replace(found, commit=COMMIT, tree=TREE)
    return replace(found, algorithm="sha256", hash=hashlib.sha256(urls[0].encode()).hexdigest(), size=1)


def lock_for(config: Config, platform: Platform) -> Lock:
    lock = Lock()
    for package in config.packages.values():
        for field in ("source", "prebuilt"):
            if templates_of(package, field) and (declared_hash_of(package, field) is None or package.version == LATEST):
                lock = lock.with_source(pin(package, field, platform))
        if package.debian:
            url = f"mirror://debian/pool/{package.name}.deb"
            deb = LockedDeb(package.name, "1", platform.debian, (url,), "d" * 64, 1)
            lock = lock.with_debs(package.name, platform.arch, (deb,), debian_request(package, platform))
    return lock


def evaluated(config: Config, lock: Lock) -> DerivationGraph:
    return instantiate(config, lock, load_rules(RULES / "build"), load_toolchain(RULES))


@pytest.mark.parametrize("arch", PLATFORMS)
def test_the_sample_is_a_whole_graph_without_a_network(
    arch: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(SPEC, tmp_path / "spec")
    with (tmp_path / "spec/packages/devtools.toml").open("a") as file:
        file.write(BASE)
    config = load(tmp_path / "spec/system.toml", arch=arch)
    (tmp_path / "nexis.lock").write_text(format_lock(lock_for(config, PLATFORMS[arch])))

    def refuse(*_: object) -> None:
        raise AssertionError("evaluating opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    graph = evaluated(config, load_lock(tmp_path / "nexis.lock"))
    assert {"images", "iso", "kernel", "rootfs", "system", *config.packages} <= set(graph.targets.by_name())
    # Every script is rendered, every place is found.
    derivations = graph.closure([graph.targets.system["images"]])
    scripts = {item.name: item.builder.script for item in derivations.values() if isinstance(item.builder, Script)}
    assert "fix-utf8-bug.patch" in scripts["vim"]
    assert "--enable-static" in scripts["libpng"]
    downloads = [item.builder for item in derivations.values() if isinstance(item.builder, (Fetch, FetchGit))]
    assert any(isinstance(each, FetchGit) and each.commit == COMMIT for each in downloads)
    texts = "".join(repr(item.builder) for item in derivations.values() if isinstance(item.builder, Files))
    for word in ("myhost", "en_US.UTF-8", "suricata", "/var/lib/clamav", "sshd", "/var/log/vim"):
        assert word in texts, word


def test_without_the_lock_the_command_is_named() -> None:
    with pytest.raises(ConfigErrors) as caught:
        evaluated(load(SPEC / "system.toml"), Lock())
    unlocked = [each for each in caught.value.errors if isinstance(each, NotLockedError)]
    # All of them at once, and the placeholder of libpng's hash beside them.
    assert [each.message.split("'")[1] for each in unlocked] == ["zlib", "nano", "pciutils", "linux", "vim"]
    assert [each.code for each in caught.value.errors if each not in unlocked] == ["C0513"]
    for each in unlocked:
        assert each.hint == "run 'nexis-eval lock' to download and pin it"
        assert each.place is not None


def test_a_hash_that_is_not_the_one_of_the_lock_is_told_with_both() -> None:
    here = "f" * 64
    config = load(SPEC / "system.toml")
    lock = lock_for(config, PLATFORMS["x86_64"])
    pinned = lock.sources["libpng", "source", "x86_64"]
    packages = dict(config.packages)
    packages["libpng"] = replace(packages["libpng"], hash=f"sha256:{here}")
    with pytest.raises(ConfigErrors) as caught:
        evaluated(replace(config, packages=packages), lock)
    (error,) = caught.value.errors
    assert f"sha256:{here[:12]}" in error.message
    assert f"sha256:{pinned.hash[:12]}" in error.message
    assert error.hint is not None
    assert error.hint.startswith("if the new one is meant, run 'nexis-eval lock --update libpng'")
