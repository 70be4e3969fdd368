"""What is found in recorded market data: every known fault of it, and nothing fatal in what is right."""

from __future__ import annotations

import gzip
import io
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_core.data.csv_files import CsvBars
from trading_core.data.csv_lines import CsvError
from trading_core.data.findings import Finding, Thresholds
from trading_core.data.intervals import check_labels
from trading_core.data.quality import quality_of
from trading_core.data.sources import BadBarsError
from trading_core.model import Asset, AssetClass

pytestmark = pytest.mark.realdata
LOT = Asset.of("X").lot


def tables(path: Path, suffix: str = "") -> dict[str, pd.DataFrame]:
    "The bars of a tidy file by symbol."
    rows = pd.read_csv(path, keep_default_na=False)
    rows["date"] = pd.to_datetime(rows["date"], utc=True)
    keep = [name for name in ("open", "high", "low", "close", "volume", "adj_close") if name in rows]
    return {f"{symbol}{suffix}": own.set_index("date")[keep].astype(float) for symbol, own in rows.groupby("symbol")}


def told(findings: list[Finding], *severities: str) -> set[tuple[str, str, str]]:
    "Symbol, rule and first day of the findings of some severities."
    return {(f.symbol, f.rule, f"{f.day:%Y-%m-%d}") for f in findings if f.severity in severities}


@pytest.fixture(scope="module")
def adjusted(real_data: Path) -> dict[str, pd.DataFrame]:
    return {s: b.drop(columns="adj_close") for s, b in tables(real_data / "equities_daily.csv.gz").items()}


@pytest.fixture(scope="module")
def raw(real_data: Path) -> dict[str, pd.DataFrame]:
    return tables(real_data / "equities_daily_raw.csv.gz")


@pytest.fixture(scope="module")
def long_raw(real_data: Path) -> dict[str, pd.DataFrame]:
    return tables(real_data / "equities_daily_long_raw.csv.gz")


@pytest.fixture(scope="module")
def coins(real_data: Path) -> dict[str, pd.DataFrame]:
    return tables(real_data / "crypto_daily.csv.gz", "/USD")


def test_eight_years_of_eighty_shares_have_nothing_fatal(adjusted):
    found = quality_of(adjusted, end="2020-12-31")
    assert Counter((f.severity, f.rule) for f in found if f.rule != "jump") == {
        ("warn", "repeat"): 8, ("warn", "spike"): 1, ("warn", "idle"): 1,
    }  # fmt: skip
    assert {f.symbol for f in found if f.severity == "warn"} == {"AAME", "CIZN"}  # two that hardly trade
    assert ("AAME", "spike", "2020-06-17") in told(found, "warn")


def test_large_moves_that_are_true_are_noted_at_most(adjusted):
    noted = {(f.symbol, f"{f.day:%Y-%m-%d}"): f for f in quality_of(adjusted)}
    amd = noted["AMD", "2016-04-22"]
    assert (amd.severity, amd.rule, round(amd.value, 3)) == ("note", "jump", 0.523)
    assert ("APA", "2020-03-09") not in noted  # all fell on that day
    alone = {(f.symbol, f"{f.day:%Y-%m-%d}"): f for f in quality_of({"APA": adjusted["APA"]})}
    assert alone["APA", "2020-03-09"].severity == "note"


def test_prices_as_traded_need_their_splits(raw):
    found = quality_of(raw)
    assert told(found, "fatal") == {
        ("BTU", "split", "2015-10-01"), ("NFLX", "split", "2015-07-15"), ("NKE", "split", "2015-12-24"),
        ("SBUX", "split", "2015-04-09"), ("DTV", "missing", "2015-07-27"),
    }  # fmt: skip
    assert told(found, "warn") == {
        ("LLTC", "missing", "2016-09-02"), ("QQQ", "missing", "2016-09-08"), ("SPGI", "missing", "2016-09-06"),
    }  # fmt: skip
    cures = {f.symbol: f.cure for f in found if f.rule == "split"}
    assert "7:1" in cures["NFLX"]
    assert "1:15" in cures["BTU"]
    assert "2:1" in cures["NKE"]


def test_with_their_splits_prices_as_traded_are_fine(raw, real_data):
    actions = pd.read_csv(real_data / "equities_actions_raw.csv")
    day = next(name for name in actions.columns if "date" in name)
    with_splits = dict(raw)
    for symbol, when, ratio in (
        ("NFLX", "2015-07-15", 7),
        ("SBUX", "2015-04-09", 2),
        ("NKE", "2015-12-24", 2),
        ("BTU", "2015-10-01", 1 / 15),
    ):
        assert ((actions["symbol"] == symbol) & (actions[day] == when)).any()
        split = np.where(raw[symbol].index == when, ratio, 1.0)
        with_splits[symbol] = raw[symbol].assign(split=split)
    assert told(quality_of(with_splits), "fatal") == {("DTV", "missing", "2015-07-27")}


