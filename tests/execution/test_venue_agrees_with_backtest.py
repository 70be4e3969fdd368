"""A day at the paper venue is a day of a backtest: the same fills at the same prices, the same account, to the cent."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from trading_core.backtest import backtest
from trading_core.data import HybridDataNormalizer
from trading_core.data.panel import Panel
from trading_core.execution.venue import ManualClock, PanelMarket, PaperVenue
from trading_core.model import Side, cash_of
from trading_core.portfolio import Costs
from trading_core.sessions import sessions
from trading_core.strategies import Strategy

DAYS = pd.date_range("2024-01-01", "2024-06-30", tz="UTC")


class Moods(Strategy):
    "Wants something new of each asset on a third of its days."

    def signals(self, panel: Panel) -> pd.DataFrame:
        dice = np.random.default_rng(len(panel.symbols)).random((len(DAYS), len(panel.symbols)))[: len(panel.days)]
        wishes = np.select([dice < 0.2, dice < 0.35], [1.0, 0.0], np.nan)
        return pd.DataFrame(wishes, panel.days, list(panel.symbols)).where(panel.observed)


def market(seed: int) -> Panel:
    dice, bars = np.random.default_rng(seed), {}
    for symbol in ("ACME", "BOLT", "COIN/USD", "DUSK/USD", "EDGE"):
        on = DAYS if "/" in symbol else sessions("XNYS", DAYS[0], DAYS[-1])
        on = on[dice.random(len(on)) > 0.03]  # some are halted now and then
        opens = 40 * np.exp(dice.normal(0, 0.02, len(on)).cumsum())
        closes = opens * np.exp(dice.normal(0, 0.01, len(on)))
        table = pd.DataFrame({"open": opens, "close": closes}, on)
        table["high"], table["low"] = table.max(axis=1) * 1.01, table.min(axis=1) * 0.99
        bars[symbol] = table.assign(volume=1e6).round(4)
    return HybridDataNormalizer().normalize(bars)


@pytest.mark.parametrize("slippage", [0.0, 7.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_backtests_orders_come_out_the_same_at_the_venue(seed: int, slippage: float) -> None:
    panel, costs = market(seed), Costs(rate=0.0, slippage_bps=slippage)
    result = backtest(Moods(), panel, cash=100_000.0, costs=costs)
    assert len(result.fills) > 80
    clock = ManualClock(panel.days[0])
    venue = PaperVenue(PanelMarket(panel), clock=clock, cash=100_000, costs=costs, rate_limit=None)
    for day in panel.days:
        todays = result.fills[result.fills["day"] == day]
        clock.advance(day)
        for fill in todays.itertuples():
            crypto = "/" in fill.symbol
            venue.submit({
                "symbol": fill.symbol, "side": str(fill.side), "qty": f"{fill.quantity:f}", "type": "market",
                "time_in_force": "gtc" if crypto else "day", "client_order_id": f"{day:%Y%m%d}-{fill.symbol}-{fill.side}",
            })  # fmt: skip
        clock.advance(day + pd.Timedelta("24h") - pd.Timedelta("1ms"))
        venue.step()
        if day in result.equity.index:
            assert abs(float(venue.equity(venue.at)) - result.equity[day]) < 0.005, day
    done = sorted(
        (item["transaction_time"][:10], item["symbol"], item["side"], Decimal(item["qty"]), Decimal(item["price"]))
        for item in venue.activities
    )
    expected = sorted(
        (f"{f.day:%Y-%m-%d}", f.symbol, str(f.side), f.quantity, f.price) for f in result.fills.itertuples()
    )
    assert done == [(*head, Decimal(str(quantity)), Decimal(str(price))) for *head, quantity, price in expected]
    spent = sum(
        (
            cash_of((1 if f.side == Side.SELL else -1) * Decimal(str(f.quantity)) * Decimal(str(f.price)))
            for f in result.fills.itertuples()
        ),
        Decimal(0),
    )
    assert venue.cash == 100_000 + spent
