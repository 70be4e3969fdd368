"""How much a proof that draws at random does: enough for every day, or all of it with TRADING_TESTS=long (`make test-long`)."""

from __future__ import annotations

import os

LONG = os.environ.get("TRADING_TESTS") == "long"


def size(short: int, long: int) -> int:
    """How many to draw."""
    return long if LONG else short
