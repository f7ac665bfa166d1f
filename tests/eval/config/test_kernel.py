from __future__ import annotations

from pathlib import Path

import pytest

from nexis_eval.config.check import kernel_package
from nexis_eval.config.errors import ConfigErrors
from nexis_eval.config.kernel import is_kernel, name_and_version
from nexis_eval.config.load import load
from nexis_eval.config.model import LocalPath

SYSTEM = """\
[system]
kernel = "linux-6.1.176"
kernel_source = "mirror://debian/pool/main/l/linux/linux_{version}.orig.tar.xz"
kernel_hash = "sha256:9aad4025973feea3f0d978e82ab7db97d8d5ce3f59fcc6b1f316153d66e3a504"
kernel_config = "kernel.config"
"""


def write(directory: Path, text: str) -> Path:
    (directory / "kernel.config").write_text("CONFIG_NET=y\n")
    file = directory / "system.toml"
    file.write_text(text)
    return file


def test_the_settings_are_a_package_like_any_other(tmp_path: Path) -> None:
    config = load(write(tmp_path, SYSTEM))
    kernel = config.packages["linux"]
    assert kernel_package(config) is kernel
    assert (kernel.version, is_kernel(kernel, config)) == ("6.1.176", True)
    assert kernel.source == ("mirror://debian/pool/main/l/linux/linux_{version}.orig.tar.xz",)
    assert kernel.hash == "sha256:9aad4025973feea3f0d978e82ab7db97d8d5ce3f59fcc6b1f316153d66e3a504"
    assert kernel.options == {"config": LocalPath("kernel.config", tmp_path / "kernel.config")}


def test_what_is_said_of_it_has_the_places_of_the_settings(tmp_path: Path) -> None:
    config = load(write(tmp_path, SYSTEM))
    lines = {}
    for key in ("name", "source", "hash", "options"):
        place = config.place(("packages", "linux", key))
        assert place is not None
        lines[key] = place.line
    assert lines == {"name": 2, "source": 3, "hash": 4, "options": 5}


@pytest.mark.parametrize(
    ("kernel", "parts"),
    [("linux-6.9.2", ("linux", "6.9.2")), ("linux-rt-6.1-rc3", ("linux-rt", "6.1-rc3")), ("linux", ("linux", ""))],
)
def test_a_name_with_a_version_is_both(kernel: str, parts: tuple[str, str]) -> None:
    assert name_and_version(kernel) == parts


def test_a_package_of_the_same_name_is_an_error(tmp_path: Path) -> None:
    file = write(tmp_path, SYSTEM + '\n[[packages]]\nname = "linux"\nversion = "6.1"\ndebian = ["linux-image"]\n')
    with pytest.raises(ConfigErrors) as caught:
        load(file)
    (error,) = caught.value.errors
    assert error.message == "'kernel_source' defines package 'linux', but [[packages]] already has one"
    assert str(error.place).endswith("system.toml:3:17")
