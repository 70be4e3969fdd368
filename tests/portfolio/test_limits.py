"""Limits on orders: whatever is asked for, what goes out keeps all of them, and each answer has its margin."""

from __future__ import annotations

from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_core.config import RiskSettings, TradingConfig
from trading_core.model import Asset, AssetClass, OrderRequest, Side, money
from trading_core.portfolio import Breaker, RiskLimits, check_orders
from trading_core.portfolio.risk import Check, LimitError, checks, exposure, let_through, refused_by, room_for

SYMBOLS = ("AAA", "BBB", "CCC", "ADA/USD", "BTC/USD")
ASSETS = {symbol: Asset.of(symbol) for symbol in SYMBOLS}
PRICES = {symbol: money(price) for symbol, price in zip(SYMBOLS, (50.0, 20.0, 8.0, 0.5, 40_000.0), strict=True)}
FRESH = dict.fromkeys(SYMBOLS, 0)
part = st.none() | st.floats(0.01, 1)
limits = st.builds(
    RiskLimits,
    max_weight=part, max_equity=part, max_crypto=part, max_positions=st.none() | st.integers(1, 5),
    max_order_value=st.none() | st.floats(1, 1e5), cash_buffer=st.floats(0, 1),
    max_orders_per_day=st.none() | st.integers(1, 6), max_price_gap=part,
)  # fmt: skip


def buy(symbol: str, value: float) -> OrderRequest:
    return OrderRequest(f"b{symbol}", symbol, Side.BUY, money(round(value, 2)) / PRICES[symbol])


def sell(symbol: str, quantity: Decimal) -> OrderRequest:
    return OrderRequest(f"s{symbol}", symbol, Side.SELL, quantity, whole=True)


accounts = st.tuples(
    st.dictionaries(st.sampled_from(SYMBOLS), st.floats(1, 30_000), max_size=4),  # value held
    st.dictionaries(st.sampled_from(SYMBOLS), st.floats(1, 90_000), max_size=5),  # value wished
    st.sets(st.sampled_from(SYMBOLS)),  # sold
    st.floats(0, 50_000),  # cash
    limits,
)


@given(accounts, st.integers(0, 3), st.dictionaries(st.sampled_from(SYMBOLS), st.floats(0.5, 1.5)))
def test_what_goes_out_keeps_every_limit(account, sent, moved) -> None:  # type: ignore[no-untyped-def]
    worth, wished, sold, cash, limits = account
    held = {symbol: money(round(value, 2)) / PRICES[symbol] for symbol, value in worth.items()}
    orders = [sell(s, held[s]) for s in sorted(sold & held.keys())]
    orders += [buy(s, value) for s, value in sorted(wished.items()) if not (s in held and s in sold)]
    equity = money(round(cash, 2)) + sum((held[s] * PRICES[s] for s in held), Decimal(0)) + 1
    quotes = {symbol: PRICES[symbol] * money(round(factor, 3)) for symbol, factor in moved.items()}
    let, refused = check_orders(
        orders, limits, equity=equity, cash=money(round(cash, 2)), held=held, prices=PRICES, missed=FRESH,
        assets=ASSETS, sent=sent, quotes=quotes,
    )  # fmt: skip
    sales, buys = [o for o in let if o.side is Side.SELL], [o for o in let if o.side is Side.BUY]
    assert sales == [o for o in orders if o.side is Side.SELL]  # closing is never refused
    wishes = {o.symbol: o.quantity for o in orders if o.side is Side.BUY}
    assert all(o.quantity <= wishes[o.symbol] for o in buys)
    less = {o.symbol for o in buys if o.quantity < wishes[o.symbol]} | (wishes.keys() - {o.symbol for o in buys})
    assert {r.symbol for r in refused} == less  # each cut and each refusal has its reason
    after = {s: q * PRICES[s] for s, q in held.items() if s not in sold}
    for order in buys:
        after[order.symbol] = after.get(order.symbol, Decimal(0)) + order.quantity * PRICES[order.symbol]
    slack = Decimal("1e-6")
    spent = sum((o.quantity * PRICES[o.symbol] for o in buys), Decimal(0))
    freed = sum((o.quantity * PRICES[o.symbol] for o in sales), Decimal(0))
    if limits.max_weight is not None:
        assert all(after[o.symbol] <= money(limits.max_weight) * equity + slack for o in buys)
    for asset_class, most in ((AssetClass.EQUITY, limits.max_equity), (AssetClass.CRYPTO, limits.max_crypto)):
        if most is not None and any(ASSETS[o.symbol].asset_class is asset_class for o in buys):
            assert (
                sum(v for s, v in after.items() if ASSETS[s].asset_class is asset_class) <= money(most) * equity + slack
            )
    if limits.max_positions is not None and any(o.symbol not in held for o in buys):
        assert len(after) <= limits.max_positions
    if limits.max_order_value is not None:
        assert all(o.quantity * PRICES[o.symbol] <= money(limits.max_order_value) + slack for o in buys)
    if limits.max_orders_per_day is not None and buys:
        assert sent + len(let) <= limits.max_orders_per_day
    if limits.cash_buffer > 0 and buys:
        assert money(round(cash, 2)) + freed - spent >= money(limits.cash_buffer) * equity - slack
    if limits.max_price_gap is not None:
        assert all(
            abs(quotes.get(o.symbol, PRICES[o.symbol]) / PRICES[o.symbol] - 1) <= money(limits.max_price_gap)
            for o in buys
        )


