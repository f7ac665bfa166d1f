"""Time zone, keyboard and locale: nothing to do for the defaults, one step each otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexis_eval.config.model import Locale
from nexis_eval.config.model import System as Settings
from nexis_eval.system.region import region
from tests.eval.system.systems import make_system

RULES = Path(__file__).resolve().parents[3] / "rules"


def _steps(settings: Settings) -> dict[str, dict[str, str]]:
    return {step.name: dict(step.env) for step in region(make_system(system=settings)).steps}


def test_defaults_need_nothing() -> None:
    assert _steps(Settings()) == {}


@pytest.mark.parametrize(
    ("settings", "step", "env"),
    [
        (Settings(timezone="Europe/Berlin"), "system-timezone", {"TIMEZONE": "Europe/Berlin"}),
        (Settings(locale=Locale(keyboard_layout="de")), "system-keymap", {"LAYOUT": "de"}),
        (Settings(locale=Locale(lang="en_US.UTF-8")), "system-locale", {"LOCALE": "en_US.UTF-8"}),
    ],
)
def test_one_step_each(settings: Settings, step: str, env: dict[str, str]) -> None:
    assert _steps(settings) == {step: env}
