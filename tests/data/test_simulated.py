"""The invented market."""

from __future__ import annotations

import datetime as dt
import hashlib
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_core.data.bridge import HALF_HOUR, SLOTS
from trading_core.data.intervals import grid, resample
from trading_core.data.normalizer import load_panel
from trading_core.data.panel import UnknownSymbolError
from trading_core.data.promises import check_source
from trading_core.data.simulated import BENCHMARK, COINS, ENDED, HALTED, LISTED, SimulatedBars, shocks
from trading_core.data.sources import BarSource, NoBarsError
from trading_core.model import Asset
from trading_core.sessions import as_day, hours, sessions

FINGERPRINT = "fd093928c376b8e58b3d1ae5ca9ca30179adeb83bad2c7498dbd52beea1ed5cd"


@pytest.fixture(scope="module")
def market() -> SimulatedBars:
    return SimulatedBars(today="2026-07-01")


def fingerprint(market: SimulatedBars) -> str:
    digest = hashlib.sha256()
    for symbol in [*market.symbols(), BENCHMARK]:
        digest.update(market.bars(symbol, end="2024-12-31").to_numpy().astype("<f8").tobytes())
    return digest.hexdigest()


def test_the_market_is_pinned_to_the_last_bit(market):
    assert fingerprint(market) == FINGERPRINT