@given(accounts)
def test_refusals_follow_from_the_answers_and_nothing_else(account) -> None:  # type: ignore[no-untyped-def]
    worth, wished, _, cash, limits = account
    held = {symbol: money(round(value, 2)) / PRICES[symbol] for symbol, value in worth.items()}
    orders = [buy(s, value) for s, value in sorted(wished.items())]
    seen = exposure(orders, held, PRICES, equity=money(40_000), cash=money(round(cash, 2)), missed=FRESH, assets=ASSETS)
    done = let_through(orders, limits, seen)
    reasons = {refusal.symbol: refusal.reason for refusal in done.refusals}
    assert done.checks.keys() == wished.keys()
    for symbol, asked in done.checks.items():
        failed = refused_by(asked) or room_for(asked)
        assert reasons.get(symbol) == (failed.name if failed else None)
        assert (symbol in reasons) == any(not check.ok for check in asked)
        set_ones = {name for name, value in vars(limits).items() if value is not None}
        assert {check.setting for check in asked} <= set_ones


def margins(limits: RiskLimits, order: OrderRequest, **more: object) -> dict[str, Check]:
    facts = {"equity": money(10_000), "cash": money(5_000), "missed": FRESH, "assets": ASSETS} | more
    seen = exposure([order], {"BBB": Decimal(100)}, PRICES, **facts)  # type: ignore[arg-type]
    return {check.name: check for check in checks(order, limits, seen)}


def test_each_answer_says_the_value_and_the_limit_also_when_all_is_well() -> None:
    every = RiskLimits(
        max_weight=0.2, max_equity=0.5, max_positions=4, max_order_value=1_500, cash_buffer=0.1,
        max_orders_per_day=9, max_daily_loss=0.05, max_drawdown=0.2,
    )  # fmt: skip
    days = pd.date_range("2024-01-01", periods=3, tz="UTC")
    calm = Breaker(0.05, 0.2).through(zip(days, (10_000, 10_500, 10_290), strict=True))
    asked = margins(every, buy("AAA", 1_000), breaker=calm, quotes={"AAA": money(51)}, sent=2)
    assert {check.name: check.sentence for check in asked.values()} == {
        "max_daily_loss": "the day's loss is 2 %, the limit is 5 %",
        "max_drawdown": "the account is 2 % below its highest evening, the limit is 20 %",
        "stale_price": "its price is 0 sessions old, 1 would be too old",
        "price_gap": "the quote 51 is 2 % off the last close 50.0, the limit is 20 %",
        "max_orders_per_day": "it would be order 3 of the day, the limit is 9",
        "max_positions": "it would be position 2, the limit is 4",
        "max_order_value": "worth 1,000.00, the limit is 1,500.00",
        "max_weight": "it would be 10 % of the account, the limit is 20 %",
        "max_equity": "all equities together would be 30 % of the account, the limit is 50 %",
        "cash_buffer": "cash would be 40 % of the account, 10 % must be left",
    }
    assert all(check.ok for check in asked.values())
    assert (asked["max_weight"].value, asked["max_weight"].limit) == (pytest.approx(0.1), 0.2)
    assert asked["price_gap"].setting == "max_price_gap"


def test_a_sale_is_asked_nothing() -> None:
    assert margins(RiskLimits(max_weight=0.01), sell("BBB", Decimal(100))) == {}


def test_orders_that_wait_from_earlier_days_do_not_count_for_today() -> None:
    waiting, new = buy("AAA", 1_000), buy("CCC", 1_000)
    let, refused = check_orders(
        [waiting, new], RiskLimits(max_orders_per_day=1), equity=money(10_000), cash=money(9_000), held={},
        prices=PRICES, missed=FRESH, assets=ASSETS, waiting={waiting.client_id},
    )  # fmt: skip
    assert (let, refused) == ([waiting, new], [])


def test_a_halted_account_is_refused_in_the_breakers_name_before_anything_else() -> None:
    day = pd.Timestamp("2024-01-02", tz="UTC")
    halted = Breaker(max_drawdown=0.1).through([(day, 100.0), (day, 80.0)])
    stale = margins(RiskLimits(max_drawdown=0.1), buy("AAA", 100), breaker=halted, missed={**FRESH, "AAA": 4})
    first = refused_by(list(stale.values()))
    assert first is not None
    assert first.name == "breaker"
    assert "halted since 2024-01-02 by max_drawdown: 80.00 is 20 % below" in first.sentence
    assert "`trading resume`" in first.sentence


@pytest.mark.parametrize(
    ("wrong", "need"),
    [
        ({"max_equity": 50}, "a fraction of equity above 0, up to 1"),
        ({"max_crypto": 0}, "a fraction of equity above 0, up to 1"),
        ({"max_orders_per_day": 0}, "a whole number, 1 or more"),
        ({"max_orders_per_day": 1.5}, "a whole number, 1 or more"),
        ({"max_price_gap": 20}, "a fraction of the price above 0, up to 1"),
        ({"stale_sessions": None}, "a whole number, 1 or more"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused(wrong: dict[str, float], need: str) -> None:
    with pytest.raises(LimitError, match=need):
        RiskLimits(**wrong)  # type: ignore[arg-type]


def test_the_settings_have_every_limit_with_a_description() -> None:
    assert set(RiskSettings.model_fields) == set(vars(RiskLimits()))
    assert all(field.description for field in RiskSettings.model_fields.values())
    assert RiskLimits(**TradingConfig().risk.model_dump()) == RiskLimits(max_weight=0.2, max_positions=20)
