import json
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_core.data import HybridDataNormalizer
from trading_core.model import ExitRules, Fill, OrderRequest, OrderResult, OrderStatus, Side, money, plain
from trading_core.portfolio import Holding, Plan, Refusal
from trading_core.report import day_report
from trading_core.report.backtest_page import rebased, sharpe_interval
from trading_core.report.day import (
    contributions,
    cycle_warnings,
    decision_text,
    fill_lines,
    next_open,
    quality_warnings,
    stale_warnings,
    stop_price,
)
from trading_core.strategies import SmaCross, explain

days = pd.date_range("2024-01-04", periods=8, tz="UTC")  # a Thursday


def market(**missing: list[str]):
    "Two shares and a coin; `missing` names days on which a share had no bar."
    bars = {}
    for number, symbol in enumerate(("AAA", "BBB", "BTC/USD")):
        own = days if "/" in symbol else days[days.day_of_week < 5]
        own = own.drop(pd.DatetimeIndex(missing.get(symbol, []), tz="UTC"))
        close = 100.0 + 10 * number + np.arange(len(own))
        bars[symbol] = pd.DataFrame(
            {"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 1.0}, own
        )
    return HybridDataNormalizer().normalize(bars)


def fill(day: int, symbol: str, side: str, quantity: str, price: float, number: int = 0) -> Fill:
    return Fill(
        f"v{day}-{symbol}-{number}",
        f"c{number}",
        symbol,
        Side(side),
        Decimal(quantity),
        money(price),
        Decimal("0.10"),
        days[day],
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 7), st.sampled_from(["AAA", "BBB", "BTC/USD"]), st.integers(1, 50), st.floats(50, 200)
        ),
        max_size=8,
    ),
    st.integers(0, 6),
)
def test_contributions_explain_the_whole_change_of_equity(trades, before):
    panel = market()
    fills = [fill(d, s, "buy", str(q), round(p, 2), i) for i, (d, s, q, p) in enumerate(trades)]

    def equity(row: int) -> float:
        past = [f for f in fills if f.day <= days[row]]
        units = {s: sum(float(f.quantity) for f in past if f.symbol == s) for s in panel.symbols}
        worth = sum(n * panel.close[s].iloc[row] for s, n in units.items() if n)
        return worth + sum(float(f.cash_change) for f in past)

    moved = contributions(fills, panel, days[before], days[7])
    assert moved.sum() == pytest.approx(equity(7) - equity(before), abs=1e-6)


def test_a_sale_is_held_against_the_average_price_of_what_it_sold():
    fills = [
        fill(0, "AAA", "buy", "10", 100.0),
        fill(1, "AAA", "buy", "30", 120.0),
        fill(4, "AAA", "sell", "40", 126.5),
    ]
    (line,) = fill_lines(fills, ["v4-AAA-0"], market())
    assert line.pnl == pytest.approx(40 * (126.5 - 115.0))
    assert line.gain == pytest.approx(126.5 / 115 - 1)
    assert line.bars == 2  # Thursday and Friday; the weekend has none


def test_a_position_opened_again_starts_anew():
    fills = [
        fill(0, "AAA", "buy", "10", 100.0),
        fill(1, "AAA", "sell", "10", 90.0),
        fill(4, "AAA", "buy", "10", 80.0, 1),
    ]
    fills.append(fill(5, "AAA", "sell", "10", 88.0, 2))
    assert fill_lines(fills, ["v5-AAA-2"], market())[0].gain == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("calendar", "day", "opens"),
    [
        ("24/7", "2019-06-28", "2019-06-29 00:00"),
        ("XNYS", "2019-06-28", "2019-07-01 13:30"),
        ("XNYS", "2019-12-24", "2019-12-26 14:30"),
    ],
)
def test_an_order_waits_for_the_next_opening_of_its_own_market(calendar, day, opens):
    assert next_open(calendar, pd.Timestamp(day, tz="UTC")) == pd.Timestamp(opens, tz="UTC")


@pytest.mark.parametrize(
    ("moment", "opens"),
    [
        ("2019-02-15 14:00", "2019-02-15 14:30"),  # a Friday, before its opening
        ("2019-02-15 14:30", "2019-02-15 14:30"),
        ("2019-02-15 20:59", "2019-02-15 20:59"),
        ("2019-02-15 21:00", "2019-02-19 14:30"),  # its close; Monday is a holiday
        ("2019-02-16 03:00", "2019-02-19 14:30"),
        ("2019-02-13 21:00", "2019-02-14 14:30"),
        ("2019-07-03 17:00", "2019-07-05 13:30"),  # a half-day before a holiday
        ("2019-07-03 20:00", "2019-07-05 13:30"),
        ("2019-12-31 21:00", "2020-01-02 14:30"),
    ],
)
def test_an_order_decided_within_a_day_is_announced_for_a_time_that_is_not_past(moment, opens):
    assert next_open("XNYS", pd.Timestamp(moment, tz="UTC"), daily=False) == pd.Timestamp(opens, tz="UTC")


