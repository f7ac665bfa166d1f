"""Configured files: rendered when evaluating, and every mistake has its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexis_eval.config.model import ConfigFile, LocalPath, Package
from nexis_eval.config.model import System as SystemSettings
from nexis_eval.system.files import TemplateFileError, config_files, runtime_directories
from tests.eval.system.parts import configured, entries_of, system_of, text_of


def template(directory: Path, content: str | bytes, **variables: object) -> ConfigFile:
    path = directory / "motd.tpl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return ConfigFile("motd", "/etc/motd", LocalPath("motd.tpl", path), "ada", "adm", 0o640, variables)


def test_a_file_is_rendered_with_its_variables_and_the_system(tmp_path: Path) -> None:
    file = template(tmp_path, "{{ greeting }} from {{ system.hostname }} on {{ arch }}\n", greeting="Hello")
    system = system_of(configured(system=SystemSettings(hostname="box"), config_files={"motd": file}))
    (part,) = config_files(system)
    entry = entries_of(system, part)["etc/motd"]
    assert entry.text == "Hello from box on x86_64\n"
    assert (entry.owner, entry.group, entry.mode) == ("ada", "adm", 0o640)


def test_a_file_each_has_a_derivation_each(tmp_path: Path) -> None:
    def parts(greeting: str) -> list[object]:
        one = template(tmp_path, "{{ greeting }}\n", greeting=greeting)
        two = ConfigFile("other", "/etc/other", one.source, variables={"greeting": "same"})
        return list(config_files(system_of(configured(config_files={"motd": one, "other": two}))))

    before, after = parts("Hello"), parts("Bye")
    assert before[0] != after[0]
    assert before[1] == after[1]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("a\n{{ missing }}\n", 2, "'missing' is undefined"),
        ("a\nb\n{% if %}\n", 3, "not a Jinja2 template"),
        ("{{ 1 / 0 }}\n", 1, "division by zero"),
        (b"\xff\xfe", 0, "not UTF-8"),
    ],
)
def test_a_mistake_has_its_place(tmp_path: Path, content: str | bytes, line: int, message: str) -> None:
    file = template(tmp_path, content)
    with pytest.raises(TemplateFileError, match=message) as caught:
        config_files(system_of(configured(config_files={"motd": file})))
    assert caught.value.place is not None
    assert Path(caught.value.place.file) == file.source.path
    assert caught.value.place.line == line
    assert caught.value.exit_code == 2
    assert caught.value.hint


def test_runtime_directories_are_made_at_start_and_at_login() -> None:
    vim = Package("vim", runtime_dirs=("/var/log/vim", "/run/vim", "$XDG_RUNTIME_DIR/vim"))
    system = system_of(configured(packages={"vim": vim}))
    entries = entries_of(system, runtime_directories(system))
    at_start = text_of(entries, "usr/lib/nexis/directories").splitlines()
    assert "0755 root root /run/vim" in at_start
    assert "0755 root root /var/log/vim" in at_start
    assert "var/log/vim" in entries
    assert '"$XDG_RUNTIME_DIR"/vim' in text_of(entries, "etc/profile.d/runtime-dirs.sh")
