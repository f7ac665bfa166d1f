from __future__ import annotations

import contextlib
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from nexis_eval.elf import ET_DYN, ET_REL, parse_elf, read_header, read_sections
from nexis_eval.repro.content.base import FormatError
from nexis_eval.repro.content.elf import elf_file


def compiler() -> str:
    found = shutil.which("gcc")
    if found is None:
        pytest.skip("gcc is not installed")
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("elf")
    (top / "x.c").write_text("int answer(void) { return 42; }\n")
    (top / "main.c").write_text("int answer(void); int main(void) { return answer() - 42; }\n")
    for words in (
        ("-c", "x.c", "-o", "x.o"),
        ("-shared", "-fPIC", "-Wl,-soname,libx.so.7", "x.c", "-o", "libx.so"),
        ("main.c", "libx.so", "-o", "main"),
        ("-static-pie", "-nostdlib", "-Wl,-e,answer", "-fPIE", "x.c", "-o", "static"),
    ):
        subprocess.run([compiler(), *words], cwd=top, check=True)
    return top


def test_what_a_file_needs_is_what_pyelftools_reads(made: Path) -> None:
    for name in ("x.o", "libx.so", "main", "static"):
        elf = parse_elf((made / name).read_bytes())
        assert elf is not None
        with (made / name).open("rb") as file:
            read = ELFFile(file)
            dynamic = read.get_section_by_name(".dynamic")
            tags = list(dynamic.iter_tags()) if dynamic else []
            assert elf.needed == tuple(each.needed for each in tags if each.entry.d_tag == "DT_NEEDED")
            assert elf.machine_name == {"x64": "x86_64"}.get(read.get_machine_arch(), read.get_machine_arch())
            assert elf.end == read["e_shoff"] + read["e_shnum"] * read["e_shentsize"]


def test_kinds_names_and_interpreters_are_told_apart(made: Path) -> None:
    main, library, static, part = (
        parse_elf((made / each).read_bytes()) for each in ("main", "libx.so", "static", "x.o")
    )
    assert main is not None and library is not None and static is not None and part is not None
    assert main.interpreter.startswith("/lib") and "libx.so.7" in main.needed
    assert (library.soname, library.kind, library.interpreter) == ("libx.so.7", ET_DYN, "")
    assert (static.interpreter, static.needed) == ("", ())
    assert part.kind == ET_REL


def test_a_32_bit_file_of_the_other_byte_order_is_read_too() -> None:
    head = b"\x7fELF" + bytes((1, 2, 1)) + bytes(9)
    data = head + struct.pack(">HHIIIIIHHHHHH", 2, 20, 1, 0, 0, 52, 0, 52, 32, 0, 40, 3, 0)
    elf = parse_elf(data)
    assert elf is not None
    assert (elf.machine_name, elf.bits, elf.end) == ("ppc", 32, 52 + 3 * 40)


def look_everywhere(data: bytes) -> None:
    """Read it in every way there is; only the one error of each may come out."""
    parse_elf(data)
    try:
        parts = elf_file(data).parts
    except FormatError:
        return
    for part in parts[:50]:
        with contextlib.suppress(FormatError):
            part.read()


@pytest.mark.parametrize("at", range(16, 64))
@pytest.mark.parametrize("value", [0, 1, 127, 128, 255])
def test_no_number_of_the_header_makes_it_raise(made_bytes: bytes, at: int, value: int) -> None:
    look_everywhere(made_bytes[:at] + bytes((value,)) + made_bytes[at + 1 :])


def test_tables_that_lie_behind_the_end_are_no_reason_to_count(made_bytes: bytes) -> None:
    far = made_bytes[:40] + struct.pack("<Q", 1 << 63) + made_bytes[48:]
    assert parse_elf(far) is not None, "a loader does not look at the sections"
    with pytest.raises(FormatError, match="lies behind its end"):
        elf_file(far)
    many = made_bytes[:32] + struct.pack("<Q", 64) + made_bytes[40:54] + struct.pack("<HH", 0, 65534) + made_bytes[58:]
    assert parse_elf(many) is None


def test_more_sections_than_the_header_can_count(made: Path) -> None:
    source = "".join(f".section .s{number}\n.byte 1\n" for number in range(66_000))
    subprocess.run(
        [compiler(), "-c", "-x", "assembler", "-", "-o", "many.o"], cwd=made, input=source.encode(), check=True
    )
    data = memoryview((made / "many.o").read_bytes())
    header = read_header(data)
    sections = read_sections(data, header)
    with (made / "many.o").open("rb") as file:
        assert len(sections) == ELFFile(file).num_sections() > 66_000
    assert sections[header.names_section].name == ".shstrtab"


@given(st.binary(max_size=400), st.binary(max_size=8))
def test_no_damage_makes_it_raise(tail: bytes, ident: bytes) -> None:
    look_everywhere(tail)
    look_everywhere(b"\x7fELF" + ident + tail)


@given(st.data())
def test_a_program_with_one_wrong_number_does_not_raise(made_bytes: bytes, data: st.DataObject) -> None:
    changed = bytearray(made_bytes)
    ends = st.one_of(st.integers(4, 63), st.integers(64, 1200), st.integers(len(changed) - 2000, len(changed) - 1))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(ends)] = data.draw(st.sampled_from([0, 1, 2, 3, 6, 11, 127, 128, 255]))
    look_everywhere(bytes(changed[: data.draw(st.sampled_from([len(changed), 4096, 1000]))]))


@pytest.fixture(scope="module")
def made_bytes(made: Path) -> bytes:
    return (made / "main").read_bytes()
