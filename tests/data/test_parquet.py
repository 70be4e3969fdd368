"""ParquetBars: what people's files look like, and what must not be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from trading_core.data.csv_files import AmbiguousSymbolError, CsvBars
from trading_core.data.intervals import grid
from trading_core.data.panel import UnknownSymbolError
from trading_core.data.parquet_files import ParquetBars, ParquetError
from trading_core.data.promises import check_source
from trading_core.data.sources import BadBarsError, IntervalError, NoBarsError
from trading_core.errors import ConfigError, RefusedError
from trading_core.sessions import sessions

DAYS = sessions("XNYS", "2024-01-02", "2024-03-28")


def bars(index: pd.DatetimeIndex = DAYS, price: float = 10.0) -> pd.DataFrame:
    close = price + 0.01 * np.arange(len(index))
    table = {"open": close - 0.005, "high": close + 0.02, "low": close - 0.02, "close": close, "volume": 1000.0}
    return pd.DataFrame(table, index)


WAYS: dict[str, Any] = {
    "index in UTC": lambda t: t,
    "index named": lambda t: t.rename_axis("Date").rename(columns=str.title),
    "naive midnights": lambda t: t.set_axis(t.index.tz_localize(None)),
    "dates": lambda t: t.assign(date=t.index.date).reset_index(drop=True),
    "timestamps in seconds": lambda t: t.assign(timestamp=t.index.as_unit("s")).reset_index(drop=True),
    "not sorted": lambda t: t.iloc[::-1],
    "whole numbers": lambda t: t.assign(volume=t["volume"].astype("int64")),
    "32-bit prices": lambda t: t.astype("float32"),
    "more columns": lambda t: t.assign(vwap=1.0, trades=7),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_file_is_read_however_it_was_written(tmp_path: Path, way: str):
    WAYS[way](bars()).to_parquet(tmp_path / "ACME.parquet")
    read = check_source(ParquetBars(tmp_path), "ACME")
    assert read.index.equals(DAYS)
    assert read["close"].to_numpy() == pytest.approx(bars()["close"].to_numpy(), rel=1e-6)


def test_one_file_of_many_symbols_and_a_folder_of_files_give_the_same(tmp_path: Path):
    tables = {name: bars(price=price) for name, price in (("ACME", 10.0), ("BOLT", 20.0))}
    (tmp_path / "many").mkdir()
    pd.concat([t.assign(Ticker=name).rename_axis("day").reset_index() for name, t in tables.items()]).to_parquet(
        tmp_path / "many/all.pq"
    )
    (tmp_path / "single").mkdir()
    for name, table in tables.items():
        table.to_parquet(tmp_path / f"single/{name}.parquet")
    one, other = (
        ParquetBars(tmp_path / "many"),
        ParquetBars(f"{tmp_path}/single/ACME.parquet, {tmp_path}/single/BOLT.parquet"),
    )
    assert one.symbols() == other.symbols() == ["ACME", "BOLT"]
    for name in tables:
        assert one.bars(name).equals(other.bars(name))
    with pytest.raises(AmbiguousSymbolError):
        ParquetBars([tmp_path / "many", tmp_path / "single"]).bars("ACME")


def test_a_column_called_name_has_the_symbols_where_no_other_has(tmp_path: Path):
    named = bars().rename_axis("date").reset_index().assign(Name="ACME")
    named.to_parquet(tmp_path / "one.parquet")
    assert ParquetBars(tmp_path / "one.parquet").symbols() == ["ACME"]
    named.assign(Name="Acme Inc.", ticker="ACME").to_parquet(tmp_path / "both.parquet")
    assert ParquetBars(tmp_path / "both.parquet").symbols() == ["ACME"]


@pytest.mark.parametrize("interval", ["1d", "1h", "5m"])
def test_a_bar_ahead_of_the_clock_is_refused_and_one_that_is_not_over_left_out(tmp_path: Path, interval: str):
    now = pd.Timestamp.now(tz="UTC")
    freq = {"1d": "D", "1h": "h", "5m": "5min"}[interval]
    marks = pd.date_range(now.normalize() - pd.Timedelta(days=3), now + pd.Timedelta(days=2), freq=freq)
    bars(marks).to_parquet(tmp_path / "BTC-USD.parquet")
    for today in (None, now - pd.Timedelta(days=1)):
        for asked in {interval, "1d"}:
            with pytest.raises(BadBarsError, match="a bar from the future"):
                ParquetBars(tmp_path, "end", today).bars("BTC/USD", interval=asked)
    over = marks[marks < now.normalize()] if interval == "1d" else marks[marks <= now]
    bars(marks[: len(over) + (interval == "1d")]).to_parquet(tmp_path / "BTC-USD.parquet")
    read = ParquetBars(tmp_path, "end").bars("BTC/USD", interval=interval)
    assert read.index[-1] == over[-1]
    then = ParquetBars(tmp_path, "end", over[-2] + pd.Timedelta(seconds=1)).bars("BTC/USD", interval=interval)
    assert then.index[-1] == over[-3 if interval == "1d" else -2]


def test_a_day_that_is_missing_is_refused(tmp_path: Path):
    bars().reset_index(names="date").assign(date=lambda t: t["date"].where(t.index != 5)).to_parquet(
        tmp_path / "ACME.parquet"
    )
    with pytest.raises(ParquetError, match="a day is missing"):
        ParquetBars(tmp_path).bars("ACME")


def test_a_price_of_32_bits_is_read_as_it_was_meant(tmp_path: Path):
    bars(price=100.1).round(2).astype("float32").to_parquet(tmp_path / "ACME.parquet")
    assert ParquetBars(tmp_path).bars("ACME").equals(bars(price=100.1).round(2))
    bars(price=100.1).round(2).astype({"close": "float32"}).replace({"close": {np.float32(100.1): np.nan}}).to_parquet(
        tmp_path / "ACME.parquet"
    )
    with pytest.raises(BadBarsError, match="2024-01-02: a value is missing"):
        ParquetBars(tmp_path).bars("ACME")


def test_symbols_that_are_whole_numbers_are_found(tmp_path: Path):
    many = [bars(price=n).rename_axis("date").reset_index().assign(symbol=600000 + n) for n in (10, 20)]
    pd.concat(many).to_parquet(tmp_path / "all.parquet")
    source = ParquetBars(tmp_path)
    assert source.symbols() == ["600010", "600020"]
    assert source.bars("600020").equals(bars(price=20))


def test_splits_and_dividends_come_along(tmp_path: Path):
    table = bars().assign(**{"Stock Splits": 1.0, "Dividends": 0.0})
    table.iloc[5, -2:] = [4.0, 0.25]
    table.to_parquet(tmp_path / "ACME.parquet")
    read = ParquetBars(tmp_path).bars("ACME")
    assert read.iloc[5][["split", "dividend"]].tolist() == [4.0, 0.25]
    table.iloc[6, -2] = 0.0
    table.to_parquet(tmp_path / "ACME.parquet")
    with pytest.raises(BadBarsError, match=r"the split is 0\.0"):
        ParquetBars(tmp_path).bars("ACME")


@pytest.mark.parametrize("interval", ["5m", "30m", "1h", "1d"])
def test_a_split_told_before_the_session_is_not_left_out_with_its_bar(tmp_path: Path, interval: str):
    session = grid("XNYS", "5m", "2024-11-25", "2024-11-27")
    early = pd.date_range("2024-11-26 13:05", "2024-11-26 14:30", freq="5min", tz="UTC")
    table = bars(session.union(early)).assign(split=1.0, dividend=0.0)
    table.loc[early[0], "split"], table.loc[early[3], "dividend"] = 2.0, 0.5
    table.to_parquet(tmp_path / "ACME.parquet")
    read = ParquetBars(tmp_path, label="end").bars("ACME", interval=interval)
    assert read.index.equals(grid("XNYS", interval, "2024-11-25", "2024-11-27"))
    told = read[(read["split"] != 1.0) | (read["dividend"] != 0.0)]
    assert told[["split", "dividend"]].to_numpy().tolist() == [[2.0, 0.5]]
    assert told.index[0] == read[read.index >= "2024-11-26"].index[0]


def test_a_coin_is_known_by_its_weekends(tmp_path: Path):
    days = pd.date_range("2024-01-01", "2024-02-01", tz="UTC", unit="ns")
    bars(days).to_parquet(tmp_path / "BTC-USD.parquet")
    bars(days).to_parquet(tmp_path / "ETH.parquet")
    source = ParquetBars(tmp_path)
    assert source.symbols() == ["BTC/USD", "ETH/USD"]
    assert len(source.bars("ETH/USD", days_back=3, end="2024-01-20")) == 3
    with pytest.raises(BadBarsError, match="has a bar on a Monday"):
        source.bars("ETH")


@pytest.mark.parametrize("label", ["start", "end"])
@pytest.mark.parametrize("interval", ["1m", "5m", "30m"])
def test_short_bars_come_by_their_ends_whatever_they_were_called(tmp_path: Path, label: str, interval: str):
    ends = grid("XNYS", interval, "2024-11-27", "2024-12-02")
    step = pd.Timedelta(interval.replace("m", "min"))
    table = bars(ends)
    table.set_axis(ends - step if label == "start" else ends).to_parquet(tmp_path / "ACME.parquet")
    for source in (ParquetBars(tmp_path), ParquetBars(tmp_path, label=label)):
        read = check_source(source, "ACME", interval)
        assert read.index.equals(ends)
    assert ParquetBars(tmp_path).bars("ACME", interval="1d").index.equals(sessions("XNYS", "2024-11-27", "2024-12-02"))
    with pytest.raises(IntervalError if interval != "1m" else NoBarsError):
        ParquetBars(tmp_path).bars("ACME", "2030-01-01" if interval == "1m" else None, interval="1m")


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "words as days": (
        lambda t: t.set_axis(t.index.strftime("%d/%m/%Y")).rename_axis("date"),
        ParquetError,
        "of the type",
    ),
    "naive times": (
        lambda t: t.set_axis(t.index.tz_localize(None) + pd.Timedelta(hours=9)),
        ParquetError,
        "no time zone",
    ),
    "no volume": (lambda t: t.drop(columns="volume"), ParquetError, "there is none for volume"),
    "two closes": (lambda t: t.assign(Close=1.0), ParquetError, "both look like the close"),
    "words as prices": (lambda t: t.assign(close="ten"), BadBarsError, "a value is no number"),
    "nulls": (lambda t: t.assign(low=np.nan), BadBarsError, "a value is missing"),
    "a day twice": (lambda t: pd.concat([t, t.iloc[:1]]), BadBarsError, "the day is there twice"),
    "a holiday": (lambda t: t.set_axis(t.index.shift(1, freq="D")), BadBarsError, "has a bar on a Saturday"),
    "no rows": (lambda t: t.iloc[:0], NoBarsError, "has no bars of ACME"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_must_not_be_read_is_refused_with_a_sentence(tmp_path: Path, name: str):
    spoil, kind, words = REFUSED[name]
    spoil(bars()).to_parquet(tmp_path / "ACME.parquet")
    with pytest.raises(kind, match=words) as refused:
        ParquetBars(tmp_path).bars("ACME")
    assert refused.value.exit_code == 2


def test_a_place_without_files_and_a_strange_symbol_are_refused(tmp_path: Path):
    for path, words in (
        (tmp_path, "holds no .parquet or .pq file"),
        (tmp_path / "nowhere", "there is no file or folder"),
        ("", "needs market.path"),
    ):
        with pytest.raises(ConfigError, match=words):
            ParquetBars(path)
    bars().to_parquet(tmp_path / "ACME.parquet")
    with pytest.raises(UnknownSymbolError, match="Did you mean 'ACME'"):
        ParquetBars(tmp_path).bars("ACMY")


WHOLE = bars(DAYS[:10]).to_parquet()


@example(cut=0, at=1037, byte=128)  # a column's name that is no text
@given(cut=st.integers(0, 4000), at=st.integers(0, 4000), byte=st.integers(0, 255))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_read_rightly_or_refused_and_nothing_else(tmp_path: Path, cut: int, at: int, byte: int):
    path = tmp_path / "ACME.parquet"
    data = bytearray(WHOLE)
    data[at % len(data)] = byte
    path.write_bytes(data[: len(data) - cut if cut % 2 else len(data)])
    try:
        read = ParquetBars(path).bars("ACME")
    except RefusedError:
        return
    assert list(read.columns)[:5] == ["open", "high", "low", "close", "volume"]


def test_starts_that_are_called_ends_are_refused_in_any_file(tmp_path: Path):
    ends = grid("XNYS", "5m", "2024-03-04", "2024-03-08")
    begun = bars(ends - pd.Timedelta(minutes=5))
    begun.to_parquet(tmp_path / "ACME.parquet")
    begun.rename_axis("time_utc").to_csv(tmp_path / "ACME.csv")
    for source in (ParquetBars(tmp_path, label="end"), CsvBars(tmp_path, label="end")):
        with pytest.raises(BadBarsError, match=r"can only be the starts of bars of 5m. Say .*label"):
            source.bars("ACME", interval="5m")
    for source in (ParquetBars(tmp_path, label="start"), CsvBars(tmp_path, label="start")):
        assert source.bars("ACME", interval="5m").index.equals(ends)
