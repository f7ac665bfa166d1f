"""The table of settings and what is made from it: model, documentation, search, JSON Schema."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import jsonschema
import pytest
import tomli

from nexis_eval.cli.main import run
from nexis_eval.config import reference
from nexis_eval.config.settings import BY_PATH, DIRECTIVES, PACKAGES, SECTIONS, Form

ROOT = Path(__file__).parents[3]
SPEC = Path(__file__).parent / "spec"


@pytest.mark.parametrize("section", SECTIONS, ids=lambda each: each.title)
def test_settings_are_the_fields_of_the_model(section: object) -> None:
    from nexis_eval.config.settings import Section

    assert isinstance(section, Section)
    if section.model is None:
        return
    fields = {each.name for each in dataclasses.fields(section.model)}
    children = {each.path[-1] for each in SECTIONS if each.path[:-1] == section.path}
    settings = set(section.settings)
    if section.form is Form.NAMED:
        fields.discard("name")
        settings.discard("name")
    assert settings | children == fields


def test_every_setting_is_documented() -> None:
    for section in (*SECTIONS, *DIRECTIVES):
        assert re.fullmatch(r".+[.:)]", section.doc, re.DOTALL), section.title
        for setting in section.settings.values():
            assert setting.doc.endswith((".", "`.", ")")), (section.title, setting.key)


def test_every_key_of_the_specification_is_a_setting() -> None:
    table = tomli.loads((SPEC / "system.toml").read_text())
    for package in table["packages"]:
        assert set(package) <= set(PACKAGES.settings)
    for name, value in table["system"].items():
        assert name in BY_PATH["system",].settings or ("system", name) in BY_PATH, value


def test_the_documentation_is_that_of_the_program(accept: bool) -> None:
    page = ROOT / "docs/configuration.md"
    if accept:
        page.write_text(reference.markdown())
    assert page.read_text() == reference.markdown()


def test_search() -> None:
    assert [each.key for each in reference.search("firewall backend")] == ["system.firewall.backend"]
    assert reference.search("ports")[0].key == "system.firewall.allow_tcp"
    assert reference.search("no such thing") == []


def test_options_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["options", "hostname"]) == 0
    assert 'system.hostname  (a host name, default "nexisos", used by system.boot)' in capsys.readouterr().out
    assert run(["options", "--json", "dhcp"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["key"] == "network.dhcp"
    assert run(["options", "zzzz"]) == 1
    assert run(["options"]) == 0
    assert run(["options", "--markdown"]) == 0


# JSON Schema


def validator() -> jsonschema.Draft202012Validator:
    schema = reference.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


GOOD = [
    "",
    'includes.paths = ["*.toml"]\nremove.packages = ["a"]',
    '[arch.aarch64.force.system]\nhostname = "a"',
    "[profile.server.arch.x86.default.network]\ndhcp = true",
    '[[force.packages]]\nname = "a"\nsource = ["https://example.org/a", "git+https://example.org/b"]',
    '[dinit_services.a]\nrestart = true\n[dinit_services.b]\nrestart = "on-failure"',
    '[mirrors]\ndebian = "https://example.org/debian"',
    '[conflicts]\n"/usr/bin/vi" = "vim"',
]
BAD = [
    "[system]\nhostnam = 'a'",
    "[system]\nhostname = 3",
    "[system]\nhostname = 'a_b'",
    "[systm]",
    "[[packages]]\nversion = '1'",
    "[[packages]]\nname = 'a'\nhash = 'md5:00'",
    "[[packages]]\nname = 'a'\nsource = 'x'",
    "[packages]\nname = 'a'",
    "[arch.vax.system]",
    "[arch.aarch64.arch.riscv64.system]",
    "[default.arch.aarch64.system]",
    "[force.force.system]",
    "[users.Bob]",
    "[config_files.a]\nmode = 644",
    "[system.firewall]\nbackend = 'pf'",
    "[system.firewall]\nallow_tcp = [0]",
    "[conflicts]\n'usr/bin/vi' = 'vim'",
]


@pytest.mark.parametrize("text", GOOD)
def test_the_schema_accepts(text: str) -> None:
    assert list(validator().iter_errors(tomli.loads(text))) == []


@pytest.mark.parametrize("text", BAD)
def test_the_schema_refuses(text: str) -> None:
    assert list(validator().iter_errors(tomli.loads(text)))


def test_the_schema_accepts_the_specification_and_what_it_includes() -> None:
    for path in (SPEC / "system.toml", *(SPEC / "packages").glob("*.toml")):
        assert list(validator().iter_errors(tomli.loads(path.read_text()))) == []


def test_the_schema_agrees_with_the_loader_on_the_broken_configurations() -> None:
    # Errors of single values and keys are the schema's; it knows nothing of merging and of rules between keys. What it
    # cannot say is left to the loader.
    beyond = {"timezone-unknown", "timezone-offset", "hostname-long", "home-dots", "subdir-outside", "empty-path"}
    beyond |= {"address-bad", "hash-short", "hash-not-hex", "kernel-hash-bad", "service-name-differs", "type-date"}
    beyond |= {"type-date-in-variables", "config-file-without-path", "config-file-without-source", "ssh-key-private"}
    beyond |= {"include-cycle", "include-twice", "include-twice-in-one-list", "url-space", "url-mirror-set"}
    beyond |= {"password-hash-broken", "url-password", "region-misspelt"}
    check = validator()
    for case in sorted((ROOT / "tests/golden/errors").glob("*.txt")):
        text = case.read_bytes()
        body = re.search(rb"^-- system.toml --\n(.*?)^-- ", text, re.DOTALL | re.MULTILINE)
        codes = set(re.findall(rb"\[(C0[23]\d\d)\]$", text, re.MULTILINE))
        if body is None or not codes or b"options: " in text or case.stem in beyond or b"included from" in text:
            continue
        assert list(check.iter_errors(tomli.loads(body[1].decode("utf-8-sig")))), case.name


def test_schema_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(reference.json_schema()))


def test_values_are_written_as_toml() -> None:
    value = {"a b": ["x", 1, True, 'quote " and \\', {"c": ()}], "d": {}}
    assert tomli.loads(f"x = {reference.toml_text(value)}")["x"] == json.loads(json.dumps(value))


def test_used_by_names_modules_that_read_the_setting() -> None:
    # A module may hand its section as a whole to the template of its name.
    templates = "".join(path.read_text() for path in (ROOT / "rules/system").glob("*.j2"))
    for option in reference.options():
        if not option.used_by:
            continue
        name = option.used_by if option.used_by.startswith("nexis_") else f"nexis_eval.{option.used_by}"
        path = ROOT / f"{name.replace('.', '/')}.py"
        key = option.key.rpartition(".")[2]
        if option.key.startswith(("includes.", "remove.")) or key == "KEY":
            key = option.key.partition(".")[0]
        # Services and users are named by their tables.
        if not option.key.startswith(("dinit_services.NAME.name", "packages.NAME.name")):
            assert re.search(rf"\b{key.rstrip('s') if key == 'removes' else key}\b", path.read_text() + templates), (
                option
            )


def test_settings_without_effect_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    idle = [each.key for each in reference.options() if not each.used_by and "NAME" not in each.key]
    if not idle:
        return
    samples = {"enabled": "true", "backend": '"nftables"', "mode": '"permissive"'}
    key = next(each for each in idle if each.rpartition(".")[2] in samples)
    (tmp_path / "system.toml").write_text(f"{key} = {samples[key.rpartition('.')[2]]}\n")
    assert run(["check", str(tmp_path / "system.toml")]) == 0
    assert f"note: '{key}' has no effect yet" in capsys.readouterr().out
    assert run(["options", *key.split(".")]) == 0
    assert "no effect yet" in capsys.readouterr().out


def test_every_architecture_is_checked_unless_one_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "system.toml"
    file.write_text('[[packages]]\nname = "a"\ndependencies = ["b", "c"]\n[[arch.aarch64.packages]]\nname = "b"\n')
    assert run(["check", str(file)]) == 2
    output = capsys.readouterr().out
    assert "depends on 'b', which is not declared (for x86_64, riscv64) [C0501]" in output
    assert output.count("depends on 'c', which is not declared [C0501]") == 1
    assert run(["check", str(file), "--arch", "aarch64"]) == 2
    assert "'b'" not in capsys.readouterr().out.replace("did you mean 'b'", "")
    file.write_text('[[packages]]\nname = "a"\n[[arch.aarch64.packages]]\nname = "b"\n')
    assert run(["check", "--quick", str(file)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{file}: no mistakes (x86_64, riscv64: 1 file, 1 package)",
        f"{file}: no mistakes (aarch64: 1 file, 2 packages)",
    ]
    # What only exists for some is wrong for the others, and that is no mistake of a system that is not meant for them.
    file.write_text('[system]\narchitectures = ["aarch64"]\nkernel = "a"\n[[arch.aarch64.packages]]\nname = "a"\n')
    assert run(["check", "--quick", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: no mistakes (aarch64: 1 file, 1 package)\n"
    assert run(["check", str(file), "--arch", "x86_64"]) == 2
    assert "system.architectures does not include 'x86_64' [C0517]" in capsys.readouterr().out
