"""Files rendered from templates: what they see, and errors that lead into the template."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexis_eval.config.model import ConfigFile, LocalPath, Network, Package, User
from nexis_eval.config.model import System as Settings
from nexis_eval.system.files import TemplateFileError, config_files, render_file
from tests.eval.system.systems import assembled, files_of, make_system, text_of


def _file(tmp_path: Path, text: str, **variables: object) -> ConfigFile:
    path = tmp_path / "x.tpl"
    path.write_text(text)
    return ConfigFile("x", "/etc/x.conf", LocalPath("x.tpl", path), variables=variables)


def test_variables_and_settings(tmp_path: Path) -> None:
    file = _file(tmp_path, "{{ n + 1 }} {{ system.hostname }} {{ network.interface }} {{ arch }}\n", n=4)
    system = make_system("riscv64", system=Settings(hostname="lab"), network=Network("eth1"))
    assert render_file(system, file) == "5 lab eth1 riscv64\n"


def test_ends_of_lines_stay(tmp_path: Path) -> None:
    file = _file(tmp_path, "", n="x")
    for template in (b"a\r\nb\n{{ n }}\r\n", b"a\r\nb\r\n"):
        file.source.path.write_bytes(template)
        assert render_file(make_system(), file).encode() == template.replace(b"{{ n }}", b"x")


def test_one_part_a_file(tmp_path: Path) -> None:
    one = _file(tmp_path, "{{ n }}", n=1)
    other = ConfigFile("y", "/etc/y", one.source, mode=0o600, owner="y", group="z", variables={"n": 2})
    system = make_system(config_files={"x": one, "y": other})
    first, second = (each.entries for each in config_files(system).layers)
    assert files_of(first)["etc/x.conf"].text == "1"
    entry = files_of(second)["etc/y"]
    assert (entry.text, entry.mode, entry.owner, entry.group) == ("2", 0o600, "y", "z")


@pytest.mark.parametrize(
    ("template", "line", "message"),
    [
        ("a\nb {{ missing }}\n", 2, "'missing' is undefined"),
        ("a\n{% if %}\n", 2, "not a Jinja2 template"),
        ("\n\n{{ 1 / 0 }}", 3, "division"),
        ("{{ n.no.such }}", 1, "no"),
        ("{{ 'x' + 1 }}", 1, "fails"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, template: str, line: int, message: str) -> None:
    file = _file(tmp_path, template, n=1)
    with pytest.raises(TemplateFileError, match=message) as caught:
        render_file(make_system(), file)
    assert caught.value.place is not None
    assert (caught.value.place.file, caught.value.place.line) == (str(file.source.path), line)
    assert caught.value.hint


def test_templates_are_utf8(tmp_path: Path) -> None:
    file = _file(tmp_path, "")
    file.source.path.write_bytes(b"\xff")
    with pytest.raises(TemplateFileError, match="not UTF-8"):
        render_file(make_system(), file)


def test_runtime_directories() -> None:
    vim = Package("vim", runtime_dirs=("/var/log/vim", "$XDG_RUNTIME_DIR/vim", "/run/vim"))
    absent = Package("lib", runtime_dirs=("/run/lib",), install=False)
    system = make_system(packages={"vim": vim, "lib": absent}, users={"ada": User("ada", uid=1000)})
    part = assembled(system, "runtime-dirs")
    assert text_of(part, "usr/lib/nexis/directories").splitlines() == [
        "0755 root root /run/user",
        "0700 root root /run/user/0",
        "0700 ada ada /run/user/1000",
        "0755 root root /run/vim",
        "0755 root root /var/log/vim",
    ]
    assert 'mkdir -p "$XDG_RUNTIME_DIR"/vim' in text_of(part, "etc/profile.d/runtime-dirs.sh")
    assert files_of(part)["var/log/vim"].text is None
