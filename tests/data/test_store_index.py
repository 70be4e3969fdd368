"""What an index says of bars is believed only while its bytes are those that were written."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from trading_core.data import BarStore, SimulatedBars
from trading_core.data.sources import Source, in_window
from trading_core.data.store_index import StoreIndexError
from trading_core.data.store_learning import learn
from trading_core.data.store_ranges import day_of

NAMES = ["BTC/USD", "KODE", "NEXQ"]


def test_a_flipped_bit_of_the_index_never_hides_bars(tmp_path: Path):
    market = SimulatedBars(today="2024-03-09")
    BarStore(tmp_path / "whole", market).fetch(NAMES, "2023-01-02", "2023-12-29")
    BarStore(tmp_path / "whole", market).fetch(NAMES, "2024-01-02", "2024-03-08")
    image = (tmp_path / "whole" / "1d" / "index.db").read_bytes()
    used = [
        place for place, byte in enumerate(image) if byte and not 24 <= place < 28
    ]  # there it says only which change it is
    for place in random.Random(5).sample(used, 60):
        shutil.copytree(tmp_path / "whole", tmp_path / "bad", dirs_exist_ok=True)
        changed = bytearray(image)
        changed[place] ^= 1 << (place % 8)
        (tmp_path / "bad" / "1d" / "index.db").write_bytes(changed)
        store = BarStore(tmp_path / "bad", market)
        with pytest.raises(StoreIndexError):
            store.bars(NAMES[0], "2023-01-02", "2024-03-08")
        assert [one.file for one in store.check()] == ["index.db"]
    store.repair()
    assert store.check() == []
    assert_frame_equal(store.bars(NAMES[0], "2023-01-02"), market.bars(NAMES[0], "2023-01-02"), check_freq=False)


@pytest.mark.parametrize("left", [None, b""], ids=["gone", "empty"])
def test_bars_without_an_index_are_found_again_and_never_swept_away(tmp_path: Path, left: bytes | None):
    market = SimulatedBars(today="2024-03-09")
    BarStore(tmp_path, market).fetch(NAMES, "2023-01-02", "2024-03-08")
    known = BarStore(tmp_path).known
    index = tmp_path / "1d" / "index.db"
    index.unlink()
    if left is not None:
        index.write_bytes(left)
    store = BarStore(tmp_path, market)
    for ask in (lambda: store.bars(NAMES[0], "2023-01-02"), store.compact):
        with pytest.raises(StoreIndexError, match="it is gone, and files of bars are there"):
            ask()
    assert [one.file for one in store.check()] == ["index.db"]
    store.repair()
    assert BarStore(tmp_path).known == known
    assert BarStore(tmp_path).kept() == sorted(NAMES)


def test_nothing_is_learnt_beside_bars_whose_index_is_gone(tmp_path: Path):
    market = SimulatedBars(today="2024-03-09")
    BarStore(tmp_path, market).fetch(NAMES, "2023-01-02", "2024-03-08")
    bars = market.bars(NAMES[0], "2024-03-04")
    first = BarStore(tmp_path).known
    BarStore(tmp_path, market).add({NAMES[0]: bars * 1.01})
    (tmp_path / "1d" / "index.db").unlink()
    store = BarStore(tmp_path, market)
    for ask in (
        lambda: store.fetch(NAMES[:1], "2024-03-04", again=True),
        lambda: store.add({NAMES[0]: bars}),
        lambda: learn(store.shelf(), {NAMES[0]: bars}),
        store.compact,
    ):
        with pytest.raises(StoreIndexError, match="it is gone, and files of bars are there"):
            ask()
    store.repair()
    store.compact()
    assert BarStore(tmp_path).bars(NAMES[0], "2024-03-04")["close"].equals(bars["close"] * 1.01)
    assert BarStore(tmp_path).bars(NAMES[0], "2024-03-04", as_of_known=first)["close"].equals(bars["close"])


def test_bars_that_an_old_index_does_not_know_are_set_aside_and_copies_are_deleted(tmp_path: Path):
    market = SimulatedBars(today="2024-03-09")
    store = BarStore(tmp_path, market)
    store.fetch(NAMES, "2023-01-02", "2023-12-29")
    store.fetch(NAMES, "2024-01-02", "2024-02-29")
    old = (tmp_path / "1d" / "index.db").read_bytes()
    copies = {path.name: path.read_bytes() for path in (tmp_path / "1d").glob("*.parquet")}
    store.compact()
    for name, content in copies.items():  # as after a kill before the small files were removed
        (tmp_path / "1d" / name).write_bytes(content)
    store.compact()
    assert not [name for name in copies if (tmp_path / "1d" / name).exists()]
    assert not (tmp_path / "1d" / "uncounted").exists()
    whole = {path.name for path in (tmp_path / "1d").glob("*.parquet")}
    store.fetch(NAMES, "2024-03-01", "2024-03-08")
    later = {path.name for path in (tmp_path / "1d").glob("*.parquet")} - whole
    for name, content in copies.items():
        (tmp_path / "1d" / name).write_bytes(content)
    (tmp_path / "1d" / "index.db").write_bytes(old)  # somebody's backup
    BarStore(tmp_path).compact()
    assert BarStore(tmp_path).bars(NAMES[0]).index[-1] <= pd.Timestamp("2024-02-29", tz="UTC")
    assert {path.name for path in (tmp_path / "1d" / "uncounted").iterdir()} == later


def test_a_file_of_somebody_else_among_the_bars_is_set_aside(tmp_path: Path):
    market = SimulatedBars(today="2024-03-09")
    BarStore(tmp_path, market).fetch(NAMES, "2023-01-02", "2024-03-08")
    whole = next((tmp_path / "1d").glob("*.parquet"))
    empty, other = pd.read_parquet(whole).iloc[:0], pd.DataFrame({"symbol": ["KODE"], "price": 1.0})
    for number, table in enumerate((empty, other)):
        foreign = tmp_path / "1d" / f"foreign{number}.parquet"
        table.to_parquet(foreign)
        content = foreign.read_bytes()
        BarStore(tmp_path).compact()
        assert (tmp_path / "1d" / "uncounted" / foreign.name).read_bytes() == content
        foreign.write_bytes(content)
        (tmp_path / "1d" / "index.db").unlink()
        BarStore(tmp_path).repair()
        assert (tmp_path / "1d" / "damaged" / foreign.name).read_bytes() == content
        assert BarStore(tmp_path).kept() == NAMES


def flat(days: pd.DatetimeIndex) -> pd.DataFrame:
    return pd.DataFrame(dict.fromkeys(["open", "high", "low", "close"], 10.0), days).assign(volume=100.0)


class Coin(Source):
    "A coin whose hours are published one after the other, by the clock of the test."

    name, simulated, intervals = "coin", True, ("1h",)
    hours = flat(pd.date_range("2024-02-15 01:00", "2024-02-29", freq="h", tz="UTC", unit="ns"))

    def __init__(self, now: str, published: str = "") -> None:
        self.asked: list[tuple[Any, Any]] = []
        self.tell(now, published)

    def tell(self, now: str, published: str = "") -> None:
        self.moment, self.published = pd.Timestamp(now, tz="UTC"), pd.Timestamp(published or now, tz="UTC")

    def now(self) -> pd.Timestamp:
        return self.moment

    def read(self, symbol: str, start: Any, end: Any, interval: str) -> pd.DataFrame:
        self.asked.append((start, end))
        told = self.hours.loc[: self.published]
        return told.iloc[in_window(told.index, start, end, interval)]


@pytest.mark.parametrize("compacted", [False, True], ids=["as it was fetched", "put together"])
def test_a_day_that_was_fetched_in_part_is_asked_for_again_after_the_index_was_made_anew(
    tmp_path: Path, compacted: bool
):
    coin = Coin("2024-02-22 14:00")
    store = BarStore(tmp_path, coin)
    store.bars("BTC/USD", "2024-02-20", "2024-02-22", "1h")
    coin.tell("2024-02-26 12:00")
    store.bars("BTC/USD", "2024-02-24", "2024-02-25", "1h")  # the 22nd is still there in part
    if compacted:
        store.compact()
    (tmp_path / "1h" / "index.db").unlink()
    coin.asked.clear()
    BarStore(tmp_path, coin).repair()
    got = BarStore(tmp_path, coin).bars("BTC/USD", "2024-02-20", "2024-02-25", "1h")
    assert_frame_equal(got, coin.hours.loc["2024-02-20 01:00":"2024-02-26 00:00"], check_freq=False)
    assert [(a.day, b.day) for a, b in coin.asked] == [(22, 23)]


@pytest.mark.parametrize("compacted", [False, True], ids=["as it was fetched", "put together"])
def test_days_between_two_windows_are_asked_for_after_the_index_was_made_anew(tmp_path: Path, compacted: bool):
    market = SimulatedBars(today="2024-03-09")
    store = BarStore(tmp_path, market)
    for start, end in (("2023-03-01", "2023-03-07"), ("2023-03-15", "2023-03-20")):
        store.bars("KODE", start, end)
    if compacted:
        store.compact()
    (tmp_path / "1d" / "index.db").unlink()
    store = BarStore(tmp_path, market)
    store.repair()
    days = [(day_of(a), day_of(b)) for a, b in store.missing(["KODE"], "2023-03-01", "2023-03-20")]
    assert [(a.day, b.day) for a, b in days] == [(8, 14)]  # and not the weekends
    assert len(store.bars("KODE", "2023-03-01", "2023-03-20")) == len(market.bars("KODE", "2023-03-01", "2023-03-20"))


def test_corrections_that_cannot_be_read_any_more_are_asked_for_again_after_the_index_was_made_anew(tmp_path: Path):
    market = SimulatedBars(today="2024-03-09")
    store = BarStore(tmp_path, market)
    want = market.bars("KODE", "2024-01-02", "2024-03-08")
    store.add({"KODE": want * 2}, "2024-01-02", "2024-03-08")
    store.fetch(["KODE"], "2024-01-02", "2024-03-08", again=True)
    max((tmp_path / "1d").glob("*.parquet")).write_bytes(b"no bars at all")
    (tmp_path / "1d" / "index.db").unlink()
    (done,) = BarStore(tmp_path, market).repair()
    assert "all days are to be asked for again" in str(done)
    assert_frame_equal(BarStore(tmp_path, market).bars("KODE", "2024-01-02", "2024-03-08"), want, check_freq=False)


def test_a_damaged_sum_does_not_condemn_an_index_that_is_whole(tmp_path: Path):
    market = SimulatedBars(today="2024-03-09")
    BarStore(tmp_path, market).fetch(NAMES, "2023-01-02", "2024-03-08")
    beside = tmp_path / "1d" / "index.sum"
    noted = beside.read_bytes()
    for place in range(len(noted)):
        for bit in range(8):
            changed = bytearray(noted)
            changed[place] ^= 1 << bit
            beside.write_bytes(changed)
            assert BarStore(tmp_path).kept() == NAMES
        beside.write_bytes(noted[:place])
        assert BarStore(tmp_path).kept() == NAMES


def test_a_sum_of_another_change_says_nothing_about_this_one(tmp_path: Path):
    market = SimulatedBars(today="2024-03-09")
    store = BarStore(tmp_path, market)
    store.fetch(NAMES, "2023-01-02", "2023-12-29")
    old = (tmp_path / "1d" / "index.sum").read_text()
    store.fetch(NAMES, "2024-01-02", "2024-03-08")
    for left in (old, "", "\0\xff", "1"):  # as after a kill between the change and its sum
        (tmp_path / "1d" / "index.sum").write_text(left)
        assert BarStore(tmp_path).check() == []