def test_an_order_decided_before_a_break_waits_for_its_end():
    noon = pd.Timestamp("2024-03-05 04:00", tz="UTC")
    assert next_open("XHKG", noon, daily=False) == pd.Timestamp("2024-03-05 05:00", tz="UTC")


def test_the_nearest_stop_counts():
    assert stop_price(ExitRules(), 100, 120) is None
    assert stop_price(ExitRules(stop_loss=0.1, trailing_stop=0.2), 100, 120) == pytest.approx(96)
    assert stop_price(ExitRules(stop_loss=0.1, trailing_stop=0.2), 100, 110) == pytest.approx(90)


def test_a_share_without_a_bar_on_an_open_day_is_warned_about_and_a_weekend_is_not():
    panel = market(BBB=["2024-01-10", "2024-01-11"])
    (warned,) = stale_warnings(panel, ["BBB"])
    assert warned.title == "BBB has had no bar for 2 sessions"
    assert "It is held" in warned.text
    assert stale_warnings(panel.until("2024-01-07"), []) == []


def test_a_symbol_that_was_refused_with_its_file_is_a_warning_too():
    (warned,) = quality_warnings(market(), [], {"DTV": "the source refused to give these bars"})
    assert warned.title == "DTV is not traded: its prices cannot be right"
    assert warned.text == "The source refused to give these bars. It is not held."


def test_refusals_are_gathered_by_limit_and_missed_days_are_named():
    refusals = tuple(Refusal(s, "x", Side.BUY, Decimal(1), "max_positions", "the limit is 2") for s in "ABCDEF")
    order = OrderRequest("c", "A", Side.BUY, Decimal(1))
    cycle = SimpleNamespace(
        plan=Plan(days[7], (order,), (), refusals),
        missed_days=tuple(days[5:7]),
        results=(OrderResult("c", OrderStatus.REJECTED, "", "no such thing"),),
    )
    titles = [warned.title for warned in cycle_warnings(cycle)]
    assert titles == [
        "1 order was cut: max positions",
        "5 orders were refused: max positions",
        "2 days without a decision",
        "Order c is rejected",
    ]
    assert "and 1 more (risk.max_positions)" in cycle_warnings(cycle)[1].text


def day_of(panel, strategy, *, fills=(), orders=(), holdings=None, previous=None, pending=(), begun=None):
    history = pd.Series({previous: 1_000.0}) if previous is not None else pd.Series(dtype=float)
    ledger = SimpleNamespace(equity=lambda: history, fills=lambda: list(fills), actions=list)
    run = SimpleNamespace(
        account="csv", job="daily", panel=panel, benchmark=panel.close["BBB"], strategies={"sma": (strategy, 1.0)},
        ledger=ledger, simulated=False,
    )  # fmt: skip
    cycle = SimpleNamespace(
        as_of=panel.last, plan=Plan(panel.last, tuple(orders), (), (), {}), fills=[f for f in fills if f.day == panel.last],
        equity=money(1_010.0), cash=money(500.0), holdings=holdings or {}, pending=pending, previous_day=previous,
        previous_equity=None if previous is None else money(1_000.0), dry_run=False, results={}, begun=begun or {},
    )  # fmt: skip
    return day_report(run, cycle)


def test_a_day_is_plain_json_even_when_almost_nothing_is_known():
    day = day_of(market(), SmaCross(fast=2, slow=3))
    stored = json.loads(json.dumps(day.to_dict(), allow_nan=False))
    assert (stored["previous_day"], stored["movers"], stored["orders"]) == (None, {}, [])
    assert stored["history"] == {"days": ["2024-01-11"], "account": [1010.0], "benchmark": [1010.0]}


def test_an_order_filled_in_part_is_told_with_what_is_filled_and_what_is_left():
    rest = OrderRequest("c", "AAA", Side.BUY, Decimal("6.0"), strategy="sma")
    day = day_of(market(), SmaCross(fast=2, slow=3), pending=(rest,), begun={"c": Decimal("4.0")})
    (line,) = day.orders
    assert (line.symbol, float(line.quantity)) == ("AAA", 6)
    assert line.status == "4 filled, the rest waits"


