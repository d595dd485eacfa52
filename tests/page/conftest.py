import pytest
from chromium import chromium


@pytest.fixture(scope="module")
def browser():
    """One for all tests of a file; closed behind them, as its loop would be in the way of others."""
    with chromium() as found:
        yield found
