from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.config.cil import mistake_in
from nexis_eval.config.errors import ConfigErrors
from nexis_eval.config.load import load

MODULE = """\
; vim may write its own logs
(block vim
    (type log_t)
    (allow .user_t log_t (file (append create (not (read))))))
(filecon "/var/log/vim(/.*)?" any (system_u object_r vim.log_t ((s0) (s0))))
(optional more (typeattributeset cil_gen_require bin_t))
"""


def test_a_module_has_no_mistake() -> None:
    assert mistake_in(MODULE) is None


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("(block vim\n  (type x)", (1, 1), "a '(' is never closed"),
        ("(type x))", (1, 9), "a ')' closes nothing"),
        ("\ntype x", (2, 1), "'type' is outside of all parentheses"),
        ('(filecon "/x file (a))', (1, 10), "a quoted string does not end on its line"),
        ("(type x)\n(tpye y)", (2, 1), "CIL has no statement 'tpye'"),
        ("((type x))", (1, 1), "a statement begins with a word"),
        ('(filecon "/x" files (a b c ((s0) (s0))))', (1, 1), "a file context is (filecon"),
        ("; nothing\n", (1, 1), "there is no statement in it"),
    ],
)
def test_a_mistake_has_a_place(text: str, place: tuple[int, int], message: str) -> None:
    found = mistake_in(text)
    assert found is not None
    assert (found.line, found.column) == place
    assert found.message.startswith(message)


@given(st.text(alphabet='()"; \nab', max_size=60))
def test_any_text_is_judged(text: str) -> None:
    mistake_in(text)


def test_the_configuration_is_told_where_both_files_say_it(tmp_path: Path) -> None:
    (tmp_path / "vim.cil").write_text("(type x\n")
    file = tmp_path / "system.toml"
    file.write_text(
        '[[packages]]\nname = "vim"\nsource = "file:///vim.tar"\nhash = "blake3:ab..."\ncontext_file = "vim.cil"\n'
    )
    with pytest.raises(ConfigErrors) as caught:
        load(file)
    (error,) = caught.value.errors
    assert error.code == "C0516"
    assert error.message.startswith("the SELinux context file of 'vim' is no CIL: ")
    assert error.message.endswith("vim.cil:1:1: a '(' is never closed")
    assert str(error.place).endswith("system.toml:5:16")
