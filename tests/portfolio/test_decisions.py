from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_core.data import HybridDataNormalizer
from trading_core.model import Asset, ExitRules, Fill, OrderRequest, Side, money
from trading_core.portfolio import (
    RiskLimits,
    StrategyConflictError,
    check_orders,
    client_order_id,
    decide,
    fill_open,
    reconcile,
    track,
)
from trading_core.portfolio.costs import Costs
from trading_core.portfolio.exits import exit_reason
from trading_core.strategies import Strategy

DAYS = pd.date_range("2024-01-02", periods=7, tz="UTC")  # Tuesday to Monday
CYCLE = "test|daily|2024-01-05"


def flat(price: float, days: pd.DatetimeIndex = DAYS) -> pd.DataFrame:
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), price), days)
    return frame.assign(volume=1.0)


def panel_of(**prices: float):
    weekdays = DAYS[DAYS.day_of_week < 5]
    bars = {s.replace("_", "/"): flat(p, DAYS if "_" in s else weekdays) for s, p in prices.items()}
    return HybridDataNormalizer().normalize(bars)


@dataclass(frozen=True)
class Wants(Strategy):
    row: tuple

    def signals(self, panel):
        return pd.DataFrame([list(self.row)] * len(panel.days), panel.days, list(panel.symbols), dtype=float)


def plan_of(panel, wants, fills=(), pending=(), day=DAYS[3], cash=10_000.0, **options):
    strategies = {name: (Wants(tuple(row)), 1 / len(wants)) for name, row in wants.items()}
    signals = {name: strategy.signals(panel) for name, (strategy, _) in strategies.items()}
    holdings = track(fills, panel, day)
    return decide(panel, day, strategies, signals, holdings, pending, money(cash), money(cash), cycle=CYCLE, **options)


def bought(symbol, quantity, price, day=DAYS[0], strategy="one"):
    return Fill(
        f"f{symbol}", symbol, symbol, Side.BUY, money(quantity), money(price), money(0.0), day, "signal", strategy
    )


def test_nan_keeps_what_is_held_and_zero_closes_it():
    panel = panel_of(AAA=50.0, BBB=20.0)
    fills = [bought("AAA", 10.0, 50.0), bought("BBB", 10.0, 20.0)]
    plan = plan_of(panel, {"one": [np.nan, 0.0]}, fills)
    assert [(o.symbol, o.side, o.whole) for o in plan.orders] == [("BBB", Side.SELL, True)]


def test_a_strategy_cannot_sell_what_another_one_holds():
    panel = panel_of(AAA=50.0)
    plan = plan_of(panel, {"one": [np.nan], "two": [0.0]}, [bought("AAA", 10.0, 50.0)])
    assert plan.orders == ()


def test_a_wish_for_what_another_strategy_holds_is_refused_with_its_owner():
    panel = panel_of(AAA=50.0)
    plan = plan_of(panel, {"one": [np.nan], "two": [1.0]}, [bought("AAA", 10.0, 50.0)])
    assert plan.orders == ()
    assert (plan.refusals[0].reason, plan.refusals[0].detail) == ("other_strategy", "it is held by 'one'")


def test_two_strategies_that_want_one_symbol_are_refused_by_name():
    with pytest.raises(StrategyConflictError, match=r"AAA is wanted by both 'one' and 'two' on 2024-01-05"):
        plan_of(panel_of(AAA=50.0), {"one": [1.0], "two": [0.5]})


def test_a_position_whose_strategy_is_gone_is_flattened():
    plan = plan_of(panel_of(AAA=50.0), {"two": [np.nan]}, [bought("AAA", 10.0, 50.0)])
    assert [(o.reason, o.strategy) for o in plan.orders] == [("flatten", "one")]


def test_a_newer_decision_removes_a_waiting_buy_even_when_it_makes_no_order():
    waiting = OrderRequest("w", "AAA", Side.BUY, money(10.0), strategy="one")
    plan = plan_of(panel_of(AAA=50.0), {"one": [0.0]}, pending=[waiting])
    assert (plan.orders, plan.cancels) == ((), ("w",))


