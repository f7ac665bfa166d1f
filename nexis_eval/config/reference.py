"""The table of settings, as people and editors read it: a page of documentation, a search, a JSON Schema."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nexis_eval.config.model import LocalPath
from nexis_eval.config.settings import DIRECTIVES, PART_DOCS, SECTIONS, Form, Section, Setting
from nexis_eval.platforms import ALIASES, PLATFORMS

JsonValue = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Option:
    """One setting as it is shown."""

    key: str
    """Dotted, with NAME for what a person chooses: ``users.NAME.shell``."""
    kind: str
    default: str | None
    """As written in TOML; ``None`` where there is none."""
    required: bool
    doc: str
    used_by: str
    """Empty for what has no effect yet."""


def toml_text(value: object) -> str:
    """A value as it is written in TOML, on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, LocalPath):
        return toml_text(value.written)
    if isinstance(value, str):
        return '"' + "".join(_ESCAPES.get(each) or _escaped(each) for each in value) + '"'
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(toml_text, value))}]"
    if isinstance(value, dict):
        if not value:
            return "{}"
        return "{ " + ", ".join(f"{toml_key(key)} = {toml_text(each)}" for key, each in value.items()) + " }"
    return str(value)  # of a secret that shows nothing


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _escaped(character: str) -> str:
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def toml_key(key: object) -> str:
    """A key as it is written in TOML."""
    text = str(key)
    bare = text and all(each.isascii() and (each.isalnum() or each in "_-") for each in text)
    return text if bare else toml_text(text)


def _shown_default(section: Section, setting: Setting) -> str | None:
    value = section.default(setting.key)
    if value is dataclasses.MISSING or value is None or setting.required:
        return None
    if setting.key == "mode" and isinstance(value, int):
        return f'"{value:04o}"'
    return toml_text(value)


def _prefix(section: Section) -> str:
    return ".".join(section.path) + (".NAME" if section.form in (Form.NAMED, Form.LIST) else "")


def options() -> Iterator[Option]:
    """All settings, in the order of the table."""
    for section in (*SECTIONS, *DIRECTIVES):
        if section.free is not None:
            yield Option(f"{_prefix(section)}.KEY", section.free.name, None, False, section.doc, section.used_by)
        for setting in section.settings.values():
            yield Option(
                f"{_prefix(section)}.{setting.key}",
                setting.kind.name,
                _shown_default(section, setting),
                setting.required,
                setting.doc,
                setting.used_by,
            )


def search(words: str) -> list[Option]:
    """The settings whose key or documentation has all of ``words``; those with them in the key first."""
    wanted = words.lower().split()
    found = [each for each in options() if all(word in f"{each.key} {each.doc}".lower() for word in wanted)]
    return sorted(found, key=lambda each: not all(word in each.key.lower() for word in wanted))


def markdown() -> str:
    """``docs/configuration.md``."""
    lines = [
        "# Configuration reference",
        "",
        "Made from the program by `nexis-eval options --markdown`; a test compares the two.",
        "",
        "A system is described by one TOML file and those that it includes. `nexis-eval schema` prints the JSON Schema",
        "of such a file, for editors that complete and check TOML (taplo, Even Better TOML).",
        "",
    ]
    for section in SECTIONS:
        lines += _section_page(section)
    lines += ["## Several files, architectures and profiles", ""]
    for section in DIRECTIVES:
        lines += [line.replace("## ", "### ", 1) for line in _section_page(section)]
    lines += ["### Strength", "", "The same tables can stand in these parts of a file:", ""]
    lines += [f"- {doc}" for doc in PART_DOCS.values()]
    lines += [
        "",
        "`default` and `force` may stand inside of `arch` and `profile`, and those two inside of each other:",
        "`[profile.server.arch.aarch64.force.system]`. The strongest value counts: `--set` on the command line, then",
        "`force`, then what is outside of both, then `default`; and at each of these, what stands below more",
        "conditions. A file has the strength of the part whose `[includes]` names it.",
        "",
        "At equal strength tables merge key by key, lists are joined in the order of the includes (each value once),",
        "and other values have to agree: two different ones are an error that names both places. A stronger list",
        "replaces a weaker one. Packages are told apart by `name`, log rotations by `path`: two of the same strength",
        "are an error, a stronger one changes the keys that it has.",
        "",
        "`nexis-eval explain KEY` shows everything that set a value, and which one counts.",
        "",
    ]
    return "\n".join(lines)


