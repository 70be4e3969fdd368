"Bars of hours and minutes: both engines do the same, nothing is traded on a carried bar, and a year has the right length."

from __future__ import annotations

import re
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from intraday import bars_on, mixed_panel

from trading_core.backtest import annual_days, backtest
from trading_core.backtest.event import Account, run_panel
from trading_core.backtest.judged import check_engines
from trading_core.backtest.metrics import benchmark_of, monthly_returns
from trading_core.backtest.more_metrics import by_period
from trading_core.backtest.parity import compare_results
from trading_core.data import HybridDataNormalizer
from trading_core.data.intervals import grid
from trading_core.errors import ConfigError
from trading_core.model import Asset, ExitRules
from trading_core.portfolio import Costs, RiskLimits
from trading_core.strategies import CryptoReversal, EquityReversal, SmaCross, Strategy, checked_signals

COSTS = Costs(rate=0.0005, slippage_bps=2.0, volume_share=0.1)
LIMITS = RiskLimits(max_weight=0.3, max_positions=4, cash_buffer=0.02, max_daily_loss=0.03)


class Drawn(Strategy):
    "Random opinions with every kind of exit."

    exits = ExitRules(stop_loss=0.01, take_profit=0.02, trailing_stop=0.015, time_stop=9)

    def __init__(self, seed):
        self.seed = seed

    def signals(self, panel):
        rng = np.random.default_rng(self.seed)
        table = np.where(rng.random(panel.shape) < 0.2, rng.choice([0.0, 0.5, 1.0], panel.shape), np.nan)
        return pd.DataFrame(table, panel.days, list(panel.symbols))


def both(strategy, panel, **terms):
    return [backtest(strategy, panel, engine=engine, **terms) for engine in ("fast", "backtrader")]


@pytest.mark.parametrize("seed", range(6))
def test_both_engines_do_the_same_on_hours_of_stocks_and_coins_over_a_half_day(seed):
    panel = mixed_panel("1h", "2024-06-24", "2024-07-09", seed=seed)
    for terms in ({}, {"costs": COSTS, "limits": LIMITS, "resize": 0.2}):
        for strategy in (Drawn(seed), SmaCross(fast=3, slow=9)):
            fast, slow = both(strategy, panel, **terms)
            assert len(fast.fills) > 10 or "limits" in terms
            told = compare_results(fast, slow, panel)
            assert told.ok, str(told)


@pytest.mark.parametrize("monday", ["2024-03-11", "2024-11-04"])
def test_both_engines_do_the_same_on_minutes_around_a_change_of_clocks(monday):
    friday = pd.Timestamp(monday) - pd.Timedelta(days=3)
    panel = mixed_panel("1m", f"{friday:%Y-%m-%d}", monday, stocks=2, coins=1, missing=0.2)
    fast, slow = both(Drawn(1), panel, costs=COSTS)
    assert len(fast.fills) > 500
    told = compare_results(fast, slow, panel)
    assert told.ok, str(told)


def test_nothing_is_traded_on_a_minute_without_a_trade():
    panel = mixed_panel("1m", "2024-07-03", "2024-07-03", missing=0.5)
    fills = backtest(Drawn(3), panel).fills
    assert len(fills) > 150
    assert all(panel.observed.at[day, symbol] for day, symbol in zip(fills["day"], fills["symbol"], strict=True))


def test_an_order_fills_at_the_open_of_the_next_bar_and_not_at_the_close_that_decided_it():
    panel = mixed_panel("1h", "2024-07-01", "2024-07-05", missing=0.0)

    class Once(Strategy):
        def signals(self, panel):
            table = pd.DataFrame(np.nan, panel.days, list(panel.symbols))
            table.loc[pd.Timestamp("2024-07-03 17:00", tz="UTC"), "S0"] = 1.0  # the closing of a half-day
            return table

    fill = backtest(Once(), panel, costs=Costs(rate=0.0)).fills.iloc[0]
    assert fill["day"] == pd.Timestamp("2024-07-05 14:30", tz="UTC")  # the first bar after the holiday
    assert fill["price"] == pytest.approx(panel.open.at[fill["day"], "S0"])