def test_a_split_on_prices_that_are_adjusted_already_is_found(long_raw, adjusted):
    apple = adjusted["AAPL"].assign(split=np.where(adjusted["AAPL"].index == "2014-06-09", 7.0, 1.0))
    assert told(quality_of({"AAPL": apple}), "fatal") == {("AAPL", "split_twice", "2014-06-09")}


def test_a_ticker_that_was_used_twice_is_found_by_its_hole(raw):
    hole = next(f for f in quality_of({"DTV": raw["DTV"]}) if f.rule == "missing")
    assert (hole.value, hole.severity, f"{hole.last:%Y-%m-%d}") == (314, "fatal", "2016-10-20")
    assert "another company" in hole.cure
    jump = next(f for f in quality_of(raw) if (f.symbol, f.rule) == ("CB", "jump") and f.day.year == 2016)
    assert f"{jump.day:%Y-%m-%d}" == "2016-01-14"  # old Chubb until the day before
    assert "what the ticker means" in jump.cure


def test_the_long_tape_has_its_hole_its_splits_and_its_bad_prints(long_raw):
    found = quality_of(long_raw)
    hole = next(f for f in found if f.rule == "missing")
    assert (hole.symbol, hole.value, f"{hole.day:%Y-%m-%d}", f"{hole.last:%Y-%m-%d}") == (
        "QQQ",
        1588,
        "2004-12-01",
        "2011-03-22",
    )
    assert told([f for f in found if f.rule == "split"], "fatal") == {
        ("AAPL", "split", "2000-06-21"), ("AAPL", "split", "2005-02-28"), ("AAPL", "split", "2014-06-09"),
        ("AAPL", "split", "2020-08-31"), ("GOOG", "split", "2014-04-03"), ("IWM", "split", "2005-06-09"),
        ("QQQ", "split", "2000-03-20"),
    }  # fmt: skip
    assert told(found, "warn") == {
        ("AAPL", "wick", "2009-09-21"), ("AAPL", "wick", "2010-08-31"), ("AAPL", "wick", "2011-01-03"),
        ("GOOG", "wick", "2007-12-18"), ("GOOG", "wick", "2008-09-30"), ("GOOG", "spike", "2008-09-30"),
        ("IWM", "wick", "2008-09-19"),
    }  # fmt: skip
    assert (
        next(f.severity for f in quality_of({"QQQ": long_raw["QQQ"].loc["2001":]}, terms=Thresholds(gap=None)))
        == "warn"
    )


def test_ten_coins_have_nothing_fatal(coins):
    found = quality_of(coins)
    assert told(found, "fatal") == set()
    assert told([f for f in found if f.rule in ("missing", "idle", "spike")], "warn") == {
        ("USDT/USD", "missing", "2015-02-27"), ("USDT/USD", "missing", "2015-03-04"),
        ("BTC/USD", "idle", "2013-04-29"), ("LTC/USD", "idle", "2013-04-29"), ("XRP/USD", "idle", "2013-08-05"),
        ("DOGE/USD", "idle", "2013-12-16"), ("BTC/USD", "spike", "2013-12-18"), ("LTC/USD", "spike", "2013-12-18"),
    }  # fmt: skip


def minutes(path: Path) -> pd.DataFrame:
    "The days of a file of minutes: UTC days, last price."
    rows = pd.read_csv(path)
    when = pd.to_datetime(rows["time_utc"], utc=True)
    days = rows.set_index(when).resample("1D")
    table = pd.DataFrame(
        {
            "open": days["open"].first(),
            "high": days["high"].max(),
            "low": days["low"].min(),
            "close": days["close"].last(),
            "volume": days["volume"].sum(),
        }
    )
    return table.dropna()


@pytest.mark.parametrize(("coin", "usual"), [("btc", 0.004), ("eth", 0.005)])
def test_another_source_agrees_but_for_the_days_around_a_theft(coins, real_data, coin, usual):
    other = minutes(real_data / f"crypto_minute_{coin}usd_2016.csv.gz")
    symbol = f"{coin.upper()}/USD"
    found = quality_of({symbol: coins[symbol].loc["2016"]}, others={"Bitfinex": {symbol: other}})
    differ = [f for f in found if f.rule == "differs"]
    assert {f.severity for f in differ} <= {"warn"}
    assert {f"{f.day:%Y-%m}" for f in differ} <= {"2016-03", "2016-06", "2016-08"}
    both = coins[symbol]["close"].reindex(other.index).dropna()
    assert (both / other["close"].reindex(both.index) - 1).abs().median() < usual


