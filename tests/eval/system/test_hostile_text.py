"""Every setting with every hostile text: refused at its place, or read back from each file that is made as that text.

The settings come from the table of settings. Of each, a harmless text is evaluated first; with a hostile one in its
stead the files must differ in that text alone, as the parser of each file's language reads them.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from nexis_eval.build_rules.calls import BuildContext, render
from nexis_eval.build_rules.errors import RuleOptionError
from nexis_eval.build_rules.model import Rule
from nexis_eval.build_rules.reading import load_rules
from nexis_eval.config.errors import ConfigErrors, each_error
from nexis_eval.config.kinds import InvalidValueError, Kind
from nexis_eval.config.load import load
from nexis_eval.config.model import Config, Package
from nexis_eval.config.passwords import passwords
from nexis_eval.config.regions import LOCALE
from nexis_eval.config.settings import SECTIONS, Form, Section
from nexis_eval.config.values import COMMAND
from nexis_eval.diagnostics import render as rendered
from nexis_eval.graph.dag import GraphBuilder
from nexis_eval.graph.derivation import Files
from nexis_eval.image.iso import kernel_parameters
from nexis_eval.image.qemu import run_script
from nexis_eval.image.secrets import filling
from nexis_eval.places import RULES
from nexis_eval.platforms import X86_64
from nexis_eval.system.assemble import contributions, system_layers
from nexis_eval.system.context import System
from nexis_eval.system.view import SystemView
from nexis_store.errors import NexisError

HARMLESS = "zqtext"
HOSTILE = (
    *"\"'`;&|<>()[]{}*?~!#\\%=:,/@^+ \t\n\r\0\x1b\x7f\x85\u2028\u202e",
    *(
        "é",
        "日本",
        "..",
        "$(id)",
        "$HOME",
        "${IFS}",
        "`id`",
        "%s",
        "%2F",
        "\\n",
        "\\",
        "'; id; '",
        '"; id; "',
        "\nx: y",
    ),
    *(
        "{{ 7 * 7 }}",
        "{% if x %}",
        "{# x #}",
        "-->",
        "]]>",
        "&amp;",
        "<x/>",
        " # x",
        " -x",
        "x" * 300,
        "/../",
        "//",
        "\nx",
    ),
)
SAMPLES = (
    HARMLESS,
    HARMLESS.upper(),
    f"/srv/{HARMLESS}",
    f"https://example.org/{HARMLESS}",
    f"ssh-ed25519 AAAA {HARMLESS}",
    f"$6${HARMLESS}",
    "en_US.UTF-8",
    "us",
    "UTC",
    "192.0.2.1/24",
    "192.0.2.1",
    "0644",
    "root:root 0644",
    "x86_64",
    "true",
    f"sha256:{'0' * 64}",
)
"""Of each kind of text, one is right. Those without the harmless text leave no room for any other."""
TABLES = {
    "packages": {"name": "hello", "version": "1.0", "source": "https://example.org/hello-1.0.tar.gz"},
    "config_files": {"path": "/etc/configured", "source": "template"},
    "dinit_services": {"command": "/usr/bin/served"},
    "log_rotation": {"path": "/var/log/rotated"},
    "swap": {"size_mb": 16},
    "network": {"dhcp": True},
}
"""What tables have beside the setting that is tried."""
TEMPLATE = "{% if zq is defined %}{{ zq }}{% endif %}\n"


def texts(kind: Kind) -> Iterator[str]:
    """One right text of a kind, then hostile ones."""
    sample = next((each for each in SAMPLES if accepted(kind, wrapped(kind, each))), None)
    assert sample is not None, f"add a right text of {kind.name} to SAMPLES"
    yield sample
    harmless = HARMLESS if HARMLESS in sample else HARMLESS.upper() if HARMLESS.upper() in sample else sample
    half = len(harmless) // 2
    for hostile in HOSTILE:
        yield sample.replace(harmless, f"{harmless[:half]}{hostile}{harmless[half:]}")
        yield sample.replace(harmless, f"{harmless}{hostile}")
        if not hostile.startswith("-"):
            # Options are told apart from other arguments by that.
            yield hostile


def wrapped(kind: Kind, text: str) -> object:
    """A value of the form that a kind takes, which is that text but for its form."""
    match kind.schema.get("type"):
        case "array":
            return [text]
        case "object":
            return {"zq": text}
    return text


def accepted(kind: Kind, value: object) -> bool:
    """Whether a value is of a kind, as the loader sees it."""
    if isinstance(value, dict):
        return any(_accepted(kind, {key: each}) for each in value.values() for key in ("zq", "/zq"))
    return _accepted(kind, value)


def _accepted(kind: Kind, value: object) -> bool:
    try:
        kind.convert(value, "/")
    except InvalidValueError:
        return False
    return True


def takes_text(kind: Kind) -> bool:
    """Whether texts are among a kind's values, and not just a few words."""
    schema = json.dumps(kind.schema)
    if kind.schema.get("type") in ("boolean", "integer") or "enum" in kind.schema:
        return False
    return '"enum"' not in schema and '"items": {"type": "integer"' not in schema


