"""Say what a value is, which places set it, and which of them counts.

KEY is written as in TOML: system.firewall.backend, packages.zlib.version, users.root. A table lists its keys.
"""

from __future__ import annotations

import argparse
import dataclasses
import json

from nexis_eval.cli.arguments import add_system_arguments, system_file
from nexis_eval.cli.loading import load_config_with_origins
from nexis_eval.config.explain import Explanation, UnknownKeyPathError, explain, keys_at, parse_key, written_key
from nexis_eval.config.model import KeyPath, LocalPath
from nexis_eval.config.origin import Origins
from nexis_eval.config.reference import toml_text
from nexis_eval.config.settings import Setting
from nexis_eval.secrets import HIDDEN, Secret, hidden

_TABLE = "(a table)"
_WIDTH = 100
"""Longer values are cut in the listing of a table, in characters."""


EXAMPLES = """\
examples:
  nexis-eval explain system.hostname
  nexis-eval explain packages.zlib.version ~/my-system --arch riscv64
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("key", metavar="KEY", help="such as system.hostname")
    add_system_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print a JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the explanation."""
    if system_file(arguments.key).is_file():
        # As with all other commands, the order does not matter.
        given, arguments.key, arguments.file = arguments.key, str(arguments.file), system_file(arguments.key)
        if arguments.key == "system.toml":
            raise UnknownKeyPathError(f"which value of {given}?", hint="name one, such as system.hostname")
    path = parse_key(arguments.key)
    _config, origins = load_config_with_origins(arguments)
    keys = keys_at(origins, path)
    if keys:
        return _table(origins, keys, arguments.json)
    if len(path) == 1:
        raise UnknownKeyPathError(
            f"the configuration sets nothing in '{arguments.key}'", hint="see 'nexis-eval options'"
        )
    explanation = explain(origins, path)
    print(json.dumps(_json(explanation), indent=2, ensure_ascii=False) if arguments.json else _text(explanation))
    return 0


def _table(origins: Origins, keys: list[KeyPath], as_json: bool) -> int:
    if as_json:
        leaves = [key for key in keys if key not in origins.entries]
        print(json.dumps([_json(explain(origins, key)) for key in leaves], indent=2, ensure_ascii=False))
        return 0
    rows = []
    for key in keys:
        if key in origins.entries:
            rows.append((written_key(key), _TABLE, str(origins.place(key))))
        else:
            rows.append((written_key(key), _shown(explain(origins, key)), str(origins.place(key))))
    for name, value, place in rows:
        short = value if len(value) <= _WIDTH else value[: _WIDTH - 1] + "…"
        print(f"[{name}]" if value == _TABLE else f"{name} = {short}")
        print(f"    {place}")
    return 0


def _value(value: object, key: str, setting: Setting | None) -> str:
    if setting is not None and setting.secret and isinstance(value, str | Secret):
        return HIDDEN
    if key.endswith(".mode") and isinstance(value, int):
        return f'"{value:04o}"'
    return hidden(toml_text(value))


def _shown(explanation: Explanation) -> str:
    if explanation.value is dataclasses.MISSING or explanation.value is None:
        return "(not set)"
    return _value(explanation.value, explanation.key, explanation.setting)


def _text(explanation: Explanation) -> str:
    lines = [f"{explanation.key} = {_shown(explanation)}", f"  {explanation.rule}"]
    for step in explanation.steps:
        mark = "->" if step.counts else "  "
        lines.append(
            f"  {mark} {step.place}  ({step.strength})  {_value(step.value, explanation.key, explanation.setting)}"
        )
        lines += [f"       included from {place}" for place in step.included_from]
    if explanation.default is not dataclasses.MISSING and explanation.default is not None:
        mark = "  " if explanation.is_set else "->"
        lines.append(f"  {mark} built-in default  {_value(explanation.default, explanation.key, None)}")
    setting = explanation.setting
    if setting is not None:
        use = f"used by {setting.used_by}" if setting.used_by else "it has no effect yet"
        lines += ["", f"  {setting.doc}", f"  It is {setting.kind.name}; {use}."]
    return "\n".join(lines)


def _plain(value: object) -> object:
    if isinstance(value, LocalPath):
        return value.written
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, Secret):
        return HIDDEN
    return None if value is dataclasses.MISSING else value


def _json(explanation: Explanation) -> dict[str, object]:
    setting = explanation.setting
    if setting is not None and setting.secret:
        steps = tuple([dataclasses.replace(step, value=HIDDEN) for step in explanation.steps])
        explanation = dataclasses.replace(explanation, value=HIDDEN if explanation.is_set else None, steps=steps)
    return {
        "key": explanation.key,
        "value": _plain(explanation.value),
        "is_set": explanation.is_set,
        "rule": explanation.rule,
        "default": _plain(explanation.default),
        "steps": [
            {
                "place": dataclasses.asdict(step.place),
                "strength": step.strength,
                "value": _plain(step.value),
                "counts": step.counts,
                "included_from": [dataclasses.asdict(place) for place in step.included_from],
            }
            for step in explanation.steps
        ],
        "type": setting.kind.name if setting else None,
        "doc": setting.doc if setting else None,
        "used_by": setting.used_by if setting else None,
    }
