import pickle
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_core.model import AssetClass, Side, money
from trading_core.portfolio import Costs, floor_lot
from trading_core.portfolio.costs import CostError

amounts = st.decimals(min_value=Decimal("0.01"), max_value=Decimal("1e7"), places=6)
lots = st.sampled_from([Decimal("0.000001"), Decimal("0.0001"), Decimal("0.5"), Decimal("1"), Decimal("100")])


@given(amounts, lots)
def test_a_lot_floor_is_a_whole_number_of_lots_and_not_above_the_wish(quantity, lot):
    floored = floor_lot(quantity, lot)
    assert floored % lot == 0
    assert floored <= quantity + lot * Decimal("1e-5")
    assert quantity - floored < lot


@given(st.integers(1, 10**9), st.integers(1, 10**7), lots)
def test_whole_wishes_survive_the_trip_through_floats(n, cents, lot):
    price = cents / 100
    value = float(n * lot) * price
    assert floor_lot(value / price, lot) == n * lot


@given(
    cash=amounts,
    price=amounts,
    quantity=amounts,
    rate=st.floats(0, 0.05),
    minimum=st.floats(0, 20),
    share=st.floats(0, 1),
)
def test_a_cut_buy_can_be_paid_and_one_more_lot_could_not(cash, price, quantity, rate, minimum, share):
    terms = Costs(rate=rate, minimum=minimum, per_share=share).of(AssetClass.EQUITY)
    lot = Decimal("0.0001")
    bought = terms.affordable(cash, price, quantity, lot)
    assert 0 <= bought <= quantity
    cost = lambda q: q * price + terms.fee(q, price)  # noqa: E731
    if bought:
        assert cost(bought) <= cash
    if bought < quantity:
        assert cost(bought + 2 * lot) > cash


def test_slippage_is_always_against_us():
    terms = Costs(slippage_bps=10).of(AssetClass.EQUITY)
    assert terms.fill_price(100.0, Side.SELL) < 100 < terms.fill_price(100.0, Side.BUY)


def test_terms_of_a_class_replace_only_what_they_name():
    costs = Costs(rate=0.001, minimum=1.0, by_class={AssetClass.CRYPTO: {"rate": 0.0025}})
    assert costs.of(AssetClass.CRYPTO).rate == money(0.0025)
    assert costs.of(AssetClass.CRYPTO).minimum == money(1.0)


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan"), float("inf"), "0.1", None, True])
def test_a_rate_that_cannot_be_meant_is_refused(value):
    with pytest.raises(CostError, match="rate needs a number from 0 to below 1"):
        Costs(rate=value)


def test_cost_errors_survive_pickling():
    error = CostError("rate", 25, "a number")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
