"""Fixtures that several floors share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    "The folder of recorded market data, or a skip that says how to get there."
    folder = os.environ.get("TRADING_REAL_DATA", "")
    if not folder:
        pytest.skip("no recorded market data: set TRADING_REAL_DATA to its folder")
    path = Path(folder)
    if not (path / "equities_daily.csv.gz").is_file():
        pytest.skip(f"no recorded market data: TRADING_REAL_DATA={folder} holds no equities_daily.csv.gz")
    return path