def test_ten_sessions_without_a_bar_end_an_asset_and_hours_without_one_do_not():
    marks = grid("XNYS", "1h", "2024-07-01", "2024-07-31")
    gone = bars_on(marks, 1)[:"2024-07-09"]
    thin = bars_on(marks, 2, missing=0.9)
    panel = HybridDataNormalizer().normalize({"GONE": gone, "THIN": thin, "FULL": bars_on(marks, 3)}, interval="1h")

    class Hold(Strategy):
        def signals(self, panel):
            return pd.DataFrame(np.where(panel.real, 1.0, np.nan), panel.days, list(panel.symbols))

    fast, slow = both(Hold(), panel)
    assert compare_results(fast, slow, panel).ok
    ended = fast.fills[fast.fills["reason"] == "delisted"]
    assert list(ended["symbol"]) == ["GONE"]
    assert ended["day"].iloc[0] == pd.Timestamp("2024-07-23 20:00", tz="UTC")  # the tenth session after the 9th is over


@pytest.mark.parametrize(("last_bar", "ended"), [("16:30", "2024-07-17 20:00"), ("20:00", "2024-07-17 20:00")])
def test_a_session_is_missed_when_it_is_over_wherever_in_its_last_one_an_asset_stopped(last_bar, ended):
    marks, around = grid("XNYS", "1h", "2024-07-01", "2024-07-31"), grid("24/7", "1h", "2024-07-01", "2024-07-31")
    bars = {"GONE": bars_on(marks, 1)[: f"2024-07-02 {last_bar}"], "BTC/USD": bars_on(around, 2)}
    panel = HybridDataNormalizer().normalize(bars, interval="1h")
    column = panel.symbols.index("GONE")
    assert panel.days[panel.whole_missed[:, column] >= 10][0] == pd.Timestamp(ended, tz="UTC")
    assert panel.days[panel.whole_missed[:, column] >= 1][0] == pd.Timestamp("2024-07-03 17:00", tz="UTC")  # a half-day
    assert panel.missed[panel.days.get_loc("2024-07-03 14:00"), column] == 1
    days = mixed_panel("1d", "2024-06-03", "2024-07-12")
    assert days.whole_missed is days.missed

    class Hold(Strategy):
        def signals(self, panel):
            return pd.DataFrame(np.where(panel.real, 0.5, np.nan), panel.days, list(panel.symbols))

    fast, slow = both(Hold(), panel)
    assert compare_results(fast, slow, panel).ok
    assert fast.fills.query("reason == 'delisted'")["day"].tolist() == [pd.Timestamp(ended, tz="UTC")]


@pytest.mark.parametrize(
    ("interval", "stocks", "coins", "rows"),
    [
        ("1h", 2, 0, 252 * 7),
        ("1h", 0, 2, 8760),
        ("1h", 2, 2, 8760 + 252 * 6),
        ("1m", 2, 0, 98_280),
        ("1m", 2, 2, 525_600),
    ],
)
def test_a_year_has_as_many_rows_as_bars(interval, stocks, coins, rows):
    panel = mixed_panel(interval, "2024-07-08", "2024-07-12", stocks=stocks, coins=coins, missing=0.0)
    assert annual_days(panel) == rows


def test_the_same_gain_is_the_same_growth_a_year_on_hours_as_on_days():
    first, last = "2022-01-03", "2023-12-29"
    growth = {}
    for interval in ("1d", "1h"):
        marks = grid("XNYS", interval, first, last)
        price = np.exp(np.linspace(0.0, 0.2, len(marks)))
        bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), price), marks).assign(volume=1e9)
        panel = HybridDataNormalizer().normalize({"UP": bars}, interval=interval)

        class Hold(Strategy):
            def signals(self, panel):
                return pd.DataFrame(1.0, panel.days, list(panel.symbols))

        growth[interval] = backtest(Hold(), panel, costs=Costs(rate=0.0)).metrics["cagr"]
    assert growth["1h"] == pytest.approx(growth["1d"], rel=0.02)


