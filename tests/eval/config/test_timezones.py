from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nexis_eval.config.timezones import names

ROOT = Path(__file__).parents[3]
FILE = ROOT / "nexis_eval/config/timezones.txt"


def test_the_list_is_that_of_the_time_zone_database(tmp_path: Path) -> None:
    zones = tmp_path / "tzdata.zi"
    zones.write_text(
        "# version 1\nR a 1 o - 1 1 0 0 -\nZ Factory 0 - -00\nZ Europe/A 1 - X\n1 a y\nL Europe/A Africa/B\n"
    )
    made = subprocess.run(
        ["make", "--dry-run", "--silent", "timezones", f"TZDATA={zones}"], cwd=ROOT, check=True, capture_output=True
    ).stdout.decode()
    recipe = made.replace("nexis_eval/config/timezones.txt", str(tmp_path / "made"))
    subprocess.run(["sh", "-c", recipe], check=True)
    assert (tmp_path / "made").read_text() == "# version 1\nAfrica/B\nEurope/A\n"


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+12"])
def test_names(name: str) -> None:
    assert name in names()
    assert len(names()) == len(FILE.read_text().splitlines()) - 1 > 590
