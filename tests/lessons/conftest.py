import sys

import pytest


@pytest.fixture(autouse=True)
def closed():
    """Close the figures that a test has drawn."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
