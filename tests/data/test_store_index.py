"""What an index says of bars is believed only while its bytes are those that were written."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal

from trading_core.data import BarStore, SimulatedBars
from trading_core.data.store_index import StoreIndexError

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


def test_a_sum_of_another_change_says_nothing_about_this_one(tmp_path: Path):
    market = SimulatedBars(today="2024-03-09")
    store = BarStore(tmp_path, market)
    store.fetch(NAMES, "2023-01-02", "2023-12-29")
    old = (tmp_path / "1d" / "index.sum").read_text()
    store.fetch(NAMES, "2024-01-02", "2024-03-08")
    for left in (old, "", "\0\xff", "1"):  # as after a kill between the change and its sum
        (tmp_path / "1d" / "index.sum").write_text(left)
        assert BarStore(tmp_path).check() == []
