"""The panel and what makes it."""

from __future__ import annotations

import pickle
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_core.data.normalizer import HybridDataNormalizer, NoSymbolsError, load_panel
from trading_core.data.panel import FIELDS, BeforePanelError, Panel, UnknownSymbolError
from trading_core.data.simulated import SimulatedBars
from trading_core.data.sources import BadBarsError
from trading_core.errors import DataError, UnknownNameError
from trading_core.model import Asset, AssetClass
from trading_core.sessions import sessions

DAYS = pd.date_range("2024-01-01", periods=40, tz="UTC")


def normalize(bars, assets=None) -> Panel:
    return HybridDataNormalizer().normalize(bars, assets)


@st.composite
def markets(draw) -> dict[str, pd.DataFrame]:
    "Up to four assets with holes of all kinds."
    names = draw(st.lists(st.sampled_from(["AAA", "BBB", "BTC/USD", "ZZZ"]), min_size=1, max_size=4, unique=True))
    bars = {}
    for name in names:
        rows = sorted(draw(st.sets(st.integers(0, 39), min_size=1, max_size=25)))
        close = np.array(draw(st.lists(st.integers(100, 10_000), min_size=len(rows), max_size=len(rows)))) / 100
        table = {"open": close, "high": close * 1.5, "low": close * 0.5, "close": close, "volume": close * 10}
        bars[name] = pd.DataFrame(table, DAYS[rows])
    return bars


@given(markets(), st.integers(0, 39))
@settings(max_examples=40, deadline=None)
def test_a_panel_cut_at_a_day_is_the_panel_of_the_bars_up_to_that_day(bars, row):
    panel, day = normalize(bars), DAYS[row]
    begun = {symbol: own[:day] for symbol, own in bars.items() if len(own[:day])}
    if not begun:
        with pytest.raises(BeforePanelError):
            panel.until(day)
        return
    past, again = panel.until(day), normalize(begun)
    assert past.symbols == panel.symbols
    kept = past.select(begun)
    assert set(again.days) <= set(kept.days)
    assert not kept.observed.drop(again.days).any(
        axis=None
    )  # days of an asset that has not begun, or after the last bar
    rows = kept.days.isin(again.days)
    assert (kept.real[rows] == again.real).all()
    for field in FIELDS:
        np.testing.assert_array_equal(kept.arrays[field][rows], again.arrays[field])
    np.testing.assert_array_equal(kept.missed[rows], again.missed)
    for symbol in set(panel.symbols) - set(begun):
        assert past.close[symbol].isna().all()
        assert (past.missed[:, past.symbols.index(symbol)] == -1).all()


@given(markets())
@settings(max_examples=40, deadline=None)
def test_real_rows_hold_the_bars_and_carried_rows_the_last_close(bars):
    panel = normalize(bars)
    assert panel.symbols == tuple(sorted(bars))
    for symbol, own in bars.items():
        assert panel.own(symbol).equals(own.astype(float))
        seen = panel.observed[symbol]
        assert seen[seen].index.equals(own.index)
        carried = ~seen & (panel.days > own.index[0])
        last = own["close"].reindex(panel.days).ffill()
        for field in ("open", "high", "low", "close"):
            pd.testing.assert_series_equal(getattr(panel, field)[symbol][carried], last[carried], check_names=False)
        assert (panel.volume[symbol][carried] == 0).all()
        early = panel.days < own.index[0]
        assert all(getattr(panel, field)[symbol][early].isna().all() for field in FIELDS)


def test_with_an_asset_that_never_closes_the_calendar_has_every_day():
    close = pd.Series(10.0, DAYS)
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close)).assign(volume=1.0)
    monday, coin = bars.iloc[[0, 4, 7, 14]], bars.iloc[[0, 1, 9]]
    assert normalize({"AAA": monday}).days.equals(monday.index)
    assert normalize({"AAA": monday, "BTC/USD": coin}).days.equals(DAYS[:15])


