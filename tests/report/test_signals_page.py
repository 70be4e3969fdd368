from datetime import date

import pandas as pd
import pytest

from trading_core import report
from trading_core.data import Panel, SimulatedBars, load_panel
from trading_core.strategies import CryptoReversal, EquityReversal, Strategy

STRATEGIES: dict[str, tuple[Strategy, float]] = {"equity": (EquityReversal(), 0.5), "crypto": (CryptoReversal(), 0.5)}


@pytest.fixture(scope="module")
def panel() -> Panel:
    market = SimulatedBars(today=date(2022, 7, 2))
    stocks = [symbol for symbol in market.symbols() if "/" not in symbol][:20]
    return load_panel(market, [*stocks, "BTC/USD", "ETH/USD", "SOL/USD"], "2022-01-03")


def on(panel: Panel, crypto: bool) -> Panel:
    "The panel on the last day without a session, with or without a wish for a coin."
    signals = CryptoReversal().signals(panel)
    idle = signals[signals.index.day_of_week == 5]
    wanted = (idle > 0).any(axis=1)
    return panel.until(idle.index[wanted == crypto][-1])


def test_on_a_saturday_nobody_is_said_to_want_no_shares(panel: Panel):
    saturday = on(panel, crypto=False)
    head = report.signals_head(STRATEGIES, saturday)
    assert "<h1>Nothing is wanted of the 3 symbols decided on today</h1>" in head
    assert "of 23" not in head


def test_a_coin_that_is_wanted_on_a_saturday_is_told_first(panel: Panel):
    assert " wanted of 23</h1>" in report.signals_head(STRATEGIES, on(panel, crypto=True))


def test_without_a_decision_nothing_is_said_of_wishes(panel: Panel):
    alone = {"equity": STRATEGIES["equity"]}
    assert "<h1>No strategy decides today</h1>" in report.signals_head(alone, on(panel, crypto=False))


def test_one_reason_for_all_is_one_sentence_and_no_table_of_the_nearest(panel: Panel):
    text = report.strategy_sections({"equity": STRATEGIES["equity"]}, on(panel, crypto=False))
    shown, folded = text.split("<details", 1)
    assert "Nothing is decided today: no session, for all 20." in shown
    assert "<table" not in shown
    assert folded.count("no session") == 20
    friday = panel.until(pd.Timestamp("2022-06-24", tz="UTC"))
    assert "for all 20" not in report.strategy_sections({"equity": STRATEGIES["equity"]}, friday)


def test_one_share_with_a_reason_of_its_own_does_not_bring_the_table_back():
    market = SimulatedBars(today=date(2024, 1, 14))  # QUOR ended in 2023
    stocks = [symbol for symbol in market.symbols() if "/" not in symbol]
    saturday = load_panel(market, [*stocks, "BTC/USD"], "2023-03-01").until("2024-01-13")
    shown, _ = report.strategy_sections({"equity": STRATEGIES["equity"]}, saturday).split("<details", 1)
    assert f"Nothing is decided today: no session, for {len(stocks) - 1} of {len(stocks)}." in shown
    assert "<table" not in shown
