"""No command shows a password hash."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexis_eval.cli.main import run
from nexis_eval.config.settings import SECTIONS
from nexis_eval.graph.why import Change
from nexis_eval.secrets import hidden

HASHES = (
    "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/",
    "$6$rounds=5000$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2",
    "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7",
    "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b4dWRWJTmaaJObG",
    "$1$28772684$iEwNOgGugqO9.bIz5sk8k/",
    "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
)


@pytest.mark.parametrize("secret", HASHES)
def test_a_hash_is_hidden_wherever_it_stands(secret: str) -> None:
    for text in (f"ada:{secret}::0:99999:7:::\n", f'password_hash = "{secret}"', f'{{"text": "x\\n{secret}\\n"}}'):
        assert secret[8:] not in hidden(text)
    assert hidden("ada:$9$of_no-known%kind:::") == "ada:(secret):::"


@pytest.mark.parametrize("text", ["$name$version", "echo $1$2", "/$a/$b$c", "$(id)", "PATH=$HOME:$PATH:/x", "$OUT/usr"])
def test_other_texts_stay(text: str) -> None:
    assert hidden(text) == text


def test_a_change_of_a_secret_is_told_without_it() -> None:
    first, second = (f"root:*::\nada:{each}::\n" for each in HASHES[:2])
    assert Change.of("file etc/shadow text", first, second).describe() == (
        "file etc/shadow text:\n  -ada:(secret)::\n  +ada:(another secret)::"
    )


@pytest.mark.parametrize("json", [[], ["--json"]])
def test_commands_say_that_it_is_set(tmp_path: Path, capsys: pytest.CaptureFixture[str], json: list[str]) -> None:
    file = tmp_path / "system.toml"
    keys = [".".join(section.path) for section in SECTIONS if any(each.secret for each in section.settings.values())]
    assert keys == ["users"]
    file.write_text(f'[users.ada]\npassword_hash = "{HASHES[0]}"\n')
    for key in ("users.ada.password_hash", "users.ada"):
        assert run(["explain", key, str(file), *json]) == 0
        output = capsys.readouterr().out
        assert "password_hash" in output
        assert "$6$salt" not in output
        assert "(secret)" in output