def test_a_weekly_reversal_decides_at_the_closing_of_the_weeks_last_session():
    panel = mixed_panel("1h", "2024-06-03", "2024-07-12", stocks=10, coins=1, missing=0.0)
    signals = EquityReversal(lookback=7).signals(panel)
    decided = signals.index[signals.notna().any(axis=1)].tz_convert("America/New_York")
    assert [f"{moment:%a %m-%d %H:%M}" for moment in decided] == [
        "Fri 06-07 16:00", "Fri 06-14 16:00", "Fri 06-21 16:00", "Fri 06-28 16:00", "Fri 07-05 16:00", "Fri 07-12 16:00"
    ]  # fmt: skip
    fast, slow = both(EquityReversal(lookback=7), panel)
    assert len(fast.fills) >= 10
    assert compare_results(fast, slow, panel).ok


def test_a_coin_that_falls_within_an_hour_is_bought_in_the_next():
    panel = mixed_panel("1h", "2024-07-01", "2024-07-20", coins=3)
    fast, slow = both(CryptoReversal(drop=0.008, max_adx=40), panel)
    assert len(fast.fills) > 4
    assert compare_results(fast, slow, panel).ok


def test_a_period_is_of_days_or_of_moments():
    panel = mixed_panel("1h", "2024-07-01", "2024-07-12")
    whole_days = backtest(SmaCross(3, 9), panel, start="2024-07-03", end="2024-07-05")
    assert [f"{day:%d %H:%M}" for day in whole_days.equity.index[[0, -1]]] == ["03 01:00", "06 00:00"]
    moments = backtest(SmaCross(3, 9), panel, start=panel.days[40], end=panel.days[90])
    assert list(moments.equity.index[[0, -1]]) == [panel.days[40], panel.days[90]]
    assert moments.setup["end"] == f"{panel.days[90]:%Y-%m-%dT%H:%M}"
    for written in ("2024-07-02T15:00", "2024-07-02 15:00", pd.Timestamp("2024-07-02 15:00", tz="UTC")):
        at_three = backtest(SmaCross(3, 9), panel, start=written, end="2024-07-03T15:00")
        assert [f"{day:%d %H:%M}" for day in at_three.equity.index[[0, -1]]] == ["02 15:00", "03 15:00"]
    with pytest.raises(ConfigError, match="but the bars reach from 2024-07-01T01:00 to 2024-07-13"):
        backtest(SmaCross(3, 9), panel, start="2024-08-01")


def test_signals_of_a_cut_panel_are_those_of_the_whole_one_up_to_the_cut():
    panel = mixed_panel("1h", "2024-07-01", "2024-07-12")
    whole = SmaCross(3, 9).signals(panel)
    for row in (30, 77, 150):
        cut = SmaCross(3, 9).signals(panel.until(panel.days[row]))
        pd.testing.assert_frame_equal(cut, whole.iloc[: row + 1])


def test_a_lot_of_the_venue_counts_on_minutes_too():
    panel = mixed_panel("1m", "2024-07-03", "2024-07-03", stocks=1, coins=0)
    coarse = {"S0": Asset("S0", panel.assets["S0"].asset_class, "XNYS", Decimal("10"))}
    other = type(panel)(panel.days, panel.symbols, coarse, panel.arrays, panel.real, None, panel.interval)
    fills = backtest(Drawn(2), other).fills
    assert len(fills) > 10
    assert (fills["quantity"] % 10 == 0).all()


def test_a_strategy_of_backtraders_own_keeps_its_times():
    import backtrader as bt

    class Cross(bt.Strategy):
        def __init__(self):
            self.fast, self.slow = bt.ind.SMA(period=3), bt.ind.SMA(period=9)

        def next(self):
            if not self.position and self.fast[0] > self.slow[0]:
                self.buy(size=10)
            elif self.position and self.fast[0] < self.slow[0]:
                self.close()

    panel = mixed_panel("5m", "2024-07-02", "2024-07-03", stocks=1, coins=0, missing=0.0)
    result = backtest(Cross, panel)
    assert len(result.fills) > 4
    assert set(result.fills["day"]) <= set(panel.days)
    assert result.equity.index.equals(panel.days)
    fill = result.fills.iloc[0]
    assert fill["price"] == pytest.approx(panel.open.at[fill["day"], "S0"])
    assert result.equity.nunique() > 40