def _section_page(section: Section) -> list[str]:
    lines = [f"## `{section.title}`", "", section.doc, ""]
    if section.free is not None:
        return [*lines, f"Any keys; the value is {_value_kind(section)}. Used by `{section.used_by}`.", ""]
    lines += ["| key | type | default | | used by |", "|---|---|---|---|---|"]
    for setting in section.settings.values():
        default = _shown_default(section, setting)
        shown = "*required*" if setting.required else f"`{default}`" if default is not None else ""
        kind = setting.kind.name.replace("|", "\\|")
        doc = setting.doc.replace("|", "\\|")
        used_by = f"`{setting.used_by}`" if setting.used_by else "*no effect yet*"
        lines.append(f"| `{setting.key}` | {kind} | {shown} | {doc} | {used_by} |")
    return [*lines, ""]


def _value_kind(section: Section) -> str:
    assert section.free is not None
    return section.free.name.removeprefix("a table of ")


def _section_schema(section: Section, children: Mapping[str, object]) -> dict[str, object]:
    if section.free is not None:
        return {**section.free.schema, "description": section.doc}
    properties: dict[str, object] = {}
    for setting in section.settings.values():
        schema: dict[str, object] = {**setting.kind.schema, "description": setting.doc}
        default = _json_default(section, setting)
        if default is not None:
            schema["default"] = default
        properties[setting.key] = schema
    table: dict[str, object] = {
        "type": "object",
        "description": section.doc,
        "additionalProperties": False,
        "properties": {**properties, **children},
    }
    if section.form is Form.LIST:
        table["required"] = [section.identity]
        return {"type": "array", "description": section.doc, "items": table}
    if section.form is Form.NAMED:
        names: JsonValue = section.name_kind.schema if section.name_kind else {}
        rules = {key: value for key, value in names.items() if key != "type"}
        return {"type": "object", "description": section.doc, "propertyNames": rules, "additionalProperties": table}
    return table


def _json_default(section: Section, setting: Setting) -> object:
    value = section.default(setting.key)
    if value is dataclasses.MISSING or value is None or setting.required:
        return None
    if setting.key == "mode" and isinstance(value, int):
        return f"{value:04o}"
    return list(value) if isinstance(value, tuple) else value


def json_schema() -> dict[str, object]:
    """The JSON Schema (draft 2020-12) of one configuration file.

    A file may hold a part of a system, so keys that the whole must have are not required here, except those that tell
    the tables of a list apart.
    """
    tables: dict[str, object] = {}
    for section in (*SECTIONS, *DIRECTIVES):
        if len(section.path) == 1:
            children = {
                child.path[-1]: {"$ref": f"#/$defs/{'.'.join(child.path)}"}
                for child in SECTIONS
                if child.path[:-1] == section.path
            }
            tables[section.path[0]] = _section_schema(section, children)
    definitions: dict[str, object] = dict(tables)
    for section in SECTIONS:
        if len(section.path) > 1:
            definitions[".".join(section.path)] = _section_schema(section, {})
    references: dict[str, object] = {name: _reference(name) for name in tables}
    plain = _reference("part")
    conditional = _reference("part below arch and profile")
    strengths = {"default": _described("default", plain), "force": _described("force", plain)}
    definitions["part"] = _table(references)
    definitions["part below arch and profile"] = _table({**references, **strengths})
    definitions["part below arch"] = _table({**references, **strengths, "profile": _conditions("profile", conditional)})
    definitions["part below profile"] = _table({**references, **strengths, "arch": _conditions("arch", conditional)})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "NexisOS system configuration",
        **_table(
            {
                **references,
                **strengths,
                "arch": _conditions("arch", _reference("part below arch")),
                "profile": _conditions("profile", _reference("part below profile")),
            }
        ),
        "$defs": definitions,
    }


def _reference(name: str) -> dict[str, object]:
    return {"$ref": f"#/$defs/{name.replace(' ', '%20')}"}


def _described(part: str, schema: JsonValue) -> dict[str, object]:
    return {**schema, "description": PART_DOCS[part]}


def _table(properties: JsonValue) -> dict[str, object]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _conditions(part: str, inside: JsonValue) -> dict[str, object]:
    names = {"propertyNames": {"enum": [*PLATFORMS, *ALIASES]}} if part == "arch" else {}
    return _described(part, {"type": "object", **names, "additionalProperties": inside})