def test_on_a_sunday_an_order_of_friday_is_told_with_what_friday_showed():
    sunday, strategy = market().until("2024-01-07"), SmaCross(fast=1, slow=2)
    waiting = OrderRequest("20240105-AAA-b-1", "AAA", Side.BUY, Decimal("6.0"), strategy="sma")
    unknown = OrderRequest("20240104-BBB-b-1", "BBB", Side.BUY, Decimal("6.0"), strategy="a name that is gone")
    of_a_person = OrderRequest("by-hand", "BTC/USD", Side.BUY, Decimal("6.0"), strategy="sma")
    told = {line.symbol: line.why for line in day_of(sunday, strategy, pending=(waiting, unknown, of_a_person)).orders}
    assert told == {
        "AAA": explain(strategy, sunday, "2024-01-05")["AAA"],
        "BBB": "",
        "BTC/USD": explain(strategy, sunday)["BTC/USD"],
    }
    assert "no session" not in told["AAA"]


def test_orders_positions_and_history_are_told_in_the_order_in_which_they_matter():
    holdings = {
        "AAA": Holding("AAA", "sma", Decimal(2), 100.0, days[0], 3, 106.0),
        "BTC/USD": Holding("BTC/USD", "sma", Decimal(1), 130.0, days[0], 3, 130.0),
    }
    orders = [
        OrderRequest("1", "BBB", Side.BUY, Decimal(1), strategy="sma"),
        OrderRequest("2", "AAA", Side.SELL, Decimal(2), "signal", "sma", whole=True),
        OrderRequest("3", "BTC/USD", Side.BUY, Decimal(1), strategy="sma"),
    ]
    day = day_of(market(), SmaCross(fast=2, slow=3), orders=orders, holdings=holdings, previous=days[6])
    assert [order.symbol for order in day.orders] == ["BTC/USD", "AAA", "BBB"]
    assert "since entry" in day.orders[1].why
    assert {line.symbol: line.leaving for line in day.positions} == {"AAA": True, "BTC/USD": False}
    assert day.history["days"] == ["2024-01-10", "2024-01-11"]
    assert sum(day.exposure.values()) == pytest.approx(1)
    assert sum(day.exposure_after.values()) == pytest.approx(1)


def test_the_benchmark_starts_with_the_same_money_and_may_open_a_few_days_late():
    equity = pd.Series(1_000.0, pd.date_range("2024-01-01", periods=30, tz="UTC"))
    closes = pd.Series([50.0, 60.0], pd.DatetimeIndex(["2024-01-03", "2024-01-10"], tz="UTC"), name="MKT")
    other = rebased(closes, equity)
    assert (other.iloc[0], other.iloc[-1]) == (1_000.0, 1_200.0)
    assert rebased(closes.shift(20, freq="D"), equity) is None
    assert rebased(None, equity) is None


def test_the_sharpe_interval_has_the_width_that_the_formula_gives():
    returns = np.tile([0.011, -0.009], 200)
    value, low, high = sharpe_interval(pd.Series(np.cumprod(np.r_[1.0, 1 + returns])), 252)
    daily = returns.mean() / returns.std(ddof=1)
    assert value == pytest.approx(daily * 252**0.5)
    assert high - low == pytest.approx(2 * 1.96 * ((1 + daily**2 / 2) / 400 * 252) ** 0.5)
    assert np.isnan(sharpe_interval(pd.Series([1.0] * 100), 252)).all()


def test_what_json_cannot_hold_becomes_null():
    assert plain({"a": np.float64("nan"), "b": [pd.Timestamp("2024-01-05"), np.int64(3), pd.NaT]}) == {
        "a": None,
        "b": ["2024-01-05", 3, None],
    }


def test_what_is_held_without_a_newer_opinion_is_kept_and_said_to_be():
    holdings = {"AAA": Holding("AAA", "sma", Decimal(2), 100.0, days[0], 3, 106.0)}
    day = day_of(market(), SmaCross(fast=2, slow=3), holdings=holdings, previous=days[6])
    assert [(item.kind, item.symbols) for item in day.silent if item.symbols == "AAA"] == [("kept", "AAA")]


def test_a_wish_for_what_is_sold_today_is_told_as_a_sale_and_not_as_kept():
    sale = OrderRequest("s", "AAA", Side.SELL, Decimal(1), "time_stop", "sma", True)
    wishes = [SimpleNamespace(symbol=symbol, wanted=True) for symbol in ("AAA", "BBB")]
    told = decision_text("sma", SmaCross(), Plan(days[0], (sale,)), wishes, ["AAA", "BBB"])
    assert told == "SmaCross wants 2 of 2: 1 kept (BBB), 1 to sell (AAA)"
