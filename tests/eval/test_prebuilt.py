"""The specification's vim: ready-made from a release server, or built from a repository, for each reason there is."""

from __future__ import annotations

import asyncio
import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nexis_eval.build_rules.reading import load_rules
from nexis_eval.config.load import load
from nexis_eval.config.model import Config
from nexis_eval.engine import open_engine
from nexis_eval.graph.dag import DerivationGraph
from nexis_eval.instantiate import instantiate
from nexis_eval.lock.model import Lock
from nexis_eval.lock.resolve import resolve
from nexis_eval.mirrors import Mirrors
from nexis_eval.packages.errors import PackageError
from nexis_eval.realise import Options, Outcome
from nexis_eval.schedule.plan import make_plan
from nexis_eval.toolchain import Toolchain
from nexis_eval.ui.plain import PlainView
from nexis_store.realisation import Realisation
from nexis_store.store import Store
from tests.eval.fetch.servers import Site
from tests.eval.roots import RULE_TOOLS, make_toolchain
from tests.eval.sandbox.rooms import require_sandbox
from tests.eval.vim import ARCHIVE, archive, foreign_program, program, release

RULES = load_rules(Path(__file__).resolve().parents[2] / "rules" / "build")


@dataclass
class Vim:
    """Both servers, the configuration, and a store."""

    directory: Path
    forge: Site
    store: Store
    toolchain: Toolchain
    lock: Lock = field(default_factory=Lock)
    shown: io.StringIO = field(default_factory=io.StringIO)

    arch: str = "x86_64"

    def offer(self, data: bytes) -> None:
        self.forge.page(ARCHIVE.replace("x86_64", self.arch), archive(data))

    def config(self, *overrides: str) -> Config:
        return load(self.directory / "system.toml", arch=self.arch, overrides=overrides)

    def pin(self) -> None:
        resolution = asyncio.run(resolve([self.config()], self.lock, mirrors=Mirrors({})))
        assert resolution.errors == ()
        self.lock = resolution.lock

    def graph(self, config: Config | None = None) -> DerivationGraph:
        return instantiate(config or self.config(), self.lock, RULES, self.toolchain)

    def build(self, config: Config | None = None) -> Outcome:
        graph = self.graph(config)

        async def work() -> Outcome:
            roots = [graph.targets.packages["vim"]]
            plan = make_plan(graph, roots, self.store.realised, self.store.realisation)
            async with open_engine(self.store, Mirrors({}), Options(), PlainView(self.shown)) as engine:
                return await engine.realise(graph, roots, plan)

        return asyncio.run(work())

    def result(self, config: Config | None = None) -> Realisation:
        known = self.store.realised(self.graph(config).targets.packages["vim"])
        assert known is not None, self.shown.getvalue()
        return known

    def tree(self, config: Config | None = None) -> Path:
        return self.store.path(self.result(config).outputs["out"])


@pytest.fixture(scope="module")
def toolchain(tmp_path_factory: pytest.TempPathFactory) -> Toolchain:
    require_sandbox()
    for tool in ("gcc", "git", *RULE_TOOLS):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    return make_toolchain(tmp_path_factory.mktemp("toolchain"), tools=(*RULE_TOOLS, "qemu-aarch64-static"))


@pytest.fixture
def vim(tmp_path: Path, toolchain: Toolchain) -> Iterator[Vim]:
    forge = release(tmp_path)
    try:
        with Store.open(tmp_path / "store") as store:
            yield Vim(tmp_path, forge, store, toolchain)
    finally:
        forge.close()


def assert_built_from_source(vim: Vim, reason: str) -> None:
    known, tree = vim.result(), vim.tree()
    assert known.origin == "fallback"
    assert known.note.startswith("built from source: ")
    assert reason in known.note
    assert reason in vim.shown.getvalue(), "a fallback is never silent"
    assert (tree / "usr/bin/vim").read_text() == "#!/bin/sh\necho built\n"
    assert (tree / "usr/share/vim/text").read_text() == "one\nfixed\n"
    assert (tree / "usr/share/vim/environment").read_text() == "hello xterm-256color /usr/share/vim/vimfiles\n"
    assert not (tree / "usr/share/vim/superfluous").exists()


