"""A project on the simulated market may have splits and dividends, by one line of its settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from trading_core.config import load_config
from trading_core.data.opening import open_source, source_options


@pytest.mark.parametrize(("line", "told"), [("", False), ("actions = true", True)])
def test_the_simulated_market_splits_and_pays_where_settings_say_so(tmp_path: Path, line: str, told: bool):
    file = tmp_path / "settings.ini"
    file.write_text(f"[market]\n{line}\n")
    config = load_config(file)
    source = open_source(config.market.source, **source_options(config), today="2021-01-01")
    bars = source.bars("KODE", "2020-08-28", "2020-08-31")
    assert ("split" in bars.columns) is told
    if told:
        assert bars["split"].tolist() == [1.0, 4.0]
