"""Files that the program keeps for itself, spoilt: read as they were written, refused with a sentence, or asked for anew."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from sizes import size
from spoiled import faulty, names, spoiled

from trading_core.data.instruments import Instrument, instruments_of, of_alpaca
from trading_core.data.simulated import SimulatedBars
from trading_core.data.store import BarStore
from trading_core.errors import TradingError

CASES = settings(
    max_examples=size(300, 10_000), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)  # fmt: skip
NOTE = {"source": "simulated", "simulated": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = BarStore(tmp_path_factory.mktemp("store"), SimulatedBars(today="2024-02-01"))
    store.bars(SimulatedBars().symbols()[0], "2024-01-02")
    return Path(store.folder)


@CASES
@given(spoiled(NOTE))
@example("[" * 100_000)
@example('{"source": "simulated", "simulated": 1}')
@example('{"source": "simulated", "simulated": true, "venue": 5}')
@example("[]")
def test_a_spoilt_note_of_whose_bars_they_are_is_refused_or_says_it(folder: Path, text: str) -> None:
    (folder / "store.json").write_text(text, encoding="utf-8", errors="replace")
    try:
        store = BarStore(folder)
        told = {"source": store.name, "simulated": store.simulated}
    except TradingError as refused:
        names(refused, "store.json", folder.name)
        return
    assert told == {key: json.loads(text)[key] for key in NOTE}


ASKED = pd.Timestamp("2024-03-01", tz="UTC")
ROW = {"symbol": "BTC/USD", "lot": "0.0001", "tick": "1", "minimum": None, "fractionable": True, "tradable": True}
KEPT = {"asked": ASKED.isoformat(), "instruments": [ROW, ROW | {"symbol": "AAPL", "lot": None, "fractionable": False}]}


def possible(found: Any) -> None:
    "What is promised of instruments."
    for symbol, one in found.items():
        assert type(symbol) is type(one.symbol) is str
        assert type(one.fractionable) is type(one.tradable) is bool
        figures = [one.lot, one.tick, one.minimum]
        assert all(value is None or (type(value) is Decimal and value.is_finite() and value > 0) for value in figures)


@CASES
@given(spoiled(KEPT))
@example(json.dumps(KEPT | {"asked": "2024-03-01"}))
@example(json.dumps(KEPT | {"asked": "NaT"}))
@example(json.dumps(KEPT | {"instruments": [ROW | {"lot": True}]}))
@example(json.dumps(KEPT | {"instruments": [ROW | {"lot": "-1"}]}))
@example(json.dumps(KEPT | {"instruments": [ROW | {"tradable": "no"}]}))
def test_spoilt_instruments_are_asked_for_anew(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "instruments"
    folder.mkdir(exist_ok=True)
    (folder / "instruments-venue.json").write_text(text, encoding="utf-8", errors="replace")
    new = {"BTC/USD": Instrument("BTC/USD", Decimal("0.5"))}
    known = instruments_of(folder, "venue", lambda: new, now=ASKED + pd.Timedelta(hours=1))
    possible(known.instruments)
    assert known.instruments == new or set(known.instruments) == {
        row["symbol"] for row in json.loads(text)["instruments"]
    }


ASSETS = [
    {
        "symbol": "BTC/USD",
        "tradable": True,
        "fractionable": True,
        "min_trade_increment": "0.0001",
        "price_increment": "1",
    },
    {"symbol": "AAPL", "tradable": True, "fractionable": False},
]


@CASES
@given(faulty(ASSETS))
@example([ASSETS[0] | {"fractionable": "false"}])
@example([{"tradable": True}])
@example(None)
def test_any_answer_about_assets_gives_instruments_or_a_typed_refusal(assets: Any) -> None:
    try:
        found = of_alpaca(assets)
    except TradingError as refused:
        names(refused)
        return
    possible(found)
    assert len(found) == len({str(one["symbol"]) for one in assets})


@pytest.mark.parametrize("asked", ["", "NaT", "nan", "now", "2024", None, 5])
def test_instruments_that_were_asked_for_at_no_moment_are_none(tmp_path: Path, asked: Any) -> None:
    (tmp_path / "instruments-venue.json").write_text(json.dumps(KEPT | {"asked": asked}), encoding="utf-8")

    def away() -> dict[str, Instrument]:
        raise ConnectionError("the venue is away")

    with pytest.raises(ConnectionError):
        instruments_of(tmp_path, "venue", away)