def test_the_ready_made_program_is_taken_where_it_is_good(vim: Vim, tmp_path: Path) -> None:
    good = program(tmp_path / "program")
    vim.offer(good)
    vim.pin()
    outcome = vim.build()
    assert outcome.failed == (), vim.shown.getvalue()
    assert (vim.result().origin, vim.result().note) == ("prebuilt", ""), vim.shown.getvalue()
    assert (vim.tree() / "usr/bin/vim").read_bytes() == good


def test_none_for_this_architecture_when_it_was_locked(vim: Vim) -> None:
    vim.pin()
    assert vim.build().failed == (), vim.shown.getvalue()
    assert_built_from_source(vim, "upstream has no such file (404)")


def test_gone_since_it_was_locked(vim: Vim, tmp_path: Path) -> None:
    vim.offer(program(tmp_path / "program"))
    vim.pin()
    del vim.forge.pages[ARCHIVE]
    assert vim.build().failed == (), vim.shown.getvalue()
    assert_built_from_source(vim, "404")


def test_another_file_than_was_locked(vim: Vim, tmp_path: Path) -> None:
    vim.offer(program(tmp_path / "program"))
    vim.pin()
    vim.offer(program(tmp_path / "program", status=3))
    assert vim.build().failed == (), vim.shown.getvalue()
    assert_built_from_source(vim, "was expected, sha256:")


def test_for_another_architecture(vim: Vim, tmp_path: Path) -> None:
    vim.offer(program(tmp_path / "program", machine=183))
    vim.pin()
    assert vim.build().failed == (), vim.shown.getvalue()
    assert_built_from_source(vim, "vim-9.1.1 was made for x86_64, but /usr/bin/vim is for aarch64")


def test_its_smoke_test_fails(vim: Vim, tmp_path: Path) -> None:
    vim.offer(program(tmp_path / "program", status=3))
    vim.pin()
    assert vim.build().failed == (), vim.shown.getvalue()
    assert_built_from_source(vim, "vim-smoke-test-9.1.1 failed in phase 'smoke-test'")
    assert "the smoke test of vim failed with status 3: vim --version" in vim.result().note


@pytest.mark.skipif(shutil.which("qemu-aarch64-static") is None, reason="qemu-user-static is not installed")
@pytest.mark.parametrize("status", [0, 3])
def test_qemu_runs_the_smoke_test_of_another_architecture(vim: Vim, status: int) -> None:
    vim.arch = "aarch64"
    vim.offer(foreign_program(status))
    vim.pin()
    outcome = vim.build(vim.config('build.prebuilt="required"'))
    assert outcome.failed == (() if status == 0 else ("vim-smoke-test-9.1.1",)), vim.shown.getvalue()
    if status:
        assert "failed with status 3: vim --version" in vim.shown.getvalue()


def test_from_source_because_it_was_asked_for(vim: Vim, tmp_path: Path) -> None:
    vim.offer(program(tmp_path / "program"))
    vim.pin()
    config = vim.config('build.prebuilt="never"')
    assert vim.build(config).failed == (), vim.shown.getvalue()
    assert vim.result(config).origin == "built"
    assert (vim.tree(config) / "usr/bin/vim").read_text() == "#!/bin/sh\necho built\n"


def test_no_fallback_where_the_ready_made_one_is_required(vim: Vim, tmp_path: Path) -> None:
    vim.offer(program(tmp_path / "program", status=3))
    vim.pin()
    assert vim.build(vim.config('build.prebuilt="required"')).failed == ("vim-smoke-test-9.1.1",)


def test_required_and_known_not_to_exist(vim: Vim) -> None:
    vim.pin()
    with pytest.raises(PackageError) as caught:
        vim.graph(vim.config('build.prebuilt="required"'))
    assert "there is no prebuilt archive of 'vim' for x86_64: upstream has no such file (404)" in caught.value.message
    assert str(caught.value.place).endswith("system.toml:4:12")


def test_a_package_that_is_only_ready_made_cannot_be_built(vim: Vim) -> None:
    file = vim.directory / "system.toml"
    lines = [
        each
        for each in file.read_text().splitlines()
        if not each.startswith(("source", "fallback", "build_", "patches", "pre_", "post_", "hash"))
    ]
    file.write_text("\n".join(lines))
    with pytest.raises(PackageError) as caught:
        vim.graph(vim.config('build.prebuilt="never"'))
    assert caught.value.message == "package 'vim' has no source, so there is nothing but its prebuilt archive"
