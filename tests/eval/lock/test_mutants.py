"""Every mutant of a file of pins is read right, or is an error with its line and column."""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import pytest
import tomli

from nexis_eval.build_rules.reading import load_rules
from nexis_eval.config.load import load
from nexis_eval.config.model import Config
from nexis_eval.instantiate import Instantiator
from nexis_eval.lock.changes import changed_packages, changes
from nexis_eval.lock.model import Lock, LockFormatError, format_lock, parse_lock
from nexis_eval.places import RULES
from nexis_eval.toolchain import ToolchainError, format_pins, load_toolchain, parse_pins
from nexis_store.errors import NexisError

EXAMPLE = Path(__file__).parents[3] / "examples/packages"
LOCK = f"""\
format = 1

[[source]]
package = "file"
field = "source"
version = "1.0"
tag = "v1.0"
urls = ["https://example.org/file-1.0.tar", "mirror://debian/file-1.0.tar"]
hash = "sha256:{"ab" * 32}"
hashes = ["blake3:{"cd" * 32}", "sha512:{"ef" * 64}"]
size = 10
tree = "{"12" * 32}"

[[source]]
package = "file"
field = "prebuilt"
arch = "riscv64"
version = "1.0"
urls = ["https://example.org/file-1.0-riscv64.tar"]
absent = "upstream has no such file (404)"

[[source]]
package = "repository"
field = "source"
urls = ["git+https://example.org/repository.git#main"]
commit = "{"1" * 40}"
submodules = true
tree = "{"34" * 32}"

[[debian]]
package = "shell"
arch = "x86_64"
request = "bookworm only shell libc"
debs = [
  "libc 2:2.36-9+deb12u1 amd64 20 {"ab" * 32} mirror://debian/pool/l/libc.deb",
  "shell 1.0-1 amd64 10 {"cd" * 32} mirror://debian/pool/s/shell.deb",
]

[[release]]
suite = "bookworm"
date = "2024-11-09T10:06:43Z"
"""
SYSTEM = """\
[[packages]]
name = "file"
version = "1.0"
source = ["https://example.org/file-{version}.tar", "mirror://debian/file-{version}.tar"]

[[packages]]
name = "repository"
source = "git+https://example.org/repository.git#main"

[[packages]]
name = "shell"
debian = ["shell", "libc"]
debian_suite = "bookworm"
debian_closure = false
"""
STRANGE: tuple[object, ...] = (
    *("", "x", "\x1b[2J", "http://[::1/x", "a/b", 0, 1, -1, 2**63, 10**300, 1.5, True),
    *([], [""], ["x"], [1], [[]], {}, {"a": 1}, [{}]),
)