def test_another_process_makes_the_same_market():
    code = (
        "import trading_core.data.simulated as s; print(s.SimulatedBars(today='2016-01-01').bars('MERL').sum().sum())"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert made == f"{SimulatedBars(today='2016-01-01').bars('MERL').sum().sum()}\n"


@given(st.dates(pd.Timestamp("2015-01-03").date(), pd.Timestamp("2026-06-30").date()))
@settings(max_examples=5, deadline=None)
def test_the_past_does_not_change_as_the_days_go_by(market, today):
    earlier = SimulatedBars(today=today)
    for symbol in ("AXOR", "BTC/USD", "QUOR", "RIVQ", BENCHMARK):
        whole = market.bars(symbol)[: earlier.last]
        if len(whole):
            assert earlier.bars(symbol).equals(whole)
            assert earlier.bars(symbol).index[-1] <= as_day(today) - pd.Timedelta(days=1)


def test_it_keeps_what_a_source_promises(market):
    assert isinstance(market, BarSource)
    for symbol in (*market.symbols(), BENCHMARK):
        check_source(market, symbol)


def test_there_are_59_stocks_and_8_coins_and_a_fund_that_is_not_for_sale(market):
    symbols = market.symbols()
    assert symbols == sorted(symbols)
    assert len([s for s in symbols if "/" not in s]) == 59
    assert [s for s in symbols if "/" in s] == sorted(COINS)
    assert BENCHMARK not in symbols
    assert len(market.bars(BENCHMARK)) > 2800


def test_stocks_keep_the_holidays_and_coins_trade_always(market):
    whole = sessions("XNYS", "2015-01-01", market.last)
    for symbol in market.symbols():
        days = market.bars(symbol).index
        calendar = pd.date_range(as_day("2015-01-01"), market.last) if "/" in symbol else whole
        missing = calendar.difference(days)
        assert days.difference(calendar).empty
        if symbol in LISTED:
            assert missing.max() < LISTED[symbol] == days[0]
        elif symbol in ENDED:
            assert missing.min() > ENDED[symbol] == days[-1]
        elif symbol in HALTED:
            assert list(missing) == list(sessions("XNYS", *HALTED[symbol]))
        else:
            assert missing.empty


def test_the_stories_lie_where_a_backtest_meets_them():
    assert as_day("2019-01-01") < ENDED["QUOR"] < as_day("2024-01-01")
    assert as_day("2021-01-01") <= LISTED["NEXQ"] < as_day("2022-01-01")
    assert 3 < len(sessions("XNYS", *HALTED["RIVQ"])) < 10


def test_prices_sit_on_their_tick(market):
    for symbol, ticks in {
        "MERL": 100,
        BENCHMARK: 100,
        "BTC/USD": 100,
        "ETH/USD": 10_000,
        "DOGE/USD": 1_000_000,
    }.items():
        prices = market.bars(symbol)[["open", "high", "low", "close"]].to_numpy()
        assert (np.rint(prices * ticks) / ticks == prices).all()


def test_moves_have_fat_tails_clusters_and_common_factors(market):
    panel = load_panel(market, [s for s in market.symbols() if "/" not in s])
    moves = panel.close.pct_change(fill_method=None)[1:]
    assert moves.kurt().median() > 1.5
    size = moves.abs()
    clusters = pd.Series({s: size[s].autocorr(5) for s in size})
    assert clusters.median() > 0.05
    correlation = moves.corr().to_numpy()
    assert 0.15 < np.median(correlation[np.triu_indices(len(correlation), 1)]) < 0.7
    assert moves.abs().max().max() < 0.5


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_other_seeds_are_other_sane_markets(market, seed):
    other = SimulatedBars(seed=seed, today="2020-01-01")
    assert not other.bars("MERL").equals(market.bars("MERL", end="2019-12-31"))
    for symbol in other.symbols():
        if symbol in LISTED:
            continue
        close = other.bars(symbol)["close"]
        assert close.min() > 0.0001
        assert close.pct_change().abs().max() < 0.9


def test_shocks_are_standardised_and_streams_are_independent():
    many = shocks(7, ["one", "two"], 200_000)
    np.testing.assert_allclose(many.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(many.std(axis=0), 1, atol=0.01)
    assert abs(np.corrcoef(many.T)[0, 1]) < 0.01


def test_what_is_not_there_is_refused_with_what_is(market):
    with pytest.raises(UnknownSymbolError, match=r"The simulated market has no symbol 'MERLE'. Did you mean 'MERL'"):
        market.bars("MERLE")
    with pytest.raises(
        NoBarsError, match=r"no bars of NEXQ from 2016-01-01 to 2016-12-31. There are bars from 2021-06-15"
    ):
        market.bars("NEXQ", "2016-01-01", "2016-12-31")
    with pytest.raises(NoBarsError, match="There are bars from 2015-01-02 to 2026-06-30"):
        market.bars("MERL", "2026-07-01")
    with pytest.raises(NoBarsError, match="no bars of NEXQ at all"):
        SimulatedBars(today="2018-01-01").bars("NEXQ")


def test_the_clock_says_what_is_complete():
    yesterday = pd.Timestamp.now(tz="UTC").normalize() - pd.Timedelta(days=1)
    assert SimulatedBars().last in (yesterday, yesterday + pd.Timedelta(days=1))
    assert SimulatedBars().bars("BTC/USD").index[-1] >= yesterday


@pytest.mark.parametrize("symbol", ["MERL", "RIVQ", BENCHMARK, "BTC/USD", "DOGE/USD"])
def test_what_is_inside_a_day_is_the_day(market, symbol):
    calendar, days = Asset.of(symbol).calendar, market.bars(symbol, "2025-06-25", "2025-07-11")
    minutes = market.bars(symbol, "2025-06-25", "2025-07-11", "1m")
    for interval in ("1m", "5m", "15m", "30m", "1h"):
        short = market.bars(symbol, "2025-06-25", "2025-07-11", interval)
        pd.testing.assert_frame_equal(resample(short, "1d", calendar), days, check_freq=False)
        pd.testing.assert_frame_equal(resample(minutes, interval, calendar), short, check_freq=False)


def test_hours_end_where_the_calendar_says_and_a_halt_has_none(market):
    merl, halted = (market.bars(s, "2025-08-25", "2025-11-28", "1h").index for s in ("MERL", "RIVQ"))
    assert merl.equals(grid("XNYS", "1h", "2025-08-25", "2025-11-28"))
    gone = merl.difference(halted)
    assert set(gone.normalize()) == set(sessions("XNYS", *HALTED["RIVQ"]))


def test_some_minutes_of_a_coin_have_no_trade_and_none_of_a_stock(market):
    coin, stock = (market.bars(s, "2025-12-22", "2025-12-28", "1m").index for s in ("ETH/USD", "MERL"))
    assert 0.03 < 1 - len(coin) / (7 * 1440) < 0.09
    assert stock.equals(grid("XNYS", "1m", "2025-12-22", "2025-12-28"))
    assert len(market.bars("ETH/USD", "2025-12-22", "2025-12-28", "30m")) == 7 * 48


@given(
    st.datetimes(pd.Timestamp("2025-07-01"), pd.Timestamp("2025-07-08"), timezones=st.just(dt.UTC)),
    st.sampled_from(["1m", "15m", "1h"]),
)
@settings(max_examples=8, deadline=None)
def test_what_is_known_within_a_day_does_not_change_as_it_goes_on(market, moment, interval):
    earlier = SimulatedBars(today=moment)
    for symbol in ("AXOR", "BTC/USD"):
        whole = market.bars(symbol, "2025-06-25", "2025-07-09", interval)
        assert earlier.bars(symbol, "2025-06-25", interval=interval).equals(whole[:moment])


def test_hours_keep_what_a_source_promises():
    young = SimulatedBars(today="2016-03-01 15:20")
    for symbol in ("MERL", "XRP/USD"):
        check_source(young, symbol, "1h")
        check_source(SimulatedBars(today="2015-02-03 15:20"), symbol, "5m")
    assert young.latest(["MERL"])["time"].iloc[0] == pd.Timestamp("2016-03-01 15:20", tz="UTC")


def test_every_session_is_made_of_whole_half_hours():
    table = hours("XNYS", "2015-01-01", "2040-12-01")
    length = (table["close"] - table["open"]).dt.as_unit("ns").astype("int64").to_numpy()
    assert set(length % HALF_HOUR) == {0}
    assert length.max() < SLOTS * HALF_HOUR


def test_a_year_of_hours_of_the_whole_market_takes_a_second_or_two(market):
    market.bars("MERL")
    begun = time.process_time()
    bars = [market.bars(s, "2025-01-01", "2025-12-31", "1h") for s in market.symbols() if s not in ENDED]
    assert len(bars) == 66
    assert time.process_time() - begun < 5
