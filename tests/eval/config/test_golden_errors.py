"""Every broken configuration of ``tests/golden/errors`` gives exactly the output that stands beside it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from nexis_eval.cli.main import run
from nexis_eval.config import errors

CASES = sorted((Path(__file__).parents[2] / "golden/errors").glob("*.txt"))
_HEADER = re.compile(rb"^-- (\S+) --\n", re.MULTILINE)


def read_case(path: Path) -> tuple[bytes, dict[str, bytes]]:
    """What stands before the first file, and the files by name."""
    parts = _HEADER.split(path.read_bytes())
    return parts[0], dict(zip([name.decode() for name in parts[1::2]], parts[2::2], strict=True))


def write_case(path: Path, preamble: bytes, files: dict[str, bytes]) -> None:
    path.write_bytes(preamble + b"".join(b"-- %s --\n%s" % (name.encode(), data) for name, data in files.items()))


def options_of(preamble: bytes) -> str:
    """Further arguments of the command."""
    return " ".join(re.findall(r"^options: (.*)$", preamble.decode(), re.MULTILINE))


def write_files(files: dict[str, bytes], directory: Path) -> None:
    """Make the configuration of a case."""
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        else:
            path.write_bytes(data)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_broken_configuration(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], accept: bool
) -> None:
    preamble, files = read_case(case)
    expected = files.pop("expected", b"").decode()
    write_files(files, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert run(["check", "system.toml", *shlex.split(options_of(preamble))]) == 2
    output = capsys.readouterr().out.replace(str(tmp_path), "DIR")
    if accept:
        write_case(case, preamble, {**files, "expected": output.encode()})
    else:
        assert output == expected


def test_there_are_enough_and_every_error_has_one() -> None:
    assert len(CASES) >= 120
    seen = {code for case in CASES for code in re.findall(rb"\[([CE]\d{4})\]$", case.read_bytes(), re.MULTILINE)}
    declared = {
        each.code.encode()
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.ConfigError) and "code" in vars(each)
    }
    assert declared - seen == set()
    # What turning a configuration into derivations can find.
    assert {b"E0401", b"E0402", b"E0404", b"E0405", b"E0407", b"E0408", b"E0411", b"E0420"} <= seen


def test_every_message_has_a_cure() -> None:
    for case in CASES:
        expected = read_case(case)[1]["expected"].decode()
        found = re.findall(r"^(?:\S.*: )?error: ", expected, re.MULTILINE)
        assert expected.count("hint: ") == len(found) >= 1, case.name
