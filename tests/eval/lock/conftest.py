"""Servers for each test, and an environment without the user's passwords and proxies."""

from tests.eval.fetch.conftest import _own_environment, site

__all__ = ["_own_environment", "site"]
