"""The ``[tests]`` of every rule of the product: rendered, and (slow) really built with the pinned toolchain."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from nexis_eval.build_rules.reading import load_rules
from nexis_eval.build_rules.trial import RuleTest, check_rendering, read_tests
from nexis_eval.places import RULES
from tests.eval.person import Person

PRODUCT = load_rules(RULES / "build")
USABLE = sorted(name for name, rule in PRODUCT.items() if not rule.abstract)
TESTS = {f"{name}-{test.name}": test for name in USABLE for test in read_tests(PRODUCT[name])}


@pytest.mark.parametrize("name", USABLE)
def test_every_rule_has_tests(name: str) -> None:
    found = list(read_tests(PRODUCT[name]))
    assert any(test.phases for test in found)
    assert any(test.script or test.env for test in found)


@pytest.mark.parametrize("name", TESTS)
def test_a_rule_renders_to_what_its_test_expects(name: str) -> None:
    test = TESTS[name]
    script = check_rendering(PRODUCT[test.file.name], test)
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def archive_of(test: RuleTest, directory: Path) -> Path:
    """The source of a test as a tar archive."""
    path = directory / "x-1.0.tar"
    with tarfile.open(path, "w") as archive:
        for name, text in test.source.items():
            data = text.encode()
            member = tarfile.TarInfo(f"x-1.0/{name}")
            member.size, member.mode = len(data), 0o755 if text.startswith("#!") else 0o644
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [name for name, test in TESTS.items() if test.source])
def test_a_rule_builds_the_source_of_its_test(name: str, tmp_path: Path) -> None:
    test = TESTS[name]
    archive = archive_of(test, tmp_path)
    table: dict[str, object] = {
        "name": "x",
        "version": "1.0",
        "build_system": test.file.name,
        "source": archive.as_uri(),
    }
    # What a program needs to run is not the question.
    table["allow_missing"] = ["*"]
    table["hash"] = f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"
    written = test.file.table["tests"][test.name].get("package", {})
    system = "[[packages]]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in {**table, **written}.items())
    (tmp_path / "system.toml").write_text(system)
    command = ["build", "x", "--output", str(tmp_path / "out")]
    person = Person(tmp_path, RULES)
    done = subprocess.run(person.command(*command), cwd=tmp_path, capture_output=True, text=True, check=False)
    if "cannot be fetched" in done.stderr:
        pytest.skip("the tool sets cannot be had here")
    assert done.returncode == 0, done.stderr
    for path in test.files:
        assert (tmp_path / "out" / path).exists(), path


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
