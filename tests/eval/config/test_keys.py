"""Each key of a package has an effect on packages of some kind, and is an error on the others."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from nexis_eval.build_rules.reading import load_rules
from nexis_eval.config.check import EFFECTIVE, Kind
from nexis_eval.config.errors import ConfigErrors
from nexis_eval.config.load import load
from nexis_eval.config.settings import PACKAGES
from nexis_eval.graph.derivation import Union
from nexis_eval.instantiate import instantiate
from nexis_eval.lock.fits import debian_request
from nexis_eval.lock.model import Lock, LockedDeb
from nexis_eval.places import RULES
from nexis_eval.platforms import X86_64
from nexis_eval.toolchain import load_toolchain

VALUES = {
    "version": '"1"',
    "source": '"https://example.org/x.tar"',
    "hash": f'"sha256:{"0" * 64}"',
    "prebuilt": '"https://example.org/x.tar"',
    "prebuilt_hash": f'"sha256:{"0" * 64}"',
    "fallback_to_source": "true",
    "smoke_test": '"x"',
    "debian": '["xz"]',
    "debian_suite": '"trixie"',
    "debian_closure": "false",
    "patches": '["file"]',
    "pre_build_script": '"file"',
    "post_build_script": '"file"',
    "build_system": '"make"',
    "build_flags": '["x"]',
    "configure_flags": '["x"]',
    "options": '{ remove = ["x"] }',
    "phases": '{ build = "x" }',
    "check": "true",
    "env": '{ A = "b" }',
    "dependencies": '["other"]',
    "build_dependencies": '["other"]',
    "native_dependencies": '["other"]',
    "runtime_dependencies": '["other"]',
    "tools": '["x"]',
    "context_file": '"context.cil"',
    "runtime_dirs": '["/run/x"]',
    "attributes": '{ "/x" = "root:root 4755" }',
    "install": "true",
    "subdir": '"x"',
    "allow_missing": '["x"]',
    "outputs": '["dev"]',
}
OTHER = '[[packages]]\nname = "other"\nsource = "https://example.org/other.tar"\n'


def test_the_tables_know_every_key() -> None:
    assert EFFECTIVE.keys() == PACKAGES.settings.keys()
    assert {*VALUES, "name"} == PACKAGES.settings.keys()


@pytest.mark.parametrize(("kind", "key"), [*product(Kind, VALUES)])
def test_a_key_that_does_nothing_is_an_error(kind: Kind, key: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "context.cil").write_text('(filecon "/x" file (system_u object_r bin_t ((s0) (s0))))')
    keys = dict.fromkeys(
        (kind.value, *(("source",) if key == "fallback_to_source" and kind is Kind.PREBUILT else ()), key)
    )
    lines = "".join(f"{each} = {VALUES[each]}\n" for each in keys)
    (tmp_path / "system.toml").write_text(f'[[packages]]\nname = "x"\n{lines}{OTHER}')
    effective = kind in EFFECTIVE[key] or (key in ("source", "prebuilt") and kind is not Kind.DEBIAN)
    if effective or (key == "fallback_to_source" and kind is Kind.PREBUILT):
        load(tmp_path / "system.toml")
        return
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path / "system.toml")
    assert {each.code for each in caught.value.errors} == {"C0511"}
    assert any(f"'{key}'" in each.message for each in caught.value.errors)


def test_what_is_removed_from_debian_packages_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "system.toml").write_text(
        '[[packages]]\nname = "x"\ndebian = ["xz"]\noptions.remove = ["/usr/bin/x", "etc/*"]\ninstall = false\n'
    )
    config = load(tmp_path / "system.toml")
    deb = LockedDeb("x", "1", "all", ("mirror://debian/x.deb",), "ab" * 32, 1)
    lock = Lock().with_debs("x", "x86_64", (deb,), debian_request(config.packages["x"], X86_64))
    graph = instantiate(config, lock, load_rules(RULES / "build"), load_toolchain(RULES))
    builder = graph.derivations[graph.targets.by_name()["x"]].builder
    assert isinstance(builder, Union)
    assert builder.exclude == ("usr/bin/x", "etc/*")
