"A cycle is an account, a job and the end of a bar: what it decides is a backtest's, once, and never twice."

from __future__ import annotations

from collections import Counter
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
from trading_core.execution.halts import Halts
from trading_core.ledger import Ledger
from trading_core.model import Asset, ExitRules, OrderRequest, Side, money
from trading_core.portfolio import Costs, RiskLimits, Trip
from trading_core.portfolio.fills import Opening
from trading_core.run.account_day import AsOfError, CycleReport, PastCycleError
from trading_core.run.cycle import run_cycle
from trading_core.sessions import bar_day, bar_days
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


@pytest.mark.parametrize(
    ("interval", "last", "share"),
    [("1h", "2024-07-04", 0.001), ("15m", "2024-07-02", 0.005)],
)
def test_a_part_of_each_bars_volume_is_one_backtest_and_the_parts_of_an_order_within_a_day_have_ids_of_their_own(
    interval: str, last: str, share: float
) -> None:
    panel = mixed_panel(interval, "2024-06-30", last, stocks=2, missing=0.2)
    moments = panel.days[10:130]
    costs = Costs(rate=0.0005, minimum=0.5, slippage_bps=2.0, volume_share=share)
    ledger, _ = live(panel, STRATEGIES, moments, "sqlite://", cash=1e6, costs=costs, ahead=True, job="scan")
    fills = ledger.fills()
    within = Counter((fill.client_id, bar_day(fill.day)) for fill in fills)
    assert max(within.values()) > 2
    assert len({fill.venue_id for fill in fills}) == len(fills)
    for engine in ("fast", "backtrader"):
        result = backtest(STRATEGIES, panel, engine=engine, cash=1e6, costs=costs, start=moments[0], end=moments[-1])
        assert_same_book(ledger, result)


def test_a_part_of_an_order_is_named_by_its_bar_and_a_day_keeps_its_name() -> None:
    order = OrderRequest("o", "C0/USD", Side.BUY, money(10.0))
    assets, costs = {"C0/USD": Asset.of("C0/USD")}, Costs(volume_share=0.1)
    named = {}
    for moment in ("2024-07-01 23:00", "2024-07-02 00:00", "2024-07-02 00:01", "2024-07-02 13:30"):
        opening = Opening(pd.Timestamp(moment, tz="UTC"), money(1e6), {}, costs, assets)
        named[moment] = opening.try_fill(order, money(1.0), 10.0).done.venue_id  # type: ignore[union-attr]
    assert list(named.values()) == [
        "paper-o-20240701T2300",
        "paper-o-20240702",
        "paper-o-20240702T0001",
        "paper-o-20240702T1330",
    ]


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


# Limits of a day ------------------------------------------------------------------------------------------------------


def test_orders_of_a_day_are_counted_over_its_cycles_as_in_a_backtest(tmp_path: Path) -> None:
    panel = mixed_panel("1h", "2024-06-28", "2024-07-05")
    moments, limits = panel.days[20:140], RiskLimits(max_orders_per_day=5)
    ledger, reports = live(
        panel, STRATEGIES, moments, tmp_path / "ledger.db", costs=COSTS, limits=limits, ahead=True, job="scan"
    )
    result = backtest(STRATEGIES, panel, costs=COSTS, limits=limits, start=moments[0], end=moments[-1])
    assert_same_book(ledger, result)
    told = [(r.day, r.symbol, r.detail) for r in result.refusals.itertuples() if r.reason == "max_orders_per_day"]
    ours = [(x.as_of, r.symbol, r.detail) for x in reports for r in x.plan.refusals if r.reason == "max_orders_per_day"]
    assert sorted(told) == sorted(ours)
    assert len(told) >= 20
    bought = ledger.orders().query("side == 'buy'")
    assert pd.Series(bar_days(pd.DatetimeIndex(bought["as_of"].array))).value_counts().max() <= 5


