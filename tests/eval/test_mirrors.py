"""Mirror sets, and what apt is configured with."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexis_eval.mirrors import Mirrors, UnknownMirrorError, apt_archives, default_mirrors


def test_a_url_stands_for_one_of_each_mirror() -> None:
    mirrors = Mirrors({"gnu": ("https://a.example/gnu", "http://b.example/")})
    assert mirrors.expand("mirror://gnu/m4/m4.tar.xz") == [
        "https://a.example/gnu/m4/m4.tar.xz",
        "http://b.example/m4/m4.tar.xz",
    ]
    assert mirrors.expand("https://c.example/x") == ["https://c.example/x"]


@pytest.mark.parametrize("name", ["own", "debian"])
def test_an_unknown_set_says_what_to_write(name: str) -> None:
    with pytest.raises(UnknownMirrorError) as caught:
        Mirrors({}).expand(f"mirror://{name}/x")
    assert f"[mirrors] {name} = " in (caught.value.hint or "")
    assert ("apt" in (caught.value.hint or "")) == (name == "debian")
    assert caught.value.exit_code == 2


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def test_apt_in_both_of_its_styles(apt: Path) -> None:
    (apt / "sources.list").write_text(
        "# deb http://no.example/debian x main\n"
        "deb [arch=amd64 signed-by=/a b] http://one.example/debian/ bookworm main # comment\n"
        "deb-src http://one.example/debian bookworm main\n"
        "deb http://sec.example/debian-security bookworm-security main\n"
        "deb cdrom:[x]/debian bookworm main\n"
        "deb http://other.example/ubuntu jammy main\n"
    )
    (apt / "sources.list.d" / "two.sources").write_text(
        "Types: deb\nURIs: http://two.example/debian\n https://three.example/debian/\nSuites: bookworm\n# a\n\n"
        "Enabled: no\nTypes: deb\nURIs: http://off.example/debian\n"
    )
    (apt / "sources.list.d" / "three.save").write_text("deb http://saved.example/debian x main\n")
    assert apt_archives(apt) == {
        "debian": ("http://one.example/debian", "http://two.example/debian", "https://three.example/debian"),
        "debian-security": ("http://sec.example/debian-security",),
    }


def test_a_machine_without_apt(tmp_path: Path) -> None:
    assert apt_archives(tmp_path) == {}


def test_the_configuration_wins() -> None:
    own = {"debian": ("https://own.example/debian",)}
    assert default_mirrors(own).sets["debian"] == own["debian"]