def test_no_opinion_leaves_a_waiting_buy_alone():
    waiting = OrderRequest("w", "AAA", Side.BUY, money(10.0), strategy="one")
    plan = plan_of(panel_of(AAA=50.0), {"one": [np.nan]}, pending=[waiting])
    assert (plan.orders, plan.cancels) == ((), ())


def test_a_waiting_full_sale_stands_whatever_is_decided():
    fills = [bought("AAA", 10.0, 50.0)]
    waiting = OrderRequest("w", "AAA", Side.SELL, money(10.0), whole=True, strategy="one")
    for strength in (1.0, 0.0):
        plan = plan_of(panel_of(AAA=50.0), {"one": [strength]}, fills, [waiting])
        assert (plan.orders, plan.cancels) == ((), ())


def test_a_wish_without_any_price_yet_is_refused_as_no_price():
    late = HybridDataNormalizer().normalize({"AAA": flat(50.0), "LATE": flat(9.0, DAYS[5:])})
    plan = plan_of(late, {"one": [np.nan, 1.0]})
    assert [(r.symbol, r.reason) for r in plan.refusals] == [("LATE", "no_price")]


def test_an_order_below_the_smallest_value_keeps_its_reason():
    plan = plan_of(panel_of(AAA=50.0), {"one": [0.00005]})
    assert [(r.symbol, r.reason) for r in plan.refusals] == [("AAA", "min_notional")]


def test_an_exit_and_a_zero_make_one_sale_with_the_exits_reason():
    class Stopped(Wants):
        exits = ExitRules(time_stop=1)

    panel = panel_of(AAA=50.0)
    strategies = {"one": (Stopped((0.0,)), 1.0)}
    signals = {"one": strategies["one"][0].signals(panel)}
    holdings = track([bought("AAA", 10.0, 50.0)], panel, DAYS[3])
    plan = decide(panel, DAYS[3], strategies, signals, holdings, [], money(1e4), money(1e4), cycle=CYCLE)
    assert [(o.side, o.reason) for o in plan.orders] == [(Side.SELL, "time_stop")]


def test_no_exit_fires_on_a_carried_price():
    class Stopped(Wants):
        exits = ExitRules(time_stop=1)

    panel = panel_of(AAA=50.0, COIN_USD=9.0)
    strategies = {"one": (Stopped((np.nan, np.nan)), 1.0)}
    signals = {"one": strategies["one"][0].signals(panel)}
    saturday = DAYS[4]
    holdings = track([bought("AAA", 10.0, 50.0)], panel, saturday)
    plan = decide(panel, saturday, strategies, signals, holdings, [], money(1e4), money(1e4), cycle=CYCLE)
    assert plan.orders == ()


def test_limits_that_cut_one_order_leave_the_others_alone():
    plan = plan_of(panel_of(AAA=50.0, BBB=20.0), {"one": [0.9, 0.1]}, limits=RiskLimits(max_weight=0.5))
    assert {o.symbol: o.quantity for o in plan.orders} == {"AAA": Decimal("100"), "BBB": Decimal("50")}
    assert [(r.symbol, r.reason) for r in plan.refusals] == [("AAA", "max_weight")]


def test_a_stale_price_is_never_bought():
    halted = HybridDataNormalizer().normalize(
        {"AAA": flat(50.0, DAYS[[0, 1, 6]]), "BBB": flat(20.0, DAYS[[0, 1, 2, 3, 6]])}
    )
    plan = plan_of(halted, {"one": [0.5, 0.5]}, limits=RiskLimits())
    assert [o.symbol for o in plan.orders] == ["BBB"]
    assert [(r.symbol, r.reason) for r in plan.refusals] == [("AAA", "stale_price")]


