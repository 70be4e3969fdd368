"""A day, a run and what its pages left behind, made by hand so that every number is known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trading_core.report.day import DayReport, FillLine, NoOrder, OrderLine, PositionLine, Warned


def position(symbol: str, kind: str, gain: float, bars: int, *, leaving: bool = False) -> PositionLine:
    price = 100 * (1 + gain)
    stop = 95.0
    return PositionLine(
        symbol,
        kind,
        kind,
        "80",
        80 * price,
        0.08,
        "2019-06-24",
        100.0,
        price,
        gain,
        stop,
        stop / price - 1,
        bars,
        5,
        leaving,
    )


@pytest.fixture
def day() -> DayReport:
    days = pd.date_range("2019-03-01", "2019-06-28", tz="UTC")
    steps = np.random.default_rng(11).normal(0.0003, 0.006, (2, days.size))
    account, market = (100_000 * np.cumprod(1 + row) for row in steps)
    history = {
        "days": [f"{d:%Y-%m-%d}" for d in days],
        "account": [round(float(v), 2) for v in account],
        "benchmark": [round(float(v), 2) for v in market],
    }
    now, before = history["account"][-1], history["account"][-2]
    return DayReport(
        account="simulated",
        job="daily",
        as_of="2019-06-28",
        simulated=True,
        dry_run=False,
        resumed=False,
        equity=now,
        cash=now - 15_000,
        started="2019-03-01",
        initial=history["account"][0],
        previous_day="2019-06-27",
        previous_equity=before,
        previous_cash=50_000.0,
        benchmark="MKT",
        history=history,
        exposure={"equity": 0.15, "crypto": 0.08, "cash": 0.77},
        exposure_after={"equity": 0.16, "crypto": 0.08, "cash": 0.76},
        targets={"FRST": 0.08, "MERL": 0.08, "TIDE": 0.08},
        movers={"YARW": -224.0, "MERL": 136.0},
        decisions=["EquityReversal wants 6 of 59: 1 new (FRST), 1 kept (MERL)"],
        next_decisions=[{"strategy": "crypto", "name": "CryptoReversal", "day": "2019-06-29", "decided": True}],
        fills=[
            FillLine(
                "2019-06-28",
                "LINK/USD",
                "sell",
                "376.009465",
                13.76,
                12.93,
                "time_stop",
                "crypto",
                False,
                94.34,
                0.019,
                5,
            ),
            FillLine("2019-06-28", "ADA/USD", "buy", "8095.804780", 0.6339, 12.83, "signal", "crypto", True),
        ],
        orders=[
            OrderLine(
                "2019-06-29T00:00:00Z", "crypto", "crypto", "buy", "BTC/USD", "0.097078", 5000.0, "signal", "fell"
            ),
            OrderLine("2019-07-01T13:30:00Z", "equity", "equity", "sell", "YARW", "80", 7744.0, "signal", "rank 12"),
        ],
        silent=[
            NoOrder("kept", "MERL", "kept", "still wanted: rank 4"),
            NoOrder("refused", "TIDE", "refused: max positions", "rank 6"),
        ],
        positions=[position("YARW", "equity", -0.032, 4, leaving=True), position("ADA/USD", "crypto", 0.041, 2)],
        warnings=[Warned("1 order was refused: max positions", "TIDE: it would be position 11, the limit is 10.")],
    )


@pytest.fixture
def first_day(day: DayReport) -> DayReport:
    "An account on its first day, without a wish."
    history = {"days": ["2019-06-28"], "account": [100_000.0], "benchmark": []}
    return replace(
        day, equity=100_000.0, cash=100_000.0, initial=100_000.0, started="2019-06-28", previous_day=None, previous_equity=None,
        previous_cash=None, benchmark=None, history=history, movers={}, fills=[], orders=[], silent=[], positions=[], warnings=[],
        decisions=[], next_decisions=[], targets={}, exposure={"equity": 0.0, "crypto": 0.0, "cash": 1.0},
        exposure_after={"equity": 0.0, "crypto": 0.0, "cash": 1.0},
    )  # fmt: skip


@pytest.fixture
def run() -> dict[str, Any]:
    "run.json of a finished run."
    return {
        "schema": 1,
        "run_id": "20190629T001004Z-daily-7c1e",
        "job": "daily",
        "account": "simulated",
        "as_of": "2019-06-28",
        "status": "done",
        "started": "2019-06-29T00:10:04Z",
        "ended": "2019-06-29T00:10:28Z",
        "data": {"source": "simulated", "first": "2015-01-01", "last": "2019-06-28", "sha256": "1e226c7cf3d1" * 5},
        "commit": "4be1c07aa",
        "versions": {"trading-core": "0.0.1", "python": "3.11.7"},
        "pages": [{"name": name, "status": "done", "seconds": 4.0} for name in ("backtest", "signals", "trade")],
        "counts": {"signals": 3, "orders": 2, "refused": 1, "fills": 2},
        "equity": 100_500.0,
        "day_change": 0.001,
        "warnings": 1,
        "error": None,
    }


@pytest.fixture
def remembered(day: DayReport) -> dict[str, Any]:
    "What the three pages left behind, through JSON."
    backtest = {
        "headline": "10.0 % a year", "luck": "", "sharpe": 0.95, "sharpe_low": 0.32, "sharpe_high": 1.6, "years": 8.7, "trades": 100,
    }  # fmt: skip
    notes = {
        "trade": day.to_dict(),
        "backtest": backtest,
        "signals": {"wanted": 7, "covers": 67, "headline": "7 wanted of 67"},
    }
    return dict(json.loads(json.dumps(notes)))