@given(markets(), st.randoms())
@settings(max_examples=30, deadline=None)
def test_the_order_in_which_symbols_come_does_not_matter(bars, random):
    names = list(bars)
    random.shuffle(names)
    assert normalize({name: bars[name] for name in names}).sha256 == normalize(bars).sha256


@given(markets())
@settings(max_examples=40, deadline=None)
def test_missed_counts_the_sessions_of_the_assets_own_calendar(bars):
    panel = normalize(bars)
    for column, symbol in enumerate(panel.symbols):
        for row, day in enumerate(panel.days):
            before = bars[symbol].index[bars[symbol].index <= day]
            missed = panel.missed[row, column]
            if not len(before):
                assert missed == -1
            else:
                between = sessions(panel.assets[symbol].calendar, before[-1], day)
                assert missed == len(between[between > before[-1]])


def test_tables_and_arrays_cannot_be_written_to(steady):
    panel = normalize({"AAA": steady(DAYS)})
    for array in (*panel.arrays.values(), panel.real, panel.missed):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
    with pytest.raises(TypeError):
        panel.assets["AAA"] = Asset.of("BBB")
    before = panel.sha256
    own = panel.own("AAA")
    own.iloc[0, 0] = 99.0
    assert panel.sha256 == before


def test_a_panel_does_not_change_when_the_table_it_was_made_from_does(steady):
    bars = steady(DAYS)
    panel = normalize({"AAA": bars})
    before = panel.arrays["close"].copy()
    bars.iloc[:, :] = 1.0
    np.testing.assert_array_equal(panel.arrays["close"], before)


def test_a_panel_survives_pickling_with_all_that_belongs_to_it(steady):
    panel = normalize({"AAA": steady(DAYS[:20]), "BTC/USD": steady(DAYS)}).until("2024-01-30")
    assert len(panel.frame) == 30  # a cached table does not travel
    again = pickle.loads(pickle.dumps(panel))
    assert again.sha256 == panel.sha256
    assert dict(again.assets) == dict(panel.assets)
    assert not again.arrays["close"].flags.writeable
    assert again.days.unit == "ns"


def test_assets_say_what_a_spelling_does_not(steady):
    odd = Asset("SOL", AssetClass.CRYPTO, "24/7", Decimal("0.01"))
    panel = normalize({"SOL": steady(DAYS), "AAA": steady(DAYS[:3])}, {"SOL": odd})
    assert panel.assets["SOL"] is odd
    assert panel.assets["AAA"] == Asset.of("AAA")
    with pytest.raises(UnknownNameError, match=r"^assets: 'SOLE' is not known here. Did you mean 'SOL'"):
        normalize({"SOL": steady(DAYS)}, {"SOLE": odd})


def test_select_keeps_all_days_and_refuses_strangers(steady):
    panel = normalize({"AAA": steady(DAYS[::7]), "BTC/USD": steady(DAYS)})
    assert panel.select(["AAA"]).days.equals(panel.days)
    with pytest.raises(UnknownSymbolError, match=r"The panel has no symbol 'AAB'. Did you mean 'AAA'"):
        panel.select(["AAB"])


def test_an_unknown_symbol_among_thousands_does_not_print_them_all():
    error = UnknownSymbolError("market.path", "QQQQQ", [f"A{n:04d}" for n in range(5000)])
    assert str(error) == "market.path has no symbol 'QQQQQ'. There are 5,000, from A0000 to A4999."
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize("symbol", [None, 5])
def test_what_is_no_text_is_an_unknown_symbol_with_a_sentence(symbol):
    assert str(UnknownSymbolError("The panel", symbol, ["AAA"])) == f"The panel has no symbol {symbol}. There is: AAA."


def test_the_fingerprint_is_pinned():
    panel = load_panel(SimulatedBars(today="2020-01-01"), ["BTC/USD", "MERL", "KRAB"], "2019-12-20")
    assert panel.sha256 == "e15624f21422d65d607deebf82a7de3b9da79b1daa6faaeb95281102d7aac9db"


