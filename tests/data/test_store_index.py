"""What an index says of bars is believed only while its bytes are those that were written."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from trading_core.data import BarStore, SimulatedBars
from trading_core.data.store_index import StoreIndexError
from trading_core.data.store_learning import learn

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


def test_a_sum_of_another_change_says_nothing_about_this_one(tmp_path: Path):
    market = SimulatedBars(today="2024-03-09")
    store = BarStore(tmp_path, market)
    store.fetch(NAMES, "2023-01-02", "2023-12-29")
    old = (tmp_path / "1d" / "index.sum").read_text()
    store.fetch(NAMES, "2024-01-02", "2024-03-08")
    for left in (old, "", "\0\xff", "1"):  # as after a kill between the change and its sum
        (tmp_path / "1d" / "index.sum").write_text(left)
        assert BarStore(tmp_path).check() == []