def settings() -> Iterator[tuple[Section, str | None]]:
    """Every setting that takes a text."""
    for section in SECTIONS:
        if section.free is not None:
            yield section, None
        for key, setting in section.settings.items():
            if takes_text(setting.kind):
                yield section, key


def toml(value: object) -> str:
    """A value in TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value).replace("\x7f", "\\u007f")


def written(section: Section, key: str | None, kind: Kind, text: str) -> str:
    """A configuration that has ``text`` in one setting."""
    value = wrapped(kind, text)
    if isinstance(value, dict):
        value = {("zq" if _accepted(kind, {"zq": text}) or not _accepted(kind, {"/zq": text}) else "/zq"): text}
    if key is None:
        assert isinstance(value, dict)
        rows = value
    else:
        rows = {**TABLES.get(section.path[0], {}), key: value}
    if section.path == ("network",) and key in ("static_ip", "gateway"):
        rows = {"static_ip": "192.0.2.5/24", "gateway": "192.0.2.1", **rows}
        rows["dhcp"] = False
    if section.path == ("dinit_services",) and key == "pid_file":
        rows["type"] = "bgprocess"
    title = ".".join(section.path)
    header = {Form.NAMED: f"[{title}.zq]", Form.LIST: f"[[{title}]]"}.get(section.form, f"[{title}]")
    lines = [header, *(f"{json.dumps(name)} = {toml(each)}" for name, each in rows.items())]
    if title != "system":
        lines += ["[system]", 'init = "busybox"']
    return "\n".join(lines) + "\n"


def dinit_words(value: str) -> list[str]:
    """A value as dinit-service(5) takes it apart."""
    words: list[str] = []
    word, quoted, position = "", False, 0
    begun = False
    while position < len(value):
        character = value[position]
        assert character != "$", "the name of a variable"
        if character == "\\":
            position += 1
            word, begun = word + value[position], True
        elif character == '"':
            quoted, begun = not quoted, True
        elif character == " " and not quoted:
            words += [word] if begun else []
            word, begun = "", False
        else:
            assert character != "#" or quoted, "a comment"
            word, begun = word + character, True
        position += 1
    assert not quoted
    return [*words, word] if begun else words


def dinit_service(text: str) -> list[object]:
    lines: list[object] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            match = re.fullmatch(r"([a-z-]+) ?[=:] (.*)", line)
            assert match is not None, line
            lines.append([match[1], dinit_words(match[2])])
    return lines


def shell_script(text: str) -> list[object]:
    """The words of each line. What is expanded outside of single quotes is our own."""
    for line in text.split("\n"):
        bare = re.sub(r"'[^']*'", "", line)
        for expanded in ("$(id)", "`id`", "${IFS}"):
            assert expanded not in bare, line
    return [shell_words(line) for line in text.split("\n")]


@lru_cache(maxsize=100_000)
def shell_words(line: str) -> object:
    lexer = shlex.shlex(line.removesuffix("\\"), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:
        # A part of something that goes on, of our own.
        return line


def fields(count: int) -> Any:
    def parse(text: str) -> list[object]:
        rows: list[object] = [line.split(":") for line in text.split("\n")[:-1]]
        assert all(len(row) == count for row in rows if isinstance(row, list)), text
        return rows

    return parse


def columns(count: int) -> Any:
    """What ``read -r`` makes of lines."""

    def parse(text: str) -> list[object]:
        return [[word.strip(" \t") for word in line.split(" ", count - 1)] for line in text.split("\n")[:-1]]

    return parse


def fstab(text: str) -> list[object]:
    """As getmntent(3) reads it."""
    rows = [re.split("[ \t]+", line) for line in text.split("\n") if line and not line.startswith("#")]
    assert all(len(row) == 6 for row in rows), text
    return [[re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word) for word in row] for row in rows]


def assignments(text: str) -> list[object]:
    return [shlex.split(line, comments=True) for line in text.split("\n")[:-1]]


def lines(text: str) -> list[object]:
    assert text.endswith("\n") or not text
    return list(text.split("\n")[:-1])


def xml(text: str) -> list[object]:
    return [[each.tag, dict(each.attrib), each.text] for each in ElementTree.fromstring(text).iter()]


PARSERS: tuple[tuple[str, Any], ...] = (
    ("etc/passwd", fields(7)),
    ("etc/group", fields(4)),
    ("etc/shadow", fields(9)),
    ("etc/dinit.d/env/.*", lines),
    (r"etc/dinit.d/network\.sh", shell_script),
    ("etc/dinit.d/.*", dinit_service),
    ("usr/lib/nexis/directories", columns(4)),
    ("etc/nexis/log-rotation", columns(5)),
    ("usr/lib/nexis/swap", columns(3)),
    ("etc/fstab", fstab),
    ("usr/lib/os-release|etc/(locale|vconsole).conf", assignments),
    ("etc/firewalld/zones/.*", xml),
    (".*/authorized_keys|etc/(hostname|hosts|timezone|resolv.conf|shells|issue)|boot/.*", lines),
    ("etc/configured", str),
)


def parsed(path: str, text: str) -> object:
    """The file as its language reads it."""
    for pattern, parse in PARSERS:
        if re.fullmatch(pattern, path):
            return parse(text)
    return shell_script(text) if text.startswith("#!/bin/sh") or path.endswith(".sh") else text


def files(config: Config) -> dict[str, str | None]:
    """Every file that is made of a configuration, by path; links by where they lead."""
    view = SystemView.of(config)
    system = System(view, GraphBuilder())
    made: dict[str, str | None] = {}
    script = system.builder[run_script(system)].builder
    assert isinstance(script, Files)
    layers = system_layers(view, contributions(view))
    for entries in (*(layer.entries for layer in layers), script.entries):
        for entry in entries:
            made[f"-> {entry.path}" if entry.target is not None else entry.path] = entry.text or entry.target
    made["boot/parameters"] = kernel_parameters(system) + "\n"
    made["boot/title"] = f"NexisOS {config.system.version} on {config.system.hostname}\n"
    rules = load_rules(RULES / "build")
    for package in config.packages.values():
        for rule in rules.values():
            if rule.abstract or any(option.required for option in rule.options.values()):
                continue
            if package.phases or not package.options.keys() <= rule.options.keys():
                continue
            context = BuildContext(
                package, X86_64, X86_64, "/in/source/x.tar.gz", tuple(f"/in/{each.written}" for each in package.patches)
            )
            try:
                build = render(rule, context)
            except RuleOptionError:
                # A rule that does nothing with the setting refuses it.
                continue
            made[f"build/{rule.name}.sh"] = build.script
            made |= {f"build/{rule.name}/{name}": f"{value}\n" for name, value in build.env}
    return made


def replaced(value: object, harmless: str, hostile: str) -> object:
    """``value`` with one text in place of another, wherever it is."""
    if isinstance(value, str):
        return value.replace(harmless, hostile)
    if isinstance(value, list | tuple):
        return [replaced(each, harmless, hostile) for each in value]
    if isinstance(value, Mapping):
        return {replaced(key, harmless, hostile): replaced(each, harmless, hostile) for key, each in value.items()}
    return value


def structure(made: Mapping[str, str | None]) -> dict[str, object]:
    return {path: parsed(path, text) if text is not None else None for path, text in made.items()}


CASES = [pytest.param(section, key, id=f"{'.'.join(section.path)}.{key or '*'}") for section, key in settings()]


@pytest.mark.parametrize(("section", "key"), CASES)
def test_a_text_is_refused_at_its_place_or_comes_out(section: Section, key: str | None, tmp_path: Path) -> None:
    kind = section.free if key is None else section.settings[key].kind
    assert kind is not None
    file = tmp_path / "system.toml"
    (tmp_path / "template").write_text(TEMPLATE)
    expected: dict[str, object] | None = None
    sample, *hostile = dict.fromkeys(texts(kind))
    for text in (sample, *hostile):
        file.write_text(written(section, key, kind, text))
        try:
            config = load(file)
            made = files(config)
        except NexisError as error:
            assert (
                rendered(ConfigErrors(each_error(error)), colour=False)
                .translate({9: None, 10: None, 0x2028: None})
                .isprintable()
            )
            for each in each_error(error):
                assert each.place is not None, (text, each)
                assert each.place.line > 0, (text, each)
            continue
        if key is not None and section.settings[key].secret:
            # It is in nothing that is made: copies of images get it, on a line of its own.
            assert text in ("!", "*") or not any(text in each for each in made.values() if each), text
            place = filling(passwords(config))
            assert place is None or place.content.rstrip(b"\n") == f"password zq {text}".encode()
            continue
        if expected is None:
            if text == sample:
                expected = structure(made)
            continue
        if kind is COMMAND:
            # Is a language of its own: the same words have to reach whoever runs it.
            unit = dinit_service(made["etc/dinit.d/zq"] or "")
            [words] = [row[1] for row in unit if isinstance(row, list) and row[0] == str(key).replace("_", "-")]
            script = "/zq/run" if key == "command" else "/zq/finish"
            assert any(shlex.join(words) in (each or "") for path, each in made.items() if path.endswith(script)), text
            continue
        if kind is LOCALE:
            # One character set has several names, of which one is written.
            assert set(structure(made)) == set(expected), text
        elif sample[0] == "/":
            if text.count("/") == sample.count("/"):
                assert structure(made) == replaced(expected, sample[1:], text[1:]), text
        else:
            assert structure(made) == replaced(expected, sample, text), text
        scripts = [each for path, each in made.items() if each and parsed_as_shell(path, each)]
        check_syntax("\n".join(f"({each}\n)" for each in scripts if text in each), tmp_path)


def parsed_as_shell(path: str, text: str) -> bool:
    return text.startswith("#!/bin/sh") or path.endswith(".sh")


def check_syntax(script: str, directory: Path) -> None:
    if script:
        (directory / "script").write_text(script)
        subprocess.run(["bash", "-n", directory / "script"], check=True)


@pytest.mark.parametrize("section", [each for each in SECTIONS if each.name_kind], ids=lambda each: each.title)
def test_names_have_no_characters_that_mean_anything(section: Section) -> None:
    assert section.name_kind is not None
    for text in texts(section.name_kind):
        if _accepted(section.name_kind, text):
            assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", text)


def test_grub_reads_each_parameter_as_one_word(tmp_path: Path) -> None:
    script = (RULES / "system" / "iso.sh").read_text()
    quoted = script[script.index("quoted() {") : script.index("\n}\n", script.index("quoted() {")) + 3]
    for text in ("a;b}", "it's", "$root", "a b", "'", 'x"y', "\\", "{", "|reboot", "#x"):
        command = ["bash", "-c", f'{quoted}quoted "$1"', "bash", text]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        # Single quotes mean the same to GRUB and to the shell.
        assert shlex.split(result.stdout) == [text]


@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not there")
def test_nft_reads_the_rules(tmp_path: Path) -> None:
    file = tmp_path / "system.toml"
    file.write_text("[system.firewall]\nenabled = true\nallow_tcp = [22, 80]\nallow_udp = [53]\n")
    config = load(file)
    from nexis_eval.system.firewall import _entries

    assert config.system.firewall is not None
    [rules] = [each for each in _entries(config.system.firewall, dhcp=True) if each.path == "etc/nftables.conf"]
    (tmp_path / "rules").write_text(rules.text or "")
    result = subprocess.run(["nft", "-c", "-f", tmp_path / "rules"], capture_output=True, text=True, check=False)
    assert "syntax error" not in result.stderr


RULE_OPTIONS = [
    pytest.param(rule, option.name, id=f"{rule.name}.{option.name}")
    for rule in load_rules(RULES / "build").values()
    for option in rule.options.values()
    if not rule.abstract and option.type in ("string", "list", "table") and not option.choices
]


@pytest.mark.parametrize(("rule", "name"), RULE_OPTIONS)
def test_options_of_rules_are_words_of_the_script(rule: Rule, name: str, tmp_path: Path) -> None:
    option = rule.options[name]
    forms = {"string": lambda text: text, "list": lambda text: (text,), "table": lambda text: {"zq": text}}

    def built(text: str) -> dict[str, object]:
        required = {each.name: "/in/files/x" for each in rule.options.values() if each.required}
        options = {**required, name: forms[option.type](text)}
        package = Package("hello", "1.0", options=options)
        build = render(rule, BuildContext(package, X86_64, X86_64, "/in/source/x.tar.gz"))
        if text != HARMLESS and text in build.script:
            check_syntax(build.script, tmp_path)
        return {"script": shell_script(build.script), **{each: f"{value}\n" for each, value in build.env}}

    expected = built(HARMLESS)
    for hostile in HOSTILE:
        if not set(hostile) & set("\0\n\r\t/"):
            text = f"zqt{hostile}ext"
            # Kconfig's own quoting, inside of the shell's.
            inside = re.sub(r'(["\\])', r"\\\1", text) if name == "set" else text
            assert built(text) == replaced(expected, HARMLESS, inside), text