def test_the_loss_of_a_day_halts_a_cycle_at_the_bar_that_halts_a_backtest(tmp_path: Path) -> None:
    panel = mixed_panel("1h", "2024-06-28", "2024-07-05", seed=9)
    moments = panel.days[20:140]
    free = backtest(STRATEGIES, panel, costs=COSTS, start=moments[0], end=moments[-1]).equity
    days = bar_days(free.index)
    evenings = free.groupby(days).last().shift(1).fillna(free.iloc[0])
    within = 1 - free / evenings.loc[days].to_numpy()
    limits = RiskLimits(max_daily_loss=float(0.9 * within.iloc[:70].max()))
    assert limits.max_daily_loss is not None
    ledger, _ = live(
        panel, STRATEGIES, moments, tmp_path / "ledger.db", costs=COSTS, limits=limits, ahead=True, job="scan"
    )
    halt = ledger.halted()
    assert halt is not None
    assert "below the evening before" in halt.detail or "below the close of" in halt.detail
    equity = ledger.equity()
    assert (
        1 - equity[halt.day] / equity[equity.index < halt.day].iloc[-1] < limits.max_daily_loss
    )  # not by a single bar
    result = backtest(STRATEGIES, panel, costs=COSTS, limits=limits, start=moments[0], end=moments[-1])
    assert_same_book(ledger, result)
    assert result.setup["halted"] == str(Trip(halt.day, halt.limit, halt.detail))
    assert all(f.side is Side.SELL for f in ledger.fills() if f.day > halt.day)
    assert any(f.side is Side.BUY for f in ledger.fills())


def falling(ledger: Ledger, row: int) -> tuple[Panel, CycleReport]:
    "A cycle that holds a coin which loses a tenth in the second to the fourth hour of its second day."
    marks = pd.date_range("2024-07-01 01:00", periods=40, freq="1h", tz="UTC")
    close = np.array([100.0] * 24 + [99.0, 96.0, 93.0, 90.0] + [90.0] * 12)
    bars = pd.DataFrame(
        {"open": np.append(100.0, close[:-1]), "high": 100.0, "low": 90.0, "close": close, "volume": 1e9}, marks
    )
    panel = HybridDataNormalizer().normalize({"C0/USD": bars}, interval="1h")

    class Hold(Strategy):
        def signals(self, panel: Panel) -> pd.DataFrame:
            return pd.DataFrame(0.99, panel.days, list(panel.symbols))

    limits = RiskLimits(max_daily_loss=0.05, max_drawdown=0.08, max_weight=1.0)
    return panel, run_cycle(
        panel, {"hold": (Hold(), 1.0)}, ledger=ledger, account="proof", cash=100_000, costs=COSTS, as_of=panel.days[row],
        source_kind="test", job="scan", limits=limits,
    )  # fmt: skip


def test_a_bar_that_nobody_decided_on_halts_the_account_all_the_same(ledger: Ledger) -> None:
    for row in (18, 20, 24, 33):
        panel, report = falling(ledger, row)
    assert report.halt is not None
    assert (report.halt.limit, report.halt.day) == ("max_daily_loss", panel.days[26])


def test_after_a_halt_is_lifted_within_the_day_its_earlier_bars_do_not_halt_it_again(ledger: Ledger) -> None:
    for row in range(20, 27):
        panel, report = falling(ledger, row)
    assert report.halt is not None
    assert (report.halt.limit, report.halt.day) == ("max_daily_loss", panel.days[26])
    Halts(ledger, None).resume("seen")
    assert ledger.events("resumed", "breaker")["detail"].iloc[-1]["day"] == "2024-07-02T03:00"
    # another 3 % within the same day: 10 % below its evening before, and 3 % below the bar of the resumption
    assert [falling(ledger, row)[1].halt for row in range(27, 32)] == [None] * 5


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
    assert all(
        fill.moment is not None and fill.day == fill.moment.floor("1min") + pd.Timedelta("1min") for fill in fills
    )
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
