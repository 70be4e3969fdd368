"""The circuit breaker: when it trips, what it remembers, and what lifts it."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_core.portfolio import Breaker, RiskLimits
from trading_core.portfolio.risk import LimitError

DAYS = pd.date_range("2024-01-01", periods=60, tz="UTC")
values = st.lists(st.floats(1, 1e6), min_size=1, max_size=60)
limit = st.none() | st.floats(0.001, 1)


def through(equity: list[float], **limits: float | None) -> Breaker:
    return Breaker(**limits).through(zip(DAYS, equity, strict=False))


@given(values, limit, limit)
def test_it_trips_on_the_first_evening_that_breaks_a_limit(
    equity: list[float], day: float | None, fall: float | None
) -> None:
    series = np.array(equity)
    daily = np.append(0.0, 1 - series[1:] / series[:-1])
    drawdown = 1 - series / np.maximum.accumulate(series)
    broken = (daily >= (day or 9) - 1e-9) | (drawdown >= (fall or 9) - 1e-9)
    trip = through(equity, max_daily_loss=day, max_drawdown=fall).trip
    assert (trip is not None) == broken.any()
    if trip is not None:
        row = int(broken.argmax())
        assert trip.day == DAYS[row]
        assert trip.limit == ("max_daily_loss" if day and daily[row] >= day - 1e-9 else "max_drawdown")


@given(values, limit, limit, st.integers(0, 60))
def test_evenings_may_come_in_two_parts(equity: list[float], day: float | None, fall: float | None, cut: int) -> None:
    evenings = list(zip(DAYS, equity, strict=False))
    first = Breaker(day, fall).through(evenings[:cut])
    restarted = pickle.loads(pickle.dumps(first)).through(evenings[cut:])
    assert restarted == Breaker(day, fall).through(evenings)


@given(values, st.floats(0.001, 0.5))
def test_a_trip_is_not_lifted_by_better_evenings_but_by_a_person(equity: list[float], fall: float) -> None:
    now = through(equity, max_drawdown=fall)
    better = now.after(DAYS[-1], 1e9)
    assert better.trip == now.trip
    again = better.resumed()
    assert (again.trip, again.drawdown, again.daily_loss) == (None, 0.0, 0.0)
    assert again.after(DAYS[-1], 1e9 * (1 - fall / 2)).trip is None
    assert again.after(DAYS[-1], 1e9 * (1 - fall)).trip is not None


def test_without_limits_nothing_trips_and_the_limits_make_one_only_if_they_have_to() -> None:
    assert through([100, 1]).trip is None
    assert RiskLimits().breaker() is None
    assert RiskLimits(max_daily_loss=0.1).breaker() == Breaker(0.1)


def test_it_says_how_much_was_lost_and_how_much_was_allowed() -> None:
    trip = through([100_000, 110_000, 88_000.0], max_drawdown=0.2).trip
    assert str(trip) == (
        "halted since 2024-01-03 by max_drawdown: 88,000.00 is 20 % below the highest evening, 110,000.00; "
        "the limit is 20 %"
    )


@pytest.mark.parametrize(
    "wrong", [{"max_drawdown": 0}, {"max_drawdown": 20}, {"max_daily_loss": -0.1}, {"max_daily_loss": True}]
)
def test_a_limit_on_losses_that_cannot_be_meant_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(LimitError, match="a fraction of equity above 0, up to 1"):
        RiskLimits(**wrong)  # type: ignore[arg-type]