def test_two_orders_of_one_asset_on_one_day_have_ids_of_their_own():
    panel = mixed_panel("1h", "2024-07-01", "2024-07-12", missing=0.0)
    strength = np.where(np.arange(len(panel.days)) % 2 == 0, 1.0, 0.0)[:, None] * np.ones(len(panel.symbols))

    class InAndOut(Strategy):
        def signals(self, panel):
            return pd.DataFrame(np.where(panel.real, strength, np.nan), panel.days, list(panel.symbols))

    strategies = {"in and out": (InAndOut(), 1.0)}
    signals = {"in and out": checked_signals(InAndOut(), panel).to_numpy()}
    fills = run_panel(Account(panel, strategies, signals, Costs(), 100_000.0), panel.first).fills
    ids = [fill.client_id for fill in fills]
    assert len(ids) > len({(fill.symbol, fill.side, fill.day.normalize()) for fill in fills})
    assert len(set(ids)) == len(ids)


def test_a_result_written_down_keeps_every_hour(tmp_path):
    panel = mixed_panel("1h", "2024-07-01", "2024-07-12", missing=0.0)
    result = backtest(SmaCross(2, 5), panel)
    told = result.to_dict()
    assert len(told["equity"]) == len(result.equity)
    assert "2024-07-03T14:30" in told["equity"]
    written = pd.read_csv(result.to_csv(tmp_path) / "equity.csv")
    assert written["day"].is_unique
    assert len(written) == len(result.equity)
    fills = pd.read_csv(tmp_path / "fills.csv")
    assert (pd.to_datetime(fills["day"], utc=True).to_numpy() == result.fills["day"].to_numpy()).all()


@pytest.mark.parametrize("start", ["2024-07-01", "2024-07-01T15:30", pd.Timestamp("2024-07-01 15:30", tz="UTC")])
def test_hours_from_a_day_or_a_moment_on_are_compared_from_there(start):
    panel = mixed_panel("1h", "2024-06-24", "2024-07-09", seed=3)
    result = backtest(SmaCross(3, 9), panel, start=start)
    agreed = check_engines(SmaCross(3, 9), panel, result)
    assert agreed is not None
    assert agreed.ok, str(agreed)


def test_the_hour_before_midnight_belongs_to_the_month_that_ends_with_it():
    index = pd.date_range("2023-12-01 01:00", "2024-02-01", freq="h", tz="UTC")
    equity = pd.Series(100.0, index)
    equity[index >= "2024-01-01"] = 110.0  # gained from 23:00 to 24:00 of New Year's Eve
    months = monthly_returns(equity)
    assert (months.loc[2023, 12], months.loc[2024, 1]) == (pytest.approx(0.1), 0.0)
    assert 2 not in months.loc[2024].dropna().index  # of February there is no hour
    assert by_period(equity, 8760)["return"].to_dict() == {2023: pytest.approx(0.1), 2024: 0.0}
    assert by_period(equity, 8760, "month")["return"].to_dict() == {12: pytest.approx(0.1), 1: 0.0}


def test_what_is_held_from_a_moment_on_is_worth_its_cash_then():
    panel = mixed_panel("1h", "2024-07-01", "2024-07-05")
    held = benchmark_of(panel, pd.Timestamp("2024-07-02 15:00", tz="UTC"), 1000)
    assert (held.index[0], held.iloc[0]) == (pd.Timestamp("2024-07-02 15:00", tz="UTC"), 1000)


def test_half_a_year_of_hours_is_compared_whole_and_told_in_bars():
    panel = mixed_panel("1h", "2024-01-02", "2024-06-28", stocks=2, coins=1)
    result = backtest(SmaCross(3, 9), panel)
    agreed = check_engines(SmaCross(3, 9), panel, result)
    assert agreed is not None
    assert agreed.whole
    assert str(agreed).endswith(f"the same account to the cent on all {len(panel.days):,} bars.")
    part = check_engines(SmaCross(3, 9), panel, result, most=0.01)
    assert part is not None
    assert part.ok
    assert not part.whole
    assert "all of it would take too long" in str(part)
    other = str(compare_results(backtest(SmaCross(3, 8), panel), result, panel))
    assert re.match(r"fast and fast differ: on 2024-01-0\dT\d\d:\d\d one has", other), other
