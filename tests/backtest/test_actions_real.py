"""Real shares with real splits and dividends: raw prices with actions against the vendor's adjusted prices."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_core.backtest import backtest
from trading_core.backtest.parity import compare_results
from trading_core.data import HybridDataNormalizer, Panel
from trading_core.model import ExitRules
from trading_core.portfolio import Costs
from trading_core.strategies import SmaCross, Strategy

FREE = Costs(rate=0.0, slippage_bps=0.0)
FIELDS = ["open", "high", "low", "close", "volume"]


class Always(Strategy):
    "Wants it each day."

    def __init__(self, exits: ExitRules | None = None):
        self._exits = exits or ExitRules()

    @property
    def exits(self):
        return self._exits

    def signals(self, panel):
        return panel.close.where(panel.observed) * 0 + 1.0


def fine(panel: Panel) -> Panel:
    "The panel with lots that are almost none."
    return replace(panel, assets={s: replace(a, lot=Decimal("0.00000001")) for s, a in panel.assets.items()})


@pytest.fixture(scope="module")
def shares(real_data: Path) -> dict[str, tuple[Panel, Panel]]:
    "By symbol a panel of raw prices with actions, and one of the vendor's adjusted prices."
    actions = pd.read_csv(real_data / "equities_actions_raw.csv", parse_dates=["ex_date"])
    table = pd.read_csv(real_data / "equities_daily_raw.csv.gz", parse_dates=["date"])
    found = {}
    for symbol, own in table.groupby("symbol"):
        bars = own.set_index(pd.DatetimeIndex(own["date"], tz="UTC"))[[*FIELDS, "adj_close"]]
        bars = bars.assign(split=1.0, dividend=0.0)
        for action in actions[actions["symbol"] == symbol].itertuples():
            day = pd.Timestamp(action.ex_date, tz="UTC")
            if action.kind == "split":
                bars.loc[day, "split"] = 1 / action.price_factor
            else:
                bars.loc[day, "dividend"] = action.prev_close * (1 - action.price_factor)
        factor = bars["adj_close"] / bars["close"]
        vendors = bars[FIELDS].assign(**{name: bars[name] * factor for name in FIELDS[:4]})
        found[str(symbol)] = tuple(
            fine(HybridDataNormalizer().normalize({str(symbol): frame}))
            for frame in (bars.drop(columns="adj_close"), vendors)
        )
    return found


def test_the_splits_of_two_years_bring_neither_gain_nor_loss(shares):
    seen = set()
    for symbol, (raw, vendors) in shares.items():
        if raw.actions is None or not (raw.actions["split"] != 1).any() or (raw.actions["dividend"] > 0).any():
            continue
        seen.add(symbol)
        for strategy in (Always(), SmaCross(5, 20)):
            one, other = (backtest(strategy, panel, cash=1e5, costs=FREE) for panel in (raw, vendors))
            assert float((one.equity / other.equity - 1).abs().max()) < 2e-5, symbol  # six decimals of the vendor
    assert seen & {"NFLX", "BTU"}


def test_dividends_put_into_more_shares_bring_the_vendors_total_return(shares):
    seen = 0
    for symbol, (raw, vendors) in shares.items():
        if raw.actions is None or not (raw.actions["dividend"] > 0).any():
            continue
        one, other = (backtest(Always(), panel, cash=1e5, costs=FREE, resize=0.0) for panel in (raw, vendors))
        paid = float((raw.actions["dividend"] / np.roll(raw.arrays["close"], 1, axis=0)).sum())
        wrong = one.equity.iloc[-1] / other.equity.iloc[-1] - 1
        assert abs(wrong) < 0.001 + 0.05 * paid, (symbol, wrong, paid)  # a day later than the vendor's
        assert len(one.actions) > 0
        seen += 1
    assert seen > 20


def test_both_engines_agree_on_real_actions(shares):
    for symbol in ("NFLX", "SBUX", "NKE", "BTU"):
        raw = shares[symbol][0]
        strategy = Always(ExitRules(stop_loss=0.05, trailing_stop=0.08))
        one, other = (backtest(strategy, raw, engine=engine) for engine in ("fast", "backtrader"))
        assert (found := compare_results(one, other, raw)).ok, str(found)
        assert len(one.actions) == len(other.actions)
