"""Shells and commands that the configuration names and no package has: told before any image is made."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from nexis_eval import events
from nexis_eval.config.load import load
from nexis_eval.config.model import Config
from nexis_eval.engine import open_engine
from nexis_eval.execute.required import has
from nexis_eval.graph.dag import GraphBuilder, layers
from nexis_eval.graph.derivation import Derivation, Entry, Files, Union
from nexis_eval.image.rootfs import required_programs
from nexis_eval.mirrors import Mirrors
from nexis_eval.realise import Options
from nexis_eval.schedule.plan import make_plan
from nexis_eval.system.assemble import contributions
from nexis_eval.system.contribution import Program
from nexis_eval.system.view import SystemView
from nexis_store.store import Store
from nexis_store.tree import Manifest, directory_entry, symlink_entry

LINKS = {
    "bin": "usr/bin",
    "usr/bin/sh": "busybox",
    "usr/bin/up": "../lib/x",
    "usr/bin/absolute": "/usr/lib/x",
    "usr/bin/gone": "nowhere",
    "usr/bin/loop": "loop",
    "usr/bin/above": "../../../usr/lib/x",
}
TREE = Manifest.of(
    [
        *(directory_entry(path) for path in ("usr", "usr/bin", "usr/lib", "usr/lib/x", "usr/bin/busybox")),
        *(symlink_entry(path, target) for path, target in LINKS.items()),
    ]
)


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/usr/bin/busybox", True),
        ("/bin/sh", True),
        ("//bin/./sh", True),
        ("/bin/up", True),
        ("/bin/absolute", True),
        ("/bin/above", True),
        ("/bin/gone", False),
        ("/bin/loop", False),
        ("/bin/zsh", False),
        ("/sbin/x", False),
    ],
)
def test_paths_through_links(path: str, there: bool) -> None:
    assert has(TREE, path) is there


SYSTEM = """\
[users.ada]
shell = "/bin/zsh"

[users.eve]

[dinit_services."my.web"]
command = "/usr/bin/nope --port 80"
stop_command = "/usr/bin/stop"

[dinit_services.none]
type = "internal"

[dinit_services.shell]
command = "/bin/sh -c 'true'"

[dinit_services.late]
command = "/var/lib/x/run"
"""


def programs_of(config: Config) -> tuple[Program, ...]:
    return contributions(SystemView.of(config)).everything.programs


def test_what_is_required(tmp_path: Path) -> None:
    (tmp_path / "system.toml").write_text(SYSTEM)
    assert required_programs(programs_of(load(tmp_path / "system.toml"))) == (
        ("/bin/sh", "dinit_services.shell.command"),
        ("/bin/sh", "users.eve.shell"),
        ("/bin/zsh", "users.ada.shell"),
        ("/usr/bin/nope", "dinit_services.my.web.command"),
        ("/usr/bin/stop", "dinit_services.my.web.stop_command"),
    )


@pytest.mark.parametrize("complete", [False, True])
def test_a_system_without_them_is_not_made(complete: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("system.toml").write_text(SYSTEM)
    config = load(Path("system.toml"))
    builder = GraphBuilder()
    programs = ("usr/bin/sh", "usr/bin/stop", *(("usr/bin/zsh", "usr/bin/nope") if complete else ()))
    entries = (Entry("bin", target="usr/bin"), *(Entry(path, text="") for path in sorted(programs)))
    files = builder.add(Derivation("programs", Files(entries), platform="x86_64"))
    union = Union(later_wins=True, required=required_programs(programs_of(config)))
    derivation = Derivation("rootfs", union, platform="x86_64", inputs=tuple(layers([files])))
    rootfs = builder.add(derivation)
    assert builder[rootfs] == derivation
    graph = builder.finish(place=config.place)
    seen: list[events.Event] = []

    async def made(store: Store) -> int:
        plan = make_plan(graph, [rootfs], store.realised, store.realisation)
        async with open_engine(store, Mirrors({}), Options(jobs=1), seen.append) as engine:
            return (await engine.realise(graph, [rootfs], plan)).exit_code

    with Store.open(tmp_path / "store") as store:
        assert asyncio.run(made(store)) == (0 if complete else 2)
    failed = [each for each in seen if isinstance(each, events.StepFailed)]
    if complete:
        assert failed == []
        return
    assert failed[0].message.splitlines() == [
        "system.toml:2:9: 'users.ada.shell' is /bin/zsh, which no package of the system has",
        "system.toml:7:11: 'dinit_services.my.web.command' is /usr/bin/nope, which no package of the system has",
    ]
