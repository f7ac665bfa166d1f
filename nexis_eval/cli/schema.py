"""Print the JSON Schema of configuration files, for editors that complete and check TOML.

With taplo or VS Code, save it and name it in the first line of a file: #:schema ./nexis.schema.json
"""

from __future__ import annotations

import argparse
import json

from nexis_eval.config.reference import json_schema

EXAMPLES = """\
examples:
  nexis-eval schema >nexis.schema.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments: none."""


def run(_arguments: argparse.Namespace) -> int:
    """Print the schema."""
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0