def test_limits_never_refuse_a_sale():
    sale = OrderRequest("s", "AAA", Side.SELL, money(10.0), whole=True)
    facts = {"equity": money(10.0), "cash": money(0.0), "held": {"AAA": money(10.0)}, "prices": {"AAA": money(1e6)}}
    limits = RiskLimits(max_weight=0.01, max_positions=1, max_order_value=1.0, cash_buffer=1.0)
    let, refused = check_orders([sale], limits, missed={"AAA": 5}, assets={"AAA": Asset.of("AAA")}, **facts)
    assert (let, refused) == ([sale], [])


prices = st.floats(0.01, 5_000).map(lambda p: money(round(p, 2)))
symbols = st.sampled_from(["AAA", "BBB", "CCC", "DDD/USD", "EEE/USD"])


@given(
    targets=st.dictionaries(symbols, st.floats(0, 0.2)),
    held=st.dictionaries(symbols, st.integers(1, 10**6).map(lambda n: Decimal(n) / 10_000)),
    price=st.fixed_dictionaries(dict.fromkeys(("AAA", "BBB", "CCC", "DDD/USD", "EEE/USD"), prices)),
)
def test_after_all_orders_filled_nothing_is_left_to_reconcile(targets, held, price):
    assets = {s: Asset.of(s) for s in price}
    equity = money(100_000.0)
    now = dict(held)
    for order in reconcile(targets, held, [], equity, price, assets, CYCLE):
        now[order.symbol] = now.get(order.symbol, Decimal(0)) + order.quantity * (1 if order.side is Side.BUY else -1)
    again = reconcile(targets, {s: q for s, q in now.items() if q}, [], equity, price, assets, CYCLE)
    assert all(o.side is Side.BUY for o in again) is True  # only wishes too small to be an order can remain
    assert again == [] or all(targets[o.symbol] * 100_000 < 2 for o in again)


@given(
    cash=st.integers(0, 10_000), held=st.integers(0, 50), wishes=st.lists(st.integers(1, 300), min_size=3, max_size=3),
    opens=st.lists(prices, min_size=3, max_size=3),
)  # fmt: skip
def test_whatever_is_ordered_cash_and_holdings_never_fall_below_zero(cash, held, wishes, opens):
    names = ["AAA", "BBB", "DDD/USD"]
    sides = [Side.SELL, Side.BUY, Side.BUY]
    orders = [OrderRequest(s, s, side, money(float(q))) for s, side, q in zip(names, sides, wishes, strict=True)]
    before = {"AAA": money(float(held))}
    assets = {s: Asset.of(s) for s in names}
    fills, *_ = fill_open(
        orders, dict(zip(names, opens, strict=True)), before, money(float(cash)), Costs(minimum=1.0), assets, DAYS[0]
    )
    # the fee of a sale may be more than the sale brings; apart from that nothing is spent that is not there
    left = cash + sum(f.cash_change for f in fills)
    assert left >= -1
    assert sum(f.quantity for f in fills if f.side is Side.SELL) <= held


@given(st.floats(1, 1e5), st.integers(1, 99))
def test_a_close_exactly_at_the_stop_fires_whatever_floats_say(entry, percent):
    stop = percent / 100
    close = float(money(round(entry, 4)) * (1 - Decimal(percent) / 100))
    assert exit_reason(ExitRules(stop_loss=stop), round(entry, 4), close, entry, 2) == "stop_loss"


def test_client_ids_differ_by_everything_that_makes_a_decision():
    base = ("a|daily|2024-01-05", "one", "AAA", Side.BUY, "open")
    others = [
        ("b|daily|2024-01-05", *base[1:]),
        (base[0], "two", *base[2:]),
        (*base[:3], Side.SELL, base[4]),
        (*base[:4], "resize"),
    ]
    ids = {client_order_id(*args) for args in [base, *others]}
    assert len(ids) == 5
    assert max(len(i) for i in ids) <= 48
    assert len(client_order_id("a|daily|2024-01-05", "one", "X" * 60, Side.BUY, "open")) <= 48
