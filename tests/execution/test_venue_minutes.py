"""The venue's market within the day: the minutes of an invented market, in its bars and in its fills."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

import pandas as pd
import pytest

from trading_core.data import AlpacaBars, SimulatedBars, load_panel
from trading_core.execution.path import Session, session_path
from trading_core.execution.venue import ManualClock, PanelMarket, PaperVenue
from trading_core.execution.venue.server import VenueServer

SOURCE = SimulatedBars(today="2025-07-15")
COLUMNS = ["open", "high", "low", "close", "volume"]


def utc(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


@pytest.fixture(scope="module")
def market() -> PanelMarket:
    panel = load_panel(SOURCE, ["MERL", "DOGE/USD"], "2025-06-20")
    return PanelMarket(panel, minutes=partial(SOURCE.bars, interval="1m"))


@pytest.mark.parametrize("interval", ["1m", "5m", "1h", "1d"])
def test_what_the_venue_tells_over_the_wire_is_what_the_source_says(market: PanelMarket, interval: str) -> None:
    now = utc("2025-07-03 16:20")  # a half-day, forty minutes before its close
    venue = PaperVenue(market, clock=ManualClock(now), rate_limit=None)
    own = SimulatedBars(today=now)
    with VenueServer(venue) as server:
        wire = AlpacaBars(venue.key, venue.secret, server.url, today=now, feed="iex", raw=False)
        for symbol in ("MERL", "DOGE/USD"):
            told = wire.bars(symbol, "2025-07-01", interval=interval)
            pd.testing.assert_frame_equal(
                told[COLUMNS], own.bars(symbol, "2025-07-01", interval=interval), check_freq=False
            )


def test_orders_fill_at_the_price_of_their_minute(market: PanelMarket) -> None:
    clock = ManualClock("2025-07-02 14:00")
    venue = PaperVenue(market, clock=clock)
    minutes = SOURCE.bars("MERL", "2025-07-02", "2025-07-02", "1m")
    clock.advance("2025-07-02 15:07")
    wish = {"symbol": "MERL", "qty": "1", "type": "market", "time_in_force": "day"}
    bought = venue.find(venue.submit({**wish, "side": "buy"})["id"])
    assert bought.spent == Decimal(repr(float(minutes["close"].loc["2025-07-02 15:07"])))
    later = minutes[minutes.index > clock()]
    lowest = later["low"].idxmin()
    limit = Decimal(repr(float(later["low"].min())))
    waiting = venue.submit({**wish, "side": "buy", "type": "limit", "limit_price": str(limit)})["id"]
    clock.advance(lowest - pd.Timedelta(minutes=1))
    venue.step()
    assert venue.find(waiting).open
    clock.advance(lowest)
    venue.step()
    assert venue.find(waiting).spent == limit


def test_a_path_through_minutes_never_leaves_the_days_bar(market: PanelMarket) -> None:
    for symbol in ("MERL", "DOGE/USD"):
        days = SOURCE.bars(symbol, "2025-07-01", "2025-07-07")
        for session, bar in zip(
            market.path(symbol, utc("2025-07-01").value, utc("2025-07-07 23:00").value), days.itertuples(), strict=True
        ):
            assert isinstance(session, Session)
            prices = [float(price) for _, price in session.points]
            assert (prices[0], max(prices), min(prices), prices[-1]) == (bar.open, bar.high, bar.low, bar.close)
            moments = [moment for moment, _ in session.points]
            assert moments == sorted(moments)
            plain = session_path(session.opens, session.closes, tuple(map(Decimal, (1, 1, 1, 1))))  # type: ignore[arg-type]
            assert (plain.opens, plain.closes) == (moments[0], moments[-1])


def test_years_of_daily_bars_make_no_minutes() -> None:
    asked: list[str] = []

    def minutes(symbol: str, first: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
        asked.append(symbol)
        return SOURCE.bars(symbol, first, last, "1m")

    market = PanelMarket(load_panel(SOURCE, ["MERL"], "2020-01-02"), minutes=minutes)
    whole = market.bars("MERL", utc("2020-01-01"), utc("2025-07-14 23:00"))
    assert len(whole) == len(SOURCE.bars("MERL", "2020-01-02"))
    assert asked == []


def test_few_sessions_are_kept_in_memory(market: PanelMarket) -> None:
    market.path("MERL", utc("2025-06-20").value, utc("2025-07-14").value)
    assert len(market._of("MERL")._made) < 6
