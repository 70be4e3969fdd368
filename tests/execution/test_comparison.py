"""A difference is explained by something, or trading stops; small lies are noticed, roundings are not."""

from __future__ import annotations

import pickle
from dataclasses import replace
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_core.errors import RefusedError
from trading_core.execution import Comparison, Difference, MismatchError
from trading_core.execution.comparison import OurSide, TheirSide, compare_sides
from trading_core.ledger import positions_of
from trading_core.model import Fill, OrderRequest, OrderStatus, PositionInfo, Side

DAY = pd.Timestamp("2024-03-28", tz="UTC")
ACME = PositionInfo("ACME", Decimal(100), Decimal(50))
COIN = PositionInfo("COIN/USD", Decimal(2), Decimal(400))
OURS = OurSide("demo", Decimal(5_000), {"ACME": ACME, "COIN/USD": COIN}, {})
THEIRS = TheirSide("alpaca", OURS.cash, OURS.positions, {})


def fill(quantity: str, price: str = "52", symbol: str = "ACME", side: Side = Side.BUY, name: str = "f") -> Fill:
    return Fill(name, "c-1", symbol, side, Decimal(quantity), Decimal(price), Decimal(0), DAY)


def order(name: str = "o-1", quantity: str = "3", **more: object) -> OrderRequest:
    return OrderRequest(name, "ACME", Side.BUY, Decimal(quantity), **more)  # type: ignore[arg-type]


def with_coin(quantity: str) -> TheirSide:
    return replace(THEIRS, positions={**OURS.positions, "COIN/USD": replace(COIN, quantity=Decimal(quantity))})


def test_two_equal_sides_have_nothing_to_explain() -> None:
    found = compare_sides(OURS, THEIRS)
    assert (found.ok, found.differences) == (True, ())
    assert str(found) == "demo: ledger and alpaca agree (0 orders, 2 positions, 0 new fills)"


@pytest.mark.parametrize(("gap", "noticed"), [("0.01", True), ("-0.01", True), ("0.009", False), ("100", True)])
def test_cash_agrees_to_the_cent(gap: str, noticed: bool) -> None:
    found = compare_sides(OURS, replace(THEIRS, cash=OURS.cash + Decimal(gap)))
    assert found.ok is not noticed
    assert len(found.differences) == 1


@pytest.mark.parametrize(("price", "noticed"), [("50.005", False), ("49.9951", False), ("50.01", True), ("0", False)])
def test_an_average_price_may_be_rounded_by_a_hundredth_of_a_per_cent(price: str, noticed: bool) -> None:
    there = {**OURS.positions, "ACME": replace(ACME, entry_price=Decimal(price))}
    assert compare_sides(OURS, replace(THEIRS, positions=there)).ok is not noticed


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.integers(10, 99)), max_size=6),
    st.integers(0, 6),
)
def test_whatever_is_in_the_log_and_not_in_the_book_explains_itself_and_nothing_more(
    trades: list[tuple[bool, int, int]], known: int
) -> None:
    fills = [fill("100", "50", name="start")]
    held = 100
    for number, (buys, quantity, price) in enumerate(trades):
        held += quantity if buys else -quantity
        fills.append(fill(str(quantity), str(price), side=Side.BUY if buys else Side.SELL, name=str(number)))
    ours, newer = fills[: known + 1], fills[known + 1 :]
    cash = Decimal(10_000)
    here = OurSide("demo", cash + sum(f.cash_change for f in ours), positions_of(ours), {}, lambda: ours)
    there = TheirSide("v", cash + sum(f.cash_change for f in fills), positions_of(fills), {}, newer)
    assert compare_sides(here, there).ok
    assert not compare_sides(here, replace(there, cash=there.cash + 1)).ok
    lost = {"ACME": replace(there.positions["ACME"], quantity=there.positions["ACME"].quantity - Decimal("0.0001"))}
    assert not compare_sides(here, replace(there, positions=lost)).ok


@pytest.mark.parametrize(
    ("quantity", "explained"), [("1.995", True), ("1.98", True), ("1.97", False), ("2.001", False), ("0", False)]
)
def test_a_coin_may_be_less_by_a_fee_and_by_nothing_else(quantity: str, explained: bool) -> None:
    ours = replace(OURS, history=lambda: [fill("2", "400", "COIN/USD")])
    assert compare_sides(ours, with_coin(quantity)).ok is explained


def test_a_share_has_no_fee_in_kind_and_a_fee_that_is_booked_explains_no_second_one() -> None:
    ours = replace(OURS, history=lambda: [fill("100")])
    short = {**OURS.positions, "ACME": replace(ACME, quantity=Decimal("99.9"))}
    assert not compare_sides(ours, replace(THEIRS, positions=short)).ok
    taken = replace(fill("0.005", "0", "COIN/USD", Side.SELL, "fee"), reason="fee")
    both = replace(OURS, history=lambda: [fill("2", "400", "COIN/USD"), taken])
    assert not compare_sides(both, with_coin("1.995")).ok


def test_an_order_in_flight_is_explained_and_one_that_vanished_is_not() -> None:
    for status, ok in ((OrderStatus.UNKNOWN, True), (OrderStatus.ACCEPTED, False)):
        found = compare_sides(replace(OURS, orders={"o-1": (order(), status)}), THEIRS)
        assert found.ok is ok
        assert found.differences[0].subject == "o-1"


def test_an_order_that_was_changed_at_the_venue_is_noticed_unless_it_sells_all() -> None:
    here = replace(OURS, orders={"o-1": (order(), OrderStatus.ACCEPTED)})
    there = replace(THEIRS, orders={"o-1": order(quantity="4")})
    assert not compare_sides(here, there).ok
    whole = replace(OURS, orders={"o-1": (order(whole=True), OrderStatus.ACCEPTED)})
    assert compare_sides(whole, there).ok


def test_orders_and_trades_of_others_are_the_unexplained_ones_and_not_what_follows_from_them() -> None:
    by_hand = fill("5", "80", "BOLT", name="f-10")
    there = replace(
        THEIRS, cash=OURS.cash - 400, foreign_fills=[by_hand], foreign_orders=[order("web-2")],
        positions={**OURS.positions, "BOLT": PositionInfo("BOLT", Decimal(5), Decimal(80))},
    )  # fmt: skip
    found = compare_sides(OURS, there)
    assert [d.subject for d in found.unexplained] == ["f-10", "web-2"]
    assert {d.why for d in found.explained} == {"the trades of others above"}


def test_the_refusal_prints_both_sides_and_the_way_out_and_survives_a_process() -> None:
    found = compare_sides(OURS, replace(THEIRS, cash=Decimal(1)))
    error = MismatchError(found)
    assert isinstance(error, RefusedError)
    assert error.exit_code == 2
    said = str(error)
    assert "5000" in said
    assert "trading doctor --repair --why" in said
    assert "execution.foreign=adopt" not in said
    assert str(pickle.loads(pickle.dumps(error))) == said


def test_a_comparison_is_safe_on_a_page() -> None:
    found = Comparison("demo", "v", (Difference("order", "<b>", "", "buy"),))
    assert "<b>" not in found._repr_html_()
    assert list(found.table().columns) == ["kind", "what", "ledger", "v", "explained by", "mended by"]
