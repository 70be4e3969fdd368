"A cycle is an account, a job and the end of a bar: what it decides is a backtest's, once, and never twice."

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from intraday import mixed_panel
from test_cycle_on_a_venue import Desk
from test_cycle_proof import assert_profit_adds_up, assert_same_book, live

from trading_core.backtest import backtest
from trading_core.data import HybridDataNormalizer
from trading_core.data.intervals import resample
from trading_core.data.panel import Panel
from trading_core.ledger import Ledger
from trading_core.model import ExitRules
from trading_core.portfolio import Costs, RiskLimits
from trading_core.run.account_day import AsOfError, CycleReport, PastCycleError
from trading_core.run.cycle import run_cycle
from trading_core.strategies import SmaCross, Strategy

COSTS = Costs(rate=0.0005, slippage_bps=2.0)


class Drawn(Strategy):
    "Opinions that depend on the bar's moment alone, with every kind of exit."

    exits = ExitRules(stop_loss=0.01, take_profit=0.02, trailing_stop=0.015, time_stop=9)

    def signals(self, panel: Panel) -> pd.DataFrame:
        table = np.full(panel.shape, np.nan)
        for row, moment in enumerate(panel.days):
            rng = np.random.default_rng(moment.value // 60_000_000_000)
            table[row] = np.where(
                rng.random(panel.shape[1]) < 0.25, rng.choice([0.0, 0.6, 1.0], panel.shape[1]), np.nan
            )
        return pd.DataFrame(table, panel.days, list(panel.symbols))


STRATEGIES = {"drawn": (Drawn(), 1.0)}


def decide(panel: Panel, ledger: Ledger, moment: pd.Timestamp | str | None = None, **options: object) -> CycleReport:
    return run_cycle(
        panel, STRATEGIES, ledger=ledger, account="proof", cash=100_000, costs=COSTS, source_kind="test", as_of=moment,
        job="scan", **options,
    )  # type: ignore[arg-type]  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db", account="proof", write=True)


def test_a_cycle_at_every_hour_is_one_backtest_over_a_half_day_and_a_holiday(tmp_path: Path) -> None:
    panel = mixed_panel("1h", "2024-06-28", "2024-07-09")
    moments, limits = panel.days[20:260], RiskLimits(max_weight=0.3, max_positions=4, cash_buffer=0.02)
    ledger, reports = live(
        panel, STRATEGIES, moments, tmp_path / "ledger.db", costs=COSTS, limits=limits, ahead=True, job="scan"
    )
    result = backtest(STRATEGIES, panel, costs=COSTS, limits=limits, start=moments[0], end=moments[-1])
    assert len(result.fills) > 60
    assert_same_book(ledger, result)
    assert_profit_adds_up(ledger, panel, moments[-1], 100_000)
    assert sum(len(report.fills) for report in reports) == len(result.fills)


def test_cycles_every_five_minutes_of_one_session_are_one_backtest_and_their_orders_have_ids_of_their_own(
    tmp_path: Path,
) -> None:
    panel = mixed_panel("5m", "2024-07-01", "2024-07-02", stocks=3, coins=1)
    moments = panel.days[(panel.days > "2024-07-02 13:30") & (panel.days <= "2024-07-02 20:00")]
    strategies = {"sma": (SmaCross(fast=3, slow=9), 1.0)}
    ledger, _ = live(panel, strategies, moments, tmp_path / "ledger.db", costs=COSTS, job="scan")
    result = backtest(strategies, panel, costs=COSTS, start=moments[0], end=moments[-1])
    assert len(result.fills) > 10
    assert_same_book(ledger, result)
    assert len(ledger.cycles()) == len(moments) == 78
    ids = ledger.orders()["client_id"]
    assert ids.is_unique
    assert ids.str.fullmatch(r"20240702T\d{4}-[A-Z0-9]+-[bs]-[0-9a-f]{10}").all()
    assert ids.str.len().max() <= 48
    assert ids.str[:13].nunique() > 10


def test_a_bar_is_decided_once_and_a_second_run_resumes_it(ledger: Ledger) -> None:
    panel = mixed_panel("1h", "2024-07-01", "2024-07-03")
    moment = panel.days[40]
    first = decide(panel, ledger, moment)
    again = decide(panel, ledger, moment)
    assert (first.resumed, again.resumed) == (False, True)
    assert [order.client_id for order in first.plan.orders] == [order.client_id for order in again.plan.orders]
    assert len(ledger.orders()) == len(first.plan.orders)
    following = decide(panel, ledger, panel.days[41])
    assert not following.resumed
    assert following.previous_day == moment
    assert {o.client_id for o in following.plan.orders}.isdisjoint(o.client_id for o in first.plan.orders)


def test_an_older_bar_of_the_same_day_is_refused(ledger: Ledger) -> None:
    panel = mixed_panel("1h", "2024-07-01", "2024-07-03")
    decide(panel, ledger, panel.days[40])
    with pytest.raises(PastCycleError, match=r"has come to 2024-07-02T\d\d:\d\d, and 2024-07-02T\d\d:\d\d is before"):
        decide(panel, ledger, panel.days[39])


def test_bars_that_no_run_decided_on_are_booked_and_not_decided(ledger: Ledger) -> None:
    panel = mixed_panel("1h", "2024-07-01", "2024-07-03")
    decide(panel, ledger, panel.days[30])
    report = decide(panel, ledger, panel.days[36])
    assert report.missed_days == tuple(panel.days[31:36])
    assert list(ledger.equity().index) == list(panel.days[30:37])
    assert len(ledger.cycles()) == 2


def test_a_moment_between_two_bars_is_no_as_of(ledger: Ledger) -> None:
    panel = mixed_panel("1h", "2024-07-01", "2024-07-03")
    with pytest.raises(AsOfError, match="No asset has a bar on 2024-07-02T13:17"):
        decide(panel, ledger, "2024-07-02 13:17")
    assert decide(panel, ledger, "2024-07-02").as_of == pd.Timestamp("2024-07-03", tz="UTC")


def test_the_time_stop_counts_bars_and_not_days(ledger: Ledger) -> None:
    panel = mixed_panel("1h", "2024-07-01", "2024-07-03", stocks=1, coins=1, missing=0.0)

    class Once(Strategy):
        exits = ExitRules(time_stop=3)

        def signals(self, panel: Panel) -> pd.DataFrame:
            table = pd.DataFrame(np.nan, panel.days, list(panel.symbols))
            table.iloc[3, table.columns.get_loc("C0/USD")] = 0.5
            return table

    for moment in panel.days[3:10]:
        run_cycle(
            panel, {"once": (Once(), 1.0)}, ledger=ledger, account="proof", cash=100_000, costs=COSTS, source_kind="test",
            as_of=moment,
        )  # fmt: skip
    fills = ledger.fills()
    assert [(fill.day, fill.reason) for fill in fills] == [(panel.days[4], "signal"), (panel.days[7], "time_stop")]
    assert fills[0].quantity == fills[1].quantity > Decimal(0)


def test_a_dry_run_at_a_bar_writes_nothing(ledger: Ledger) -> None:
    panel = mixed_panel("1h", "2024-07-01", "2024-07-03")
    decide(panel, ledger, panel.days[40])
    before = (len(ledger.cycles()), len(ledger.equity()), len(ledger.orders()))
    report = decide(panel, ledger, panel.days[45], dry_run=True)
    assert report.as_of == panel.days[45]
    assert (len(ledger.cycles()), len(ledger.equity()), len(ledger.orders())) == before


# At a venue -----------------------------------------------------------------------------------------------------------


def test_at_a_venue_each_bar_is_decided_once_its_fills_are_booked_at_their_minute_and_bars_are_counted() -> None:
    panel = mixed_panel("1h", "2024-07-01", "2024-07-10", stocks=2, coins=2, missing=0.0)
    days = {symbol: resample(panel.own(symbol), "1d", panel.assets[symbol].calendar) for symbol in panel.symbols}
    desk = Desk(HybridDataNormalizer().normalize(days))

    class Hours(SmaCross):
        exits = ExitRules(time_stop=6)

    def at(moment: pd.Timestamp) -> CycleReport:
        desk.clock.advance(moment + pd.Timedelta(seconds=20))
        return run_cycle(
            panel, {"sma": (Hours(fast=3, slow=9), 0.8)}, ledger=desk.book, account="desk", as_of=moment, cash=10_000,
            costs=Costs(rate=0), source_kind="test", job="scan", executor=desk.executor,
        )  # type: ignore[arg-type]  # fmt: skip

    moments = panel.days[(panel.days >= "2024-07-02 13:00") & (panel.days <= "2024-07-03 20:00")]
    reports = [at(moment) for moment in moments]
    again = at(moments[-1])
    assert again.resumed
    fills = desk.book.fills()
    assert len(fills) > 6
    assert all(fill.moment is not None and fill.day == fill.moment.ceil("1min") for fill in fills)
    assert sum(len(report.fills) for report in reports) == len(fills)
    assert len(desk.book.cycles()) == len(moments)
    assert set(desk.orders_at_venue().values()) == {1}
    assert {s: p.quantity for s, p in desk.book.positions().items()} == {
        s: p.quantity for s, p in desk.executor().positions().items()
    }
    stopped = [fill for fill in fills if fill.reason == "time_stop"]
    assert stopped
    for sold in stopped:
        bought = max(fill.day for fill in fills if fill.symbol == sold.symbol and fill.day < sold.day)
        own = panel.own(sold.symbol).index
        assert ((own >= bought) & (own < sold.day)).sum() == 6
