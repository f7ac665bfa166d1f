"""Whatever a part of a system gives reaches what is made of all parts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from nexis_eval.config.model import Config, Package, Service, User
from nexis_eval.graph.dag import GraphBuilder
from nexis_eval.graph.derivation import Script, Union
from nexis_eval.image.assemble import add_system, missing_from
from nexis_eval.system import assemble
from nexis_eval.system.contribution import Contribution, Directory, Mount, Need, Part, Program, Step
from nexis_eval.system.view import SystemView
from nexis_eval.toolchain import load_toolchain
from tests.eval.graphs import leaf
from tests.eval.system.systems import assembled, make_system, packages, text_of

RULES = Path(__file__).resolve().parents[3] / "rules"
EVERYTHING = Contribution(
    steps=(Step("made", "timezone.sh", (("TIMEZONE", "Mars"),), ("timezones",)),),
    services=(Service("extra", command="/usr/bin/extra", depends=("network", "absent")),),
    required_modules=("needed_module",),
    optional_modules=("nice_module",),
    early_modules=("early_module",),
    needs=(Need(("extra", "extra-bin"), "does more", "declare it", None),),
    programs=(Program("/usr/bin/extra", "extra.program"), Program("/srv/extra", "extra.data")),
    mounts=(Mount("/dev/vdb", "/mnt/a b", "ext4"),),
    accounts=(User("extra", system=True, home="/var/lib/extra"),),
    groups=("extras",),
    directories=(Directory("/run/extra", "0700", "extra", "extras"),),
    shells=("/usr/bin/extra",),
)


@pytest.fixture(autouse=True)
def _one_part_more(monkeypatch: pytest.MonkeyPatch) -> None:
    # Every field that a part can fill is tried here.
    unset = {each.name for each in dataclasses.fields(Contribution) if not getattr(EVERYTHING, each.name)}
    assert unset == {"files", "layers", "errors"}
    monkeypatch.setattr(assemble, "PARTS", (*assemble.PARTS, Part("extra", lambda _: EVERYTHING)))


def test_files_that_are_made_of_all_parts() -> None:
    view = make_system()
    assert text_of(assembled(view, "skeleton"), "etc/shells") == "/bin/sh\n/usr/bin/extra\n"
    assert "/dev/vdb /mnt/a\\040b ext4 defaults 0 0\n" in text_of(assembled(view, "skeleton"), "etc/fstab")
    users = assembled(view, "users")
    assert ":/var/lib/extra:" in text_of(users, "etc/passwd")
    assert "\nextras:x:" in text_of(users, "etc/group")
    assert "0700 extra extras /run/extra\n" in text_of(assembled(view, "runtime-dirs"), "usr/lib/nexis/directories")
    # What is not there cannot be depended on.
    assert "depends-on" not in text_of(assembled(view, "services"), "etc/dinit.d/extra")


def test_images_that_are_made_of_all_parts() -> None:
    config = Config(Path("system.toml"), (), "x86_64", packages=packages("linux", "busybox", "extra"))
    builder = GraphBuilder()
    built = {name: builder.add(leaf(name)) for name in config.packages}
    add_system(SystemView.of(config), builder, load_toolchain(RULES), built)
    graph = builder.finish()
    by_name = {each.name: each.builder for each in graph.derivations.values()}
    system, early, made, tree = (by_name[name] for name in ("kernel-modules", "initramfs-modules", "made", "rootfs"))
    assert isinstance(system, Script) and isinstance(early, Script) and isinstance(made, Script)
    assert "needed_module" in dict(system.env)["REQUIRED"].split()
    assert {"nice_module", "early_module"} <= {*dict(system.env)["OPTIONAL"].split()}
    assert "early_module" in dict(early.env)["OPTIONAL"].split()
    assert "nice_module" not in dict(early.env)["OPTIONAL"].split()
    assert dict(made.env) == {"TIMEZONE": "Mars"}
    assert isinstance(tree, Union) and tree.required == (("/usr/bin/extra", "extra.program"),)


def test_packages_that_are_needed() -> None:
    config = Config(Path("system.toml"), (), "x86_64", packages=packages("linux", "busybox"))
    assert [each.message for each in missing_from(config)] == ["the system has no package 'extra', which does more"]
    for more in (Package("extra"), Package("other", debian=("extra-bin:amd64=1.0",))):
        have = dataclasses.replace(config, packages={**config.packages, more.name: more})
        assert missing_from(have) == []
    hidden = {**config.packages, "extra": Package("extra", install=False)}
    assert len(missing_from(dataclasses.replace(config, packages=hidden))) == 1
