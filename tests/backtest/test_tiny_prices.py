"""Prices of a millionth of a dollar and billions of shares: the engines agree to the cent there, too."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from random_actions import acted_panel

from trading_core.backtest import backtest
from trading_core.backtest.kernel import ASSETS, affordable, as_price
from trading_core.backtest.parity import compare_results
from trading_core.data import Panel
from trading_core.model import PRICE_STEP, ExitRules, price_of
from trading_core.portfolio import Costs
from trading_core.strategies import Strategy


def test_a_price_a_hair_beside_a_half_is_rounded_alike_by_all_engines():
    rng, seen = np.random.default_rng(1), 0
    for _ in range(3000):
        whole = int(rng.integers(1, 10 ** int(rng.integers(2, 13))))
        price = float(whole * PRICE_STEP + PRICE_STEP / 2)
        for _ in range(int(rng.integers(0, 4))):
            price = float(np.nextafter(price, rng.choice([0, 9e9])))
        assert as_price(price) == float(price_of(price)), price
        seen += Decimal(repr(price)) != whole * PRICE_STEP + PRICE_STEP / 2
    assert seen > 1000  # that many were no halves to the last digit


def tiny(panel: Panel, part: float) -> Panel:
    "The panel with prices that are a `part` of what they were, with the dust of that multiplication."
    arrays = {name: np.asfortranarray(v / part if name == "volume" else v * part) for name, v in panel.arrays.items()}
    assert panel.actions is not None
    actions = {"split": panel.actions["split"], "dividend": panel.actions["dividend"] * part}
    return replace(panel, arrays=arrays, by_day=None, actions=actions)


class Restless(Strategy):
    "Buys, adds and sells as dice say."

    exits = ExitRules(stop_loss=0.1, trailing_stop=0.1)

    def __init__(self, seed: int):
        self.seed = seed

    def signals(self, panel: Panel) -> pd.DataFrame:
        table = panel.close.where(panel.observed) * 0
        dice = np.random.default_rng(self.seed)
        return table + dice.choice([np.nan, 0.0, 1.0, 0.5], size=table.shape, p=[0.5, 0.1, 0.3, 0.1])


@pytest.mark.parametrize(("seed", "part", "bps"), [(2, 1e-5, 5), (8, 1e-6, 0), (3, 1e-7, 5)])
def test_billions_of_shares_at_a_millionth_of_a_dollar_come_to_the_same_cent(seed: int, part: float, bps: float):
    panel, costs = tiny(acted_panel(seed, prices=True), part), Costs(rate=0.001, slippage_bps=bps)
    one, other = (
        backtest(Restless(seed), panel, cash=1e5, costs=costs, resize=0.0, engine=engine)
        for engine in ("fast", "backtrader")
    )
    assert (found := compare_results(one, other, panel)).ok, str(found)
    assert float((one.equity - other.equity).abs().max()) < 1e-5
    assert one.fills["quantity"].max() > 1e8


def test_what_cash_can_pay_is_found_where_a_float_knows_no_single_lot():
    asset = np.zeros(1, ASSETS)[0]
    asset["lot"], asset["per_unit"], asset["rate"] = 1.0, 1e6, 0.001
    for price in (1e-7, 3.3e-9, 1e-12):
        quantity, fee = affordable(1e5, 1e30, price, asset)  # it once looked for it for ever
        assert quantity * price + fee == pytest.approx(1e5, rel=1e-12)
        assert quantity * price + fee <= 1e5 * (1 + 4e-16)
