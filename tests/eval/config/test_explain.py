"""``explain``: a value, and everything that set it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nexis_eval.cli.lock import UnknownPackageError
from nexis_eval.cli.main import run
from nexis_eval.config.explain import UnknownKeyPathError, explain, parse_key, written_key
from nexis_eval.config.load import load_with_origins

FILES = {
    "system.toml": """\
includes.paths = ["vendor.toml", "site.toml"]
[system]
kernel_parameters = ["quiet"]
[arch.aarch64.system]
hostname = "arm"
[[force.packages]]
name = "zlib"
version = "1.3"
[config_files.motd]
path = "/etc/motd"
source = "motd.tpl"
mode = "0600"
variables = { a = 1 }
[[log_rotation]]
path = "/var/log/x"
""",
    "vendor.toml": """\
[default.system]
hostname = "vendor"
[system]
kernel_parameters = ["splash"]
[[packages]]
name = "zlib"
version = "1.2"
""",
    "site.toml": """\
[system]
hostname = "site"
[config_files.motd.variables]
b = 2
""",
    "motd.tpl": "",
}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["explain", *arguments]) == 0
    return capsys.readouterr().out


def test_the_chain_of_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        shown(capsys, "system.hostname")
        == """\
system.hostname = "site"
  the strongest counts
  -> site.toml:2:12  (ordinary)  "site"
       included from system.toml:1:34
     vendor.toml:2:12  (default)  "vendor"
       included from system.toml:1:19
     built-in default  "nexisos"

  The name of the machine (`/etc/hostname`).
  It is a host name; used by system.boot.
"""
    )


def test_a_configuration_is_named_by_its_file_or_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (".", "system.toml", str(tmp_path)):
        for order in (("system.hostname", name), (name, "system.hostname")):
            assert shown(capsys, *order).startswith('system.hostname = "site"\n')
        with pytest.raises(UnknownKeyPathError, match="which value of"):
            run(["explain", name])
        # The lock of a directory is the one in it.
        with pytest.raises(UnknownPackageError) as caught:
            run(["lock", name, "--update", "nothing"])
        assert "has no package 'nothing'" in str(caught.value)


def test_conditions_count(capsys: pytest.CaptureFixture[str]) -> None:
    output = shown(capsys, "system.hostname", "--arch", "aarch64")
    assert output.startswith('system.hostname = "arm"\n  the strongest counts\n  -> system.toml:5:12  (ordinary, cond')


def test_joined_lists(capsys: pytest.CaptureFixture[str]) -> None:
    output = shown(capsys, "system.kernel_parameters")
    assert 'system.kernel_parameters = ["splash", "quiet"]\n  lists of equal strength are joined' in output
    assert output.count("->") == 2


def test_packages_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    output = shown(capsys, "packages.zlib.version")
    assert 'packages.zlib.version = "1.3"' in output
    assert "-> system.toml:8:11  (forced)" in output
    assert "   vendor.toml:7:11  (ordinary)" in output


def test_tables_list_their_keys(capsys: pytest.CaptureFixture[str]) -> None:
    output = shown(capsys, "config_files.motd")
    assert 'config_files.motd.mode = "0600"\n    system.toml:12:8\n' in output
    assert "config_files.motd.variables = { b = 2, a = 1 }" in output
    assert "[packages.zlib]" in shown(capsys, "packages")
    assert 'log_rotation."/var/log/x".path' in shown(capsys, 'log_rotation."/var/log/x"')


def test_a_table_that_several_files_fill(capsys: pytest.CaptureFixture[str]) -> None:
    output = shown(capsys, "config_files.motd.variables")
    assert "tables are merged key by key" in output
    assert output.count("->") == 2
    assert "config_files.motd.variables.b = 2\n  one place sets it" in shown(capsys, "config_files.motd.variables.b")


def test_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing sets it: it has its default\n  -> built-in default" in shown(capsys, "system.timezone")
    assert "system.kernel_hash = (not set)" in shown(capsys, "system.kernel_hash")


def test_overrides(capsys: pytest.CaptureFixture[str]) -> None:
    output = shown(capsys, "system.hostname", "--set", "system.hostname=me")
    assert "-> --set system.hostname=me  (command line)" in output


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    value = json.loads(shown(capsys, "system.hostname", "--json"))
    assert value["value"] == "site"
    assert [each["counts"] for each in value["steps"]] == [True, False]
    assert value["steps"][0]["place"] == {"file": "site.toml", "line": 2, "column": 12}
    listed = json.loads(shown(capsys, "config_files.motd", "--json"))
    assert {each["key"] for each in listed} >= {"config_files.motd.path", "config_files.motd.variables"}


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("system.hostnam", "did you mean 'system.hostname'?"),
        ("sytem.hostname", "did you mean 'system'?"),
        ("packages.zlb.version", "did you mean 'zlib'?"),
        ("packages.zlib.verson", "did you mean 'packages.zlib.version'?"),
        ("users.bob.shell", "there are: none"),
        ("a b", "such as system.firewall.backend"),
    ],
)
def test_unknown_keys(key: str, hint: str) -> None:
    _config, origins = load_with_origins(Path("system.toml"))
    with pytest.raises(UnknownKeyPathError) as caught:
        explain(origins, parse_key(key))
    assert caught.value.hint == hint


def test_what_explain_says_is_what_the_loader_did() -> None:
    config, origins = load_with_origins(Path("system.toml"))
    for field in ("hostname", "timezone", "kernel_parameters", "init"):
        assert explain(origins, ("system", field)).value == getattr(config.system, field)
    assert explain(origins, ("config_files", "motd", "variables")).value == config.config_files["motd"].variables


def test_keys_are_read_and_written_as_toml() -> None:
    for key in ("a.b", 'a."b.c".d', "packages.zlib"):
        assert written_key(parse_key(key)) == key


def test_what_was_removed_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("more.toml").write_text('[[packages]]\nname = "nano"\n')
    Path("system.toml").write_text('includes.paths = ["more.toml"]\nremove.packages = ["nano"]\n')
    with pytest.raises(UnknownKeyPathError) as caught:
        run(["explain", "packages.nano.version"])
    assert caught.value.hint == "[remove] in system.toml takes it out"