def test_two_recordings_of_the_same_shares_agree(raw, adjusted, long_raw):
    both = {s: raw[s] for s in ("AAPL", "GOOGL", "BA", "DIS", "CSCO", "AMGN")}
    others = {
        "long": {s: long_raw[s] for s in ("AAPL", "GOOGL")},
        "adjusted": {s: adjusted[s] for s in ("BA", "DIS", "CSCO", "AMGN")},
    }
    assert [f for f in quality_of(both, others=others) if f.rule == "differs"] == []


def test_adjusted_prices_of_one_source_are_another_price_than_those_as_traded(raw, adjusted):
    differ = [
        f
        for f in quality_of({"AAPL": raw["AAPL"]}, others={"adjusted": {"AAPL": adjusted["AAPL"]}})
        if f.rule == "differs"
    ]
    assert [(f.severity, round(f.value)) for f in differ] == [
        ("fatal", 3)
    ]  # four times as high, before the split of 2020


def yahoo(path: Path) -> pd.DataFrame:
    "A table of yfinance's tests as bars, oldest first."
    rows = pd.read_csv(path)
    days = pd.DatetimeIndex(pd.to_datetime(rows["Date"].str[:10])).tz_localize("UTC")
    names = {"Adj Close": "adj_close", "Dividends": "dividend", "Stock Splits": "split"}
    bars = rows.drop(columns="Date").rename(columns=names).rename(columns=str.lower).set_index(days).astype(float)
    return bars.assign(split=bars["split"].replace(0.0, 1.0)).sort_index()


PAIRS = {
    "8TRA-DE-1d-missing-div-adjust": ("XETR", "dividend", "2023-06-02", ["split"]),
    "MOB-ST-1d-bad-stock-split": ("XSTO", "spike", "2023-05-22", ["split"]),
    "SSW-JO-1d-100x-error": ("XJSE", "hundredfold", "2023-06-01", ["split"]),
}


@pytest.mark.parametrize("name", PAIRS)
def test_the_wrong_table_of_a_pair_is_flagged(real_data, name):
    calendar, rule, day, _ = PAIRS[name]
    bars = yahoo(real_data / "raw" / "yahoo_bad_rows" / f"{name}.csv").drop(columns="split")  # they are adjusted for it
    found = quality_of({"X": bars}, {"X": Asset("X", AssetClass.EQUITY, calendar, LOT)})
    assert told(found, "fatal") == {("X", rule, day)}


@pytest.mark.parametrize("name", PAIRS)
def test_the_mended_table_of_a_pair_passes(real_data, name):
    calendar = PAIRS[name][0]
    bars = yahoo(real_data / "raw" / "yahoo_bad_rows" / f"{name}-fixed.csv").drop(columns="split")
    found = quality_of({"X": bars}, {"X": Asset("X", AssetClass.EQUITY, calendar, LOT)})
    assert told(found, "fatal") == set()
    assert {f.rule for f in found} <= {
        "range",
        "missing",
    }  # opens of Johannesburg outside of low and high; a session of Frankfurt


def test_yahoo_notes_a_split_that_its_prices_contain_already(real_data):
    bars = yahoo(real_data / "raw" / "yahoo_bad_rows" / "MOB-ST-1d-bad-stock-split-fixed.csv")
    found = quality_of({"X": bars}, {"X": Asset("X", AssetClass.EQUITY, "XSTO", LOT)})
    assert told(found, "fatal") == {("X", "split_twice", "2023-05-24")}


