"""A part of each bar's volume at most: day by day on paper, killed or not, it comes to what one backtest came to."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from random_panels import thin_panel
from small_market import DAYS, PANEL, STRATEGIES, Killed, book_of, cycle, day
from sqlalchemy import event
from test_cycle_proof import assert_profit_adds_up, assert_same_book, live

from trading_core.backtest import backtest
from trading_core.data import SimulatedBars, load_panel
from trading_core.data.panel import Panel
from trading_core.ledger import Ledger
from trading_core.model import AssetClass, ExitRules, OrderStatus, Side
from trading_core.portfolio import Costs, RiskLimits
from trading_core.strategies import CryptoReversal, EquityReversal, SmaCross, Strategy


class Said(Strategy):
    "Opinions drawn at random, a few a week."

    def __init__(self, seed: int, exits: ExitRules):
        self.seed, self.given = seed, exits

    @property
    def exits(self) -> ExitRules:
        return self.given

    def signals(self, panel: Panel) -> pd.DataFrame:
        rng, (days, symbols) = np.random.default_rng(self.seed), panel.shape
        wishes = rng.choice([0.0, 0.5, 1.0], (500, symbols), p=[0.4, 0.3, 0.3])[:days]
        table = np.where(panel.real & (rng.random((500, symbols))[:days] < 0.12), wishes, np.nan)
        return pd.DataFrame(table, panel.days, list(panel.symbols))


@pytest.mark.parametrize("seed", range(6))
def test_a_thin_market_lived_day_by_day_is_one_backtest_in_both_engines(seed: int) -> None:
    panel = thin_panel(seed)
    strategies = {"said": (Said(seed, ExitRules(stop_loss=0.05, time_stop=9)), 0.9)}
    costs = Costs(rate=0.001, slippage_bps=3, minimum=0.5, volume_share=(0.05, 0.2, 1.0)[seed % 3])
    limits = RiskLimits(max_weight=0.3, max_positions=6, cash_buffer=0.05) if seed % 2 else None
    days, resize = panel.days[20:110], 0.1 if seed > 2 else None
    ledger, _ = live(
        panel, strategies, days, "sqlite://", cash=50_000.0, costs=costs, ahead=True, limits=limits, resize=resize
    )
    parts = Counter(fill.client_id for fill in ledger.fills())
    assert max(parts.values()) > 1
    assert len({fill.venue_id for fill in ledger.fills()}) == sum(parts.values())
    for engine in ("fast", "backtrader"):
        result = backtest(
            strategies, panel, engine=engine, cash=50_000.0, costs=costs, limits=limits, resize=resize,
            start=days[0], end=days[-1],
        )  # fmt: skip
        assert_same_book(ledger, result)
        left = {o.symbol: (o.side.value, float(o.quantity)) for o in ledger.pending()}
        assert left == {o.symbol: (o.side, pytest.approx(o.quantity)) for o in result.pending.itertuples()}
    assert_profit_adds_up(ledger, panel, days[-1], 50_000)


def test_sixty_cycles_with_the_shipped_strategies_and_a_limit_by_class_are_one_backtest() -> None:
    source = SimulatedBars(seed=7)
    symbols = source.symbols()
    panel = load_panel(source, [*symbols[:30], *(s for s in symbols if "/" in s)], "2018-09-01", "2019-04-30")
    strategies = {"equity": (EquityReversal(), 0.5), "crypto": (CryptoReversal(), 0.5)}
    days = panel.days[panel.days >= "2019-01-15"][:60]
    costs = Costs(volume_share=1e-4, by_class={AssetClass.CRYPTO: {"volume_share": 4e-5}})
    ledger, reports = live(panel, strategies, days, "sqlite://", costs=costs)
    result = backtest(strategies, panel, costs=costs, start=days[0], end=days[-1])
    freely = backtest(strategies, panel, start=days[0], end=days[-1])
    assert len(result.fills) > len(freely.fills)
    assert_same_book(ledger, result)
    assert any(report.begun for report in reports)
    assert sum(len(report.fills) for report in reports) == len(result.fills)


def test_catching_up_in_the_middle_of_an_order_books_its_parts_on_their_days() -> None:
    source = SimulatedBars(seed=3)
    panel = load_panel(source, [*source.symbols()[:12], "BTC/USD"], "2019-01-01", "2019-06-30")
    strategies = {"cross": (SmaCross(fast=3, slow=8), 1.0)}
    costs = Costs(volume_share=2e-5)
    first, last = panel.days[63], panel.days[73]
    _, reports = live(panel, strategies, pd.DatetimeIndex([first, last]), "sqlite://", costs=costs)
    parts = [fill for fill in reports[1].fills if fill.client_id == reports[0].plan.orders[0].client_id]
    assert len(parts) > 2
    assert len({fill.day for fill in parts}) == len(parts)
    assert sum(fill.quantity for fill in parts) <= reports[0].plan.orders[0].quantity


# Crashes --------------------------------------------------------------------------------------------------------------

THIN = replace(PANEL, arrays={**PANEL.arrays, "volume": np.asfortranarray(np.where(PANEL.real, 40.0, 0.0))})
FEW = Costs(rate=0.001, slippage_bps=5, volume_share=0.2)


def lived(until: pd.Timestamp) -> Ledger:
    ledger = Ledger("sqlite://", account="small", write=True)
    for when in DAYS[(day("2024-03-20") <= DAYS) & (until >= DAYS)]:
        cycle(ledger, when, panel=THIN, costs=FEW)
    return ledger


def test_killed_at_any_statement_in_the_middle_of_an_order_no_part_is_booked_twice_and_none_is_lost() -> None:
    before, busy = day("2024-04-01"), day("2024-04-02")
    whole = lived(busy)
    expected, begun = book_of(whole), lived(before).begun()
    assert begun
    assert {f.client_id for f in whole.fills() if f.day == busy} & begun.keys()
    alive = lived(before)
    counting, count = alive.scratch("small"), [0]
    event.listen(counting.engine, "before_cursor_execute", lambda *_: count.__setitem__(0, count[0] + 1))
    cycle(counting, busy, panel=THIN, costs=FEW)
    for at in range(1, count[0] + 1):
        ledger, seen = alive.scratch("small"), [0]

        def tick(*_: object, at: int = at, seen: list[int] = seen) -> None:
            seen[0] += 1
            if seen[0] == at:
                raise Killed

        event.listen(ledger.engine, "before_cursor_execute", tick)
        with pytest.raises(Killed):
            cycle(ledger, busy, panel=THIN, costs=FEW)
        cycle(ledger, busy, panel=THIN, costs=FEW)
        assert book_of(ledger) == expected, f"killed at statement {at}"


def test_the_small_market_in_thin_air_is_one_backtest() -> None:
    days = DAYS[day("2024-03-20") <= DAYS]
    ledger = lived(days[-1])
    result = backtest(STRATEGIES, THIN, cash=10_000.0, costs=FEW, start=days[0], end=days[-1])
    assert_same_book(ledger, result)


def test_a_rest_that_a_newer_decision_withdraws_ends_the_order_and_keeps_its_fills() -> None:
    class Changing(Strategy):
        exits = ExitRules()

        def signals(self, panel: Panel) -> pd.DataFrame:
            table = pd.DataFrame(np.nan, panel.days, list(panel.symbols))
            for when, strength in ((day("2024-03-20"), 1.0), (day("2024-03-23"), 0.0)):
                table.loc[table.index == when, "COIN/USD"] = strength
            return table

    ledger, strategies = Ledger("sqlite://", account="small", write=True), {"changing": (Changing(), 1.0)}
    found = {}
    for when in DAYS[2:9]:
        report = cycle(ledger, when, panel=THIN, costs=FEW, strategies=strategies)
        found[when] = [(o.side, o.quantity, o.whole) for o in report.pending]
    bought = [fill for fill in ledger.fills() if fill.side is Side.BUY]
    assert [fill.quantity for fill in bought] == [Decimal(8)] * 3
    order = ledger.order(bought[0].client_id)
    assert order is not None
    assert order.status is OrderStatus.CANCELED
    assert found[day("2024-03-23")] == [(Side.SELL, Decimal(24), True)]
    assert found[day("2024-03-24")] == [(Side.SELL, Decimal(16), True)]
    assert found[day("2024-03-26")] == []
    assert ledger.positions() == {}
