"""Adjusted prices against the vendors' own, and never a number that was not known yet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_core.data.adjusting import ActionError, adjusted, shares
from trading_core.errors import ConfigError

COLUMNS = ["open", "high", "low", "close", "volume"]


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, parse_dates=["date"])


def by_symbol(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {
        str(symbol): own.set_index(pd.DatetimeIndex(own["date"], tz="UTC")).drop(columns=["symbol", "date"])
        for symbol, own in table.groupby("symbol")
    }


def test_every_stock_of_two_years_is_adjusted_as_its_vendor_did(real_data: Path) -> None:
    actions = pd.read_csv(real_data / "equities_actions_raw.csv", parse_dates=["ex_date"])
    largest, seen = 0.0, 0
    for symbol, bars in by_symbol(read(real_data / "equities_daily_raw.csv.gz")).items():
        bars = bars.assign(split=1.0, dividend=0.0)
        for action in actions[actions["symbol"] == symbol].itertuples():
            day = pd.Timestamp(action.ex_date, tz="UTC")
            if action.kind == "split":
                bars.loc[day, "split"] = 1 / action.price_factor
            else:
                bars.loc[day, "dividend"] = action.prev_close * (1 - action.price_factor)
            seen += 1
        found = adjusted(bars, "total", "last")["close"]
        largest = max(largest, float((found / bars["adj_close"] - 1).abs().max()))
    assert seen == 248
    assert largest < 2e-6  # the vendor rounds to six decimals


def test_twenty_years_of_factors_give_the_same_prices(real_data: Path) -> None:
    factors = pd.read_csv(real_data / "equities_long_factors.csv", parse_dates=["date"])
    for symbol, bars in by_symbol(read(real_data / "equities_daily_long_raw.csv.gz")).items():
        own = factors[factors["symbol"] == symbol].sort_values("date")
        if own.empty:
            continue
        place = np.minimum(own["date"].searchsorted(bars.index.tz_localize(None)), len(own) - 1)
        price, split = own["price_factor"].to_numpy()[place], own["split_factor"].to_numpy()[place]
        steps = np.append(1.0, split[1:] / split[:-1])
        cash = np.append(0.0, bars["close"].to_numpy()[:-1] * (1 - price[:-1] / price[1:])) / steps
        found = adjusted(bars.assign(split=steps, dividend=cash), "total", "last")["close"]
        want = bars["close"] * price * split / (price[-1] * split[-1])
        assert float((found / want - 1).abs().max()) < 1e-9, symbol


def test_apples_splits_give_what_another_vendor_has(real_data: Path) -> None:
    raw = by_symbol(read(real_data / "equities_daily_long_raw.csv.gz"))["AAPL"]
    other = by_symbol(read(real_data / "equities_daily.csv.gz"))["AAPL"]["close"]
    raw = raw.assign(split=1.0, dividend=0.0)
    for day, split in (("2000-06-21", 2), ("2005-02-28", 2), ("2014-06-09", 7), ("2020-08-31", 4)):
        raw.loc[pd.Timestamp(day, tz="UTC"), "split"] = float(split)
    both = pd.DataFrame({"ours": adjusted(raw, base="last")["close"], "other": other}).dropna()
    assert len(both) > 2000
    assert float((both["ours"] / both["other"] - 1).abs().max()) < 0.002
    assert adjusted(raw, base="2020-08-28")["close"].iloc[-1] == pytest.approx(499.23)


BARS = st.lists(
    st.tuples(
        st.floats(1.0, 500.0),
        st.sampled_from([1.0, 1.0, 1.0, 1.0, 2.0, 4.0, 1 / 15]),
        st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.05]),
    ),
    min_size=1,
    max_size=30,
)


def made(rows: list[tuple[float, float, float]]) -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=len(rows), tz="UTC")
    table = pd.DataFrame(rows, days, ["close", "split", "dividend"])
    bars = pd.DataFrame(dict.fromkeys(COLUMNS[:4], table["close"])).assign(volume=1000.0)
    return bars.assign(split=table["split"], dividend=table["dividend"])


@settings(max_examples=30, deadline=None)
@given(BARS, st.sampled_from(["split", "total"]))
def test_a_day_is_adjusted_by_what_was_known_on_it(rows: list[tuple[float, float, float]], how: str) -> None:
    bars = made(rows)
    whole = adjusted(bars, how)
    for known in range(1, len(bars) + 1):
        assert adjusted(bars.iloc[:known], how).equals(whole.iloc[:known])
        back = adjusted(bars, how, bars.index[known - 1])
        assert back["close"].iloc[-1] == pytest.approx(bars["close"].iloc[known - 1])
        ratio = back["close"] / whole["close"].iloc[:known]
        assert np.allclose(ratio, ratio.iloc[0])  # the same returns


@settings(max_examples=50, deadline=None)
@given(BARS)
def test_a_holder_who_buys_more_with_each_dividend_earns_the_adjusted_return(
    rows: list[tuple[float, float, float]],
) -> None:
    bars = made(rows)
    units = 1.0
    for row in range(1, len(bars)):
        paid, before = bars["dividend"].iloc[row], bars["close"].iloc[row - 1]
        units += units * paid / (before - paid)
        units *= bars["split"].iloc[row]
    worth = adjusted(bars, "total")["close"].iloc[-1]
    assert units * bars["close"].iloc[-1] == pytest.approx(worth)
    assert (adjusted(bars)["volume"] * shares(bars)["split"]).to_numpy() == pytest.approx(1000.0)


def test_what_cannot_be_is_refused() -> None:
    bars = made([(10.0, 1.0, 0.0), (10.0, 1.0, 0.0)])
    with pytest.raises(ActionError, match="2024-01-02: a dividend of 11"):
        adjusted(bars.assign(dividend=[0.0, 11.0]))
    with pytest.raises(ConfigError, match="'split' or 'total'"):
        adjusted(bars, "both")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no bar up to 2023-12-31"):
        adjusted(bars, base="2023-12-31")


def test_bars_without_actions_stay_as_they_are() -> None:
    bars = made([(10.0, 1.0, 0.0), (12.0, 1.0, 0.0)])[COLUMNS]
    for base in ("first", "last", "2024-01-02"):
        assert adjusted(bars, "total", base).equals(bars.astype(float))