def toml(value: object) -> str:
    """A value as TOML has it inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def document(value: dict[str, object]) -> str:
    return "".join(f"{json.dumps(key)} = {toml(each)}\n" for key, each in value.items())


def places(value: object, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of everything below ``value``."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in pairs:
        yield (*at, key)
        yield from places(each, (*at, key))


def mutants(text: str) -> Iterator[str]:
    """The document with one thing replaced, removed, renamed, doubled or added; and cut and damaged texts."""
    original = tomli.loads(text)

    def changed(at: tuple[str | int, ...], change: Callable[[object, str | int], None]) -> str:
        whole = copy.deepcopy(original)
        parent: object = whole
        for key in at[:-1]:
            parent = parent[key]  # type: ignore[index]
        change(parent, at[-1])
        return document(whole)

    def replaced(by: object) -> Callable[[object, str | int], None]:
        return lambda parent, key: parent.__setitem__(key, by)  # type: ignore[attr-defined]

    def renamed(parent: object, key: str | int) -> None:
        if isinstance(parent, dict):
            parent[f"{key}x"] = parent.pop(key)

    def doubled(parent: object, key: str | int) -> None:
        if isinstance(parent, list) and isinstance(key, int):
            parent.append(copy.deepcopy(parent[key]))

    for at in places(original):
        for strange in STRANGE:
            yield changed(at, replaced(strange))
        yield changed(at, lambda parent, key: parent.__delitem__(key))  # type: ignore[attr-defined]
        yield changed(at, renamed)
        yield changed(at, doubled)
    chance = random.Random(5)
    for _ in range(300):
        position = chance.randrange(len(text))
        yield text[:position]
        yield text[:position] + chance.choice("\"'[]{}=#\n\\ 9\0\x1b\u00e9") + text[position + 1 :]
        yield text[:position] + text[position + chance.randrange(1, 60) :]


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Config:
    file = tmp_path_factory.mktemp("system") / "system.toml"
    file.write_text(SYSTEM)
    return load(file, arch="x86_64")


def test_every_mutant_of_a_lock(configured: Config) -> None:
    original = parse_lock(LOCK)
    assert document(tomli.loads(LOCK)) != LOCK
    assert parse_lock(document(tomli.loads(LOCK))) == original
    rules, toolchain = load_rules(RULES / "build"), cache(partial(load_toolchain, RULES))
    read = refused = 0
    for text in mutants(LOCK):
        try:
            lock = parse_lock(text, "nexis.lock")
        except LockFormatError as error:
            refused += 1
            assert error.place is not None
            assert error.place.line > 0, (error, text)
            assert error.place.line <= text.count("\n") + 1
            assert error.hint
            assert str(error).replace("\n", "").isprintable(), text
            continue
        read += 1
        assert format_lock(parse_lock(format_lock(lock))) == format_lock(lock)
        changed_packages(original, lock)
        assert "\x1b" not in "".join(changes(original, lock)) + "".join(changes(lock, original))
        # Nothing that comes later stumbles on it.
        with contextlib.suppress(NexisError):
            Instantiator(configured, lock, rules, toolchain).graph()
    assert read > 100
    assert refused > 1000


def test_a_huge_number_is_told_at_its_place() -> None:
    text = LOCK.replace("size = 10", f"size = {'9' * 5000}")
    with pytest.raises(LockFormatError) as caught:
        parse_lock(text)
    assert str(caught.value.place) == "nexis.lock:11:8"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ('package = "shell"', "package = 1", "nexis.lock:31:11: not a lock file: 'package' must be a string"),
        ("size = 10", "size = -1", "nexis.lock:11:8: not a lock file: 'size' must be a number of bytes"),
        ('field = "source"', 'field = "sauce"', "nexis.lock:5:9: not a lock file: 'field' must be source or prebuilt"),
        ("shell 1.0-1 amd64 10", "shell 1.0-1 amd64", "nexis.lock:36:3: not a lock file: 'shell 1.0-1 amd64"),
        ("format = 1", "format = 2", "nexis.lock:1:10: not a lock file: 'format' must be 1"),
        ('arch = "x86_64"', 'arch = "x86_64"\nsuite = "x"', "nexis.lock:33:9: not a lock file: 'suite' is not a key"),
        ("hashes = [", 'hashes = ["md5:00", ', "nexis.lock:10:11: not a lock file: 'md5:00' is not a hash"),
        ("mirror://debian/file-1.0.tar", "file", "nexis.lock:8:45: not a lock file: 'file' is not a URL"),
    ],
)
def test_the_place_and_the_fact(before: str, after: str, expected: str) -> None:
    with pytest.raises(LockFormatError) as caught:
        parse_lock(LOCK.replace(before, after, 1))
    assert str(caught.value).startswith(expected)


def test_an_empty_set_of_packages_is_not_a_lock() -> None:
    start, end = LOCK.index("debs = ["), LOCK.index("]\n\n[[release]]")
    with pytest.raises(LockFormatError, match=r"nexis.lock:34:8: not a lock file: 'debs' must be a list"):
        parse_lock(LOCK[:start] + "debs = [" + LOCK[end:])


def test_every_mutant_of_the_pins_of_tool_sets() -> None:
    text = "\n".join(("# x", LOCK[LOCK.index("[[debian]]") :]))
    text = text.replace("[[debian]]", "[[toolset]]").replace('package = "shell"', 'name = "shell"')
    text = text.replace('arch = "x86_64"\nrequest = "bookworm only shell libc"\n', "")
    parse_pins(text, "toolchain.lock")
    for mutant in mutants(text):
        try:
            pins = parse_pins(mutant, "toolchain.lock")
        except ToolchainError as error:
            assert error.place is not None
            assert error.place.line > 0
        else:
            assert format_pins(*parse_pins(format_pins(*pins), "toolchain.lock")) == format_pins(*pins)


def test_the_locks_of_the_examples_are_read() -> None:
    for file in EXAMPLE.parent.glob("*/nexis.lock"):
        text = file.read_text()
        assert format_lock(parse_lock(text)) == text
    assert parse_lock("format = 1\n") == Lock()
