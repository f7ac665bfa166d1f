"""Swap areas: what they give to a system, and those that no machine could use."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexis_eval.config.errors import each_error
from nexis_eval.config.load import load
from nexis_eval.config.model import Swap
from nexis_eval.system.assemble import contributions, system_layers
from nexis_eval.system.services import all_services
from nexis_eval.system.swap import SwapError, swap
from nexis_eval.system.view import SystemView
from nexis_store.errors import NexisError
from tests.eval.system.systems import assembled, make_system, text_of

AREAS = {area.path: area for area in (Swap("/dev/vda2"), Swap("/var/my swap", 512, 5))}


def test_what_it_gives() -> None:
    system = make_system(swap=AREAS)
    assert text_of(swap(system), "usr/lib/nexis/swap") == "0 - /dev/vda2\n512 5 /var/my swap\n"
    lines = text_of(assembled(system, "skeleton"), "etc/fstab").splitlines()[1:]
    assert lines == ["/dev/vda2 none swap sw 0 0", "/var/my\\040swap none swap sw,pri=5 0 0"]
    assert "swap" in all_services(system, contributions(system).everything)


def test_a_system_without_swap_has_nothing_of_it() -> None:
    assert "system-swap" not in [each.name for each in system_layers(make_system(), contributions(make_system()))]


@pytest.mark.parametrize(
    ("keys", "message", "column"),
    [
        ('path = "/dev/vda2"\nsize_mb = 5', "the partition /dev/vda2 has the size that it has", (3, 11)),
        ('path = "/var/swap"', "the swap file /var/swap has no size", (2, 8)),
        ('path = "/usr/swap"\nsize_mb = 5', "/usr/swap cannot be a swap file", (2, 8)),
        ('path = "/run/swap"\nsize_mb = 5', "/run/swap cannot be a swap file", (2, 8)),
        ('path = "/var/run/swap"\nsize_mb = 5', "/var/run/swap cannot be a swap file", (2, 8)),
    ],
)
def test_what_no_machine_could_use(tmp_path: Path, keys: str, message: str, column: tuple[int, int]) -> None:
    file = tmp_path / "system.toml"
    file.write_text(f"[[swap]]\n{keys}\n")
    view = SystemView.of(load(file))
    with pytest.raises(NexisError) as caught:
        system_layers(view, contributions(view))
    (error,) = each_error(caught.value)
    assert isinstance(error, SwapError) and error.message.startswith(message) and error.hint
    assert error.place is not None and (error.place.line, error.place.column) == column


def test_an_included_one_is_removed(tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text('[[swap]]\npath = "/dev/vda2"\n')
    file = tmp_path / "system.toml"
    file.write_text('includes.paths = ["more.toml"]\nremove.swap = ["/dev/vda2"]\n')
    assert load(file).swap == {}
