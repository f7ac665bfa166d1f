"""``lock --toolchain`` where a configuration has tool sets of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexis_eval.cli.main import run
from nexis_eval.places import RULES as PRODUCT
from nexis_eval.toolchain import ToolchainError, load_toolchain
from tests.eval.lock.test_debian import Archive, archive

__all__ = ("archive",)
INDEX = """\
Package: abc
Version: 1.0
Architecture: amd64
Filename: pool/main/a/abc_1.0_amd64.deb
Size: 100
SHA256: 1111111111111111111111111111111111111111111111111111111111111111
Depends: libc6, dash

Package: libc6
Version: 2.0
Architecture: amd64
Filename: pool/main/l/libc6_2.0_amd64.deb
Size: 200
SHA256: 2222222222222222222222222222222222222222222222222222222222222222

Package: dash
Version: 3.0
Architecture: amd64
Filename: pool/main/d/dash_3.0_amd64.deb
Size: 300
SHA256: 3333333333333333333333333333333333333333333333333333333333333333
"""


def test_own_tool_sets_are_pinned_beside_their_definition(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Less what the product's sets that they extend hold, which stay as they are."""
    archive.publish(INDEX)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    product = (PRODUCT / "toolchain.lock").read_bytes()
    (tmp_path / "own").mkdir()
    system = f'[rules]\npaths = ["own"]\n[mirrors]\ndebian = ["{archive.site.url}/debian"]\n'
    (tmp_path / "system.toml").write_text(system)
    with pytest.raises(ToolchainError, match=r"system\.toml has no tool sets of its own to pin"):
        run(["lock", "--toolchain"])
    definition = tmp_path / "own/toolchain.toml"
    definition.write_text(
        '[toolset.mine]\ndoc = "M."\nsuite = "bookworm"\npackages = ["abc"]\nextends = ["core"]\n'
        '[toolset.alone]\ndoc = "A."\nsuite = "bookworm"\npackages = ["dash"]\n'
    )
    assert run(["lock", "--toolchain"]) == 0
    assert "wrote own/toolchain.lock" in capsys.readouterr().out
    toolchain = load_toolchain(PRODUCT, tmp_path / "own")
    names = {name: [deb.name for deb in toolchain.pins[name]] for name in ("mine", "alone")}
    assert names == {"mine": ["abc"], "alone": ["dash"]}, "core has dash and libc6"
    assert (PRODUCT / "toolchain.lock").read_bytes() == product
