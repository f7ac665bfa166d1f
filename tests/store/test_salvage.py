from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from nexis_store.cli.main import run
from nexis_store.digest import BuildKey, DerivationId, TreeDigest
from nexis_store.errors import StoreError
from nexis_store.realisation import Realisation
from nexis_store.store import Store
from nexis_store.transfer import export
from nexis_store.tree import Attributes


def fill(store: Store) -> None:
    with store.writer("base") as writer:
        writer.file("usr/lib/base", b"base" * 1000)
        base = writer.commit()
    with store.writer("tool") as writer:
        writer.file("usr/bin/tool", b"tool" * 1000, executable=True, attributes=Attributes(mode=0o4755))
        writer.file("usr/share/tiny", b"tiny")
        writer.file("etc/large", b"large" * 300_000)
        writer.symlink("link", "usr")
        tool = writer.commit([base.digest])
    store.set_root("tool", tool.digest)
    for name, artifact in (("base", base), ("tool", tool)):
        key = BuildKey.of(name.encode())
        store.record(Realisation(key, DerivationId(key), name, {"out": artifact.digest}))


def damage_files(store: Store) -> None:
    place = store.path(store.find("tool"))
    for path in ("usr/bin/tool", "etc/large"):
        data = bytearray((place / path).read_bytes())
        data[100] ^= 1
        (place / path).chmod(0o755)
        (place / path).write_bytes(data)
    (place / "usr/share/tiny").unlink()


def damage_description(store: Store) -> None:
    sidecar = Path(store.layout.sidecar(store.find("tool")))
    sidecar.chmod(0o644)
    sidecar.write_bytes(sidecar.read_bytes()[:-7])


def lose_directory(store: Store) -> None:
    shutil.rmtree(store.path(store.find("tool")))
    shutil.rmtree(store.layout.links)


def make_binary_cache(store: Store, digest: TreeDigest, place: Path) -> None:
    """As docs/formats/cache.md says."""
    pack = zstandard.ZstdCompressor().compress
    manifest = store.manifest(digest)
    kept = {f"manifests/{str(digest)[:2]}/{digest}.zst": pack(manifest.encode())}
    for entry in manifest.entries():
        if entry.digest is not None:
            data = (store.path(digest) / entry.path).read_bytes()
            kept[f"files/{str(entry.digest)[:2]}/{entry.digest}.zst"] = pack(data)
    for name, data in kept.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    (place / "nexis-cache.json").write_text('{"format": "nexis cache 1"}')


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Store], None]], None]:
    """A store at ``tmp_path/store`` with damage, a good one at ``other``, exported closures of that in ``cache``."""
    monkeypatch.setenv("NEXIS_STORE", str(tmp_path / "store"))

    def make(damage: Callable[[Store], None]) -> None:
        with Store.open(tmp_path / "other") as other:
            fill(other)
            (tmp_path / "cache/deep").mkdir(parents=True)
            (tmp_path / "cache/README").write_text("no archive")
            with open(tmp_path / "cache/deep/tool.nexis", "wb") as out:
                export(other, [other.find("tool")], out)
            make_binary_cache(other, other.find("tool"), tmp_path / "binary")
        with Store.open(tmp_path / "store") as store:
            fill(store)
            damage(store)

    return make


@pytest.mark.parametrize("damage", [damage_files, damage_description, lose_directory])
@pytest.mark.parametrize("place", ["other", "cache/deep/tool.nexis", "cache", "binary"])
def test_repairing_from_elsewhere(
    tmp_path: Path,
    broken: Callable[[Callable[[Store], None]], None],
    damage: Callable[[Store], None],
    place: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken(damage)
    assert run(["verify", "--contents", "--repair"]) == 4
    assert run(["verify", "--contents", "--repair", "--from", str(tmp_path / place)]) == 0
    assert capsys.readouterr().out.endswith("no problems\n")
    with Store.open(tmp_path / "store") as store:
        assert list(store.verify(contents=True)) == []
        tool = store.path(store.find("tool"))
        assert (tool / "usr/bin/tool").stat().st_mode & 0o7777 == 0o555
        assert (tool / "etc/large").read_bytes() == b"large" * 300_000
        assert os.listdir(store.layout.staging) == []


def test_repairing_by_a_rebuild(
    tmp_path: Path, broken: Callable[[Callable[[Store], None]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """The command finds everything whole in its store, and nothing of what is damaged."""
    broken(damage_files)
    script = tmp_path / "rebuild.py"
    script.write_text(
        "from nexis_store.store import Store, default_store_root\n"
        "from nexis_store.digest import BuildKey\n"
        "from tests.store.test_salvage import fill\n"
        "with Store.open(default_store_root(), create=False) as store:\n"
        "    assert [each.name for each in store.artifacts()] == ['base']\n"
        "    assert store.realisation(BuildKey.of(b'base')) and not store.realisation(BuildKey.of(b'tool'))\n"
        "    fill(store)\n"
    )
    root = Path(__file__).parents[2]
    with pytest.raises(StoreError, match="ended with 3"):
        run(["verify", "--contents", "--rebuild-with", "exit 3"])
    assert run(["verify", "--contents", "--rebuild-with", f"cd {root} && PYTHONPATH=. {sys.executable} {script}"]) == 0
    assert capsys.readouterr().out.count("repaired: ") == 3
    with Store.open(tmp_path / "store") as store:
        assert list(store.verify(contents=True)) == [] and os.listdir(store.layout.staging) == []


def test_what_elsewhere_is_damaged_too_is_not_taken(
    tmp_path: Path, broken: Callable[[Callable[[Store], None]], None]
) -> None:
    broken(damage_files)
    with Store.open(tmp_path / "other") as other:
        damage_files(other)
    assert run(["verify", "--contents", "--repair", "--from", str(tmp_path / "other")]) == 4
    with pytest.raises(StoreError, match="no store"):
        run(["verify", "--contents", "--repair", "--from", str(tmp_path / "cache/README")])