def test_a_day_of_the_whole_market_with_every_fault_at_once(real_data):
    path = real_data / "raw" / "us_market_one_day_20150406_with_bad_rows.csv.gz"
    with pytest.raises(CsvError, match="a price is not above zero"):
        CsvBars(path).bars("ISL")
    text = gzip.decompress(path.read_bytes()).decode()
    head, *lines = text.splitlines()
    rows = pd.read_csv(io.StringIO("\n".join([head, *(line for line in lines if line != head)])), keep_default_na=False)
    assert len(lines) - len(rows) == 1
    rows["date"] = pd.to_datetime(rows["date"], utc=True)
    columns = ["open", "high", "low", "close", "volume"]
    rows[columns] = rows[columns].apply(pd.to_numeric, errors="coerce")
    friday = set(rows.loc[rows["date"] == "2015-04-03", "symbol"])
    some = friday | set(rows["symbol"].unique()[:300])  # all 6,033 take a while
    rows = rows[rows["symbol"].isin(some)].sort_values(["symbol", "date"], kind="stable")
    bars = {s: own.set_index("date")[columns] for s, own in rows.groupby("symbol") if s.strip()}
    found = quality_of(bars)
    by_rule = Counter(f.rule for f in found)
    copies = [f for f in found if f.rule == "duplicate"]
    assert bars.keys() - {f.symbol for f in copies} == {"GMC"}  # which has each day once
    assert Counter(f.value for f in copies).most_common(1)[0][0] == 3.0
    closed = [f for f in found if f.rule == "holiday"]
    assert {f"{f.day:%Y-%m-%d}" for f in closed} == {"2015-04-03"}
    assert by_rule["holiday"] == rows[(rows["date"] == "2015-04-03") & (rows["close"] > 0)]["symbol"].nunique()
    assert {(f.symbol, f.rule) for f in found if f.severity == "fatal" and f.rule in ("impossible", "spike")} == {
        ("CUI", "impossible"), ("SSE", "spike"),
    }  # fmt: skip


@pytest.mark.parametrize(("coin", "absent"), [("btc", "2016-04-02"), ("eth", "2016-04-01")])
def test_a_year_of_a_coins_minutes_has_nothing_fatal_but_the_months_that_are_absent(real_data, coin, absent):
    rows = pd.read_csv(real_data / f"crypto_minute_{coin}usd_2016.csv.gz")
    ends = pd.to_datetime(rows["time_utc"], utc=True) + pd.Timedelta(minutes=1)
    bars = rows.set_index(ends)[["open", "high", "low", "close", "volume"]].astype(float)
    found = quality_of({"COIN/USD": bars})
    assert told(found, "fatal") == {("COIN/USD", "missing", absent)}
    assert {f.rule for f in found if f.severity == "warn"} == {"missing", "quiet", "repeat"}
    assert (
        max(f.value for f in found if f.rule == "repeat") < 10
    )  # minutes of somebody who buys a little again and again


def test_minutes_of_two_sources_have_nothing_fatal(real_data):
    rows = pd.read_csv(real_data / "equities_minute_2019_02.csv.gz")
    when = next(name for name in rows.columns if name.startswith("time"))
    rows["end"] = pd.to_datetime(rows[when]).dt.tz_localize("America/New_York").dt.tz_convert("UTC")
    columns = ["open", "high", "low", "close", "volume"]
    bars = {s: own.set_index("end")[columns].astype(float) for s, own in rows.groupby("symbol")}
    assert told(quality_of(bars), "fatal") == set()


def test_real_hours_pass_when_they_are_known_at_their_ends_and_neither_as_starts_nor_with_a_summer_of_five_hours(
    real_data,
):
    rows = pd.read_csv(real_data / "equities_hourly_raw.csv.gz")
    starts = pd.to_datetime(rows["time_ny"]).dt.tz_localize("America/New_York")
    ends = pd.DatetimeIndex(starts.dt.tz_convert("UTC")) + pd.Timedelta(hours=1)
    off = ends - pd.to_timedelta(np.where(starts.map(lambda moment: bool(moment.dst())), 60, 0), unit="min")
    check_labels("AAPL", ends, "XNYS", "1h")
    for wrong in (ends - pd.Timedelta(hours=1), off):
        with pytest.raises(BadBarsError, match="too early"):
            check_labels("AAPL", wrong, "XNYS", "1h")


@pytest.mark.parametrize("name", ["yahoo_style_AAPL_2012_2017.csv"])
def test_a_vendors_file_as_it_is_passes(real_data, name):
    found = quality_of({"AAPL": CsvBars(real_data / "raw" / name).bars("AAPL")})
    assert told(found, "fatal", "warn") == set()


def test_a_row_of_nulls_counts_as_no_bar(real_data):
    rows = pd.read_csv(real_data / "raw" / "yahoo_BTC-USD_with_null_row.csv", na_values="null")
    days = pd.to_datetime(rows["Date"], utc=True)
    names = {name.capitalize(): name for name in ("open", "high", "low", "close", "volume")}
    bars = rows.rename(columns=names).set_index(days)[list(names.values())].astype(float)
    found = quality_of({"BTC/USD": bars})
    assert ("BTC/USD", "empty", "2020-08-04") in told(found, "warn")
    assert told(found, "fatal") == set()