def test_the_display_tells_who_came_late_and_who_ended():
    panel = load_panel(SimulatedBars(today="2024-01-01"), ["BTC/USD", "MERL", "NEXQ", "QUOR"])
    assert repr(panel) == "Panel(4 symbols × 3287 days, 2015-01-01 to 2023-12-31, 63% real bars)"
    html = panel._repr_html_()
    assert 'listed later</th><td colspan="2">NEXQ (2021-06-15)' in html
    assert 'ended</th><td colspan="2">QUOR (2023-05-12)' in html
    assert html.count("<svg") == 2
    assert "http" not in html


def test_the_display_escapes_what_a_provider_may_write(steady):
    late = pd.date_range("2024-02-01", periods=5, tz="UTC")
    panel = normalize({"<b>X": steady(late), "AAA": steady(DAYS)})
    assert "<b>X" not in panel._repr_html_()


def test_a_panel_of_nothing_is_refused():
    with pytest.raises(NoSymbolsError, match="at least one symbol"):
        normalize({})


def spoiled(steady, row, column, value):
    bars = steady(DAYS[:4])
    bars.iloc[row, bars.columns.get_loc(column)] = value
    return bars


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s(DAYS[:3]).tz_localize(None), r"^AAA, index from 2024-01-01: the days have no time zone"),
        (lambda s: s(DAYS[:3]).tz_convert("America/New_York"), "the days are in America/New_York"),
        (lambda s: s(DAYS[:3] + pd.Timedelta(hours=16)), "AAA, 2024-01-01 16:00:00: the bar has a time of day"),
        (lambda s: s(DAYS[[0, 1, 1]]), r"^AAA, 2024-01-02: the day is there twice"),
        (lambda s: s(DAYS[[0, 2, 1]]), r"^AAA, 2024-01-02: the day follows a later one"),
        (lambda s: s(DAYS[:0]), "^AAA: there are no bars"),
        (lambda s: s(DAYS[:3]).reset_index(drop=True), "the index is a RangeIndex"),
        (lambda s: s(DAYS[:3]).rename(columns={"close": "Close"}), "the columns are open, high, low, Close, volume"),
        (lambda s: s(DAYS[:3]).assign(volume="many"), "a value is no number"),
        (lambda s: s(pd.DatetimeIndex([DAYS[0], pd.NaT])), "a day is missing"),
        (lambda s: spoiled(s, 2, "close", np.nan), r"^AAA, 2024-01-03: a value is missing or infinite"),
        (lambda s: spoiled(s, 2, "volume", np.inf), "a value is missing or infinite"),
        (lambda s: spoiled(s, 0, "low", 0.0), "a price is not above zero"),
        (lambda s: spoiled(s, 1, "volume", -1.0), "the volume is negative"),
        (lambda s: spoiled(s, 3, "high", 9.0), r"^AAA, 2024-01-04: high is below low"),
        (lambda s: spoiled(s, 3, "high", 10.02), "high is below open or close"),
        (lambda s: spoiled(s, 3, "low", 10.027), "low is above open or close"),
    ],
)
def test_bars_that_cannot_be_trusted_are_refused_by_symbol_and_day(steady, change, sentence):
    with pytest.raises(BadBarsError, match=sentence) as refused:
        normalize({"BTC/USD": steady(DAYS), "AAA": change(steady)})
    assert isinstance(refused.value, DataError)
    assert refused.value.exit_code == 2
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_days_in_any_unit_and_numbers_of_any_width_come_out_the_same(steady):
    bars = steady(DAYS[:9])
    seconds = bars.set_axis(bars.index.as_unit("s")).assign(volume=bars["volume"].astype("int32"))
    panels = [normalize({"AAA": table}) for table in (bars, seconds, bars.assign(extra="ignored"))]
    assert len({panel.sha256 for panel in panels}) == 1
    assert panels[1].days.unit == "ns"
