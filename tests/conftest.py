"""Options and fixtures for all tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure: examples have no deadline of their own, pytest-timeout guards the whole.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Whether a change lands is no matter of luck: the same examples each time. A person's own run looks at new ones.
settings.register_profile("landing", settings.get_profile("patient"), derandomize=True)
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--accept",
        action="store_true",
        help="rewrite the expected output of golden tests; read the difference before you commit it",
    )


@pytest.fixture
def accept(request: pytest.FixtureRequest) -> bool:
    """Whether golden tests rewrite what they expect."""
    return bool(request.config.getoption("--accept"))
