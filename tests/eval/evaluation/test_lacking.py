"""What a person is told of a configuration as a whole: all that is wrong, what the system lacks, what has no effect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nexis_eval.cli.evaluation import UnknownTargetError
from nexis_eval.cli.main import run
from nexis_eval.config.errors import ConfigErrors
from nexis_eval.system.context import MissingPackageError

HASH = f"sha256:{'1' * 64}"
KERNEL = f"""
[[packages]]
name = "linux"
version = "6.1"
source = "https://example.org/linux.tar.xz"
hash = "{HASH}"
build_system = "kernel"
"""
BUSYBOX = KERNEL.replace("linux", "busybox").replace('"kernel"', '"kconfig"')


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "system.toml"


def targets(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    assert run(["targets", "--json"]) == 0
    found: dict[str, str] = json.loads(capsys.readouterr().out)
    return found


def test_a_package_can_be_had_without_what_only_the_system_needs(
    system: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system.write_text(f"[system.firewall]\n{KERNEL}")
    # Twice: what is recalled says the same.
    for _ in range(2):
        assert "linux" in targets(capsys)
        assert run(["show-derivation", "linux"]) == 0
        assert "linux-6.1" in capsys.readouterr().out
        with pytest.raises(ConfigErrors) as caught:
            run(["show-derivation", "images"])
        assert [type(each) for each in caught.value.errors] == [MissingPackageError, MissingPackageError]
        assert "no package 'busybox'" in caught.value.errors[0].message + caught.value.errors[1].message
        assert all(each.place is not None and each.hint for each in caught.value.errors)
    assert run(["targets"]) == 0
    assert "note: no images, as the system has no package 'busybox'" in capsys.readouterr().err
    assert run(["check", "--strict", "--arch", "x86_64"]) == 2
    assert "[E0408]" in capsys.readouterr().out


def test_no_system_can_be_made_of_packages_alone(system: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = f'version = "1"\nsource = "https://example.org/x.tar.gz"\nhash = "{HASH}"'
    system.write_text(f'[[packages]]\nname = "zlib"\n{source}\n')
    assert {each for each in targets(capsys) if ":" not in each} == {"zlib"}
    with pytest.raises(UnknownTargetError, match="this configuration has no kernel to make a system with") as caught:
        run(["show-derivation", "images"])
    assert (caught.value.hint or "").startswith("targets: zlib; for a system, add the package of a kernel")


def test_nothing_can_be_made_of_nothing(system: Path, capsys: pytest.CaptureFixture[str]) -> None:
    system.write_text("")
    assert run(["targets"]) == 0
    assert capsys.readouterr().err == "nothing to build: this configuration has no packages\n"
    with pytest.raises(UnknownTargetError, match="there is nothing to build: this configuration has no packages"):
        run(["build"])


@pytest.mark.parametrize("command", ["targets", "show-derivation", "graph", "why-depends", "why-rebuild", "fetch"])
def test_every_command_pins_what_is_not_pinned(
    command: str, system: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEXIS_STORE", str(system.parent / "store"))
    (system.parent / "a.sh").write_text(f"#!/bin/sh\necho {command}\n")
    package = f'version = "1"\nsource = "file://{system.parent}/a.sh"\nbuild_system = "script"'
    system.write_text(f'[[packages]]\nname = "a"\n{package}\n[[packages]]\nname = "b"\ndependencies = ["a"]\n{package}')
    targets = {"show-derivation": ["a"], "why-depends": ["b", "a"], "why-rebuild": ["a"]}.get(command, [])
    with pytest.raises(ConfigErrors) as caught:
        run([command, "--locked", *targets])
    assert all("run 'nexis-eval lock'" in (each.hint or "") for each in caught.value.errors)
    assert run([command, *targets]) == 0
    assert "nexis.lock lacks something this system needs: pinning it" in capsys.readouterr().err
    assert system.with_name("nexis.lock").read_text().count("[[source]]") == 2


def test_what_was_lacking_is_added(system: Path, capsys: pytest.CaptureFixture[str]) -> None:
    system.write_text(KERNEL)
    alone = targets(capsys)
    assert "images" not in alone
    system.write_text(KERNEL + BUSYBOX)
    whole = targets(capsys)
    assert whole["images"]
    assert whole["linux"] == alone["linux"]
    system.write_text(KERNEL)
    assert targets(capsys) == alone


def test_all_packages_that_cannot_be_made_are_told_at_once(system: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = f'version = "1"\nsource = "https://example.org/x.tar.gz"\nhash = "{HASH}"'
    system.write_text(
        f'[[packages]]\nname = "a"\n{source}\nbuild_system = "mkae"\n'
        f'[[packages]]\nname = "b"\n{source}\ndependencies = ["a"]\noptions = {{ nosuch = 1 }}\n'
        '[[packages]]\nname = "c"\ndependencies = ["b"]\n'
        '[[packages]]\nname = "d"\nversion = "1"\nsource = "https://example.org/d.tar.gz"\n'
    )
    assert run(["check", "--strict", "--arch", "x86_64"]) == 2
    lines = [line for line in capsys.readouterr().out.splitlines() if ": error: " in line]
    assert [(line.split(":")[1], line[-7:]) for line in lines] == [
        ("6", "[E0402]"),
        ("13", "[E0411]"),
        ("15", "[E0402]"),
        ("20", "[E0401]"),
    ]


def test_what_has_no_effect_yet_is_told_at_every_evaluation(system: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from nexis_eval.config.reference import options

    idle = [each.key for each in options() if not each.used_by]
    if not idle:
        return
    assert "system.selinux.enabled" in idle
    system.write_text("[system.selinux]\nenabled = true\n[[packages]]\n" + KERNEL.partition("[[packages]]\n")[2])
    for _ in range(2):
        assert run(["targets"]) == 0
        assert "note: not implemented yet, ignored: system.selinux.enabled\n" in capsys.readouterr().err
    # An edit that is taken in says it as well.
    system.write_text(system.read_text().replace("6.1", "6.2"))
    assert run(["targets"]) == 0
    assert "note: not implemented yet, ignored: system.selinux.enabled\n" in capsys.readouterr().err
