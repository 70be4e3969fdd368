"""The workloads W1 to W4 of the side-by-side, made of seeded numbers, and the loop that none can beat.

W1/W2  one symbol, 2,520 daily bars; W2 runs 1,000 pairs of averages, fast 2 to 41 × slow 45 to 165 in steps of 5.
W3     3,652 UTC days of 500 equities (Monday to Friday) and 20 coins (daily): each Friday the 50 equities that fell most
       in five days, 0.99 of the account in equal parts, out at −5 % or after five bars, fee 0.1 %.
W4     one symbol, 1,000,000 one-minute bars, averages of 20 and 50, no fee.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

FEE = 0.001
CASH = 100_000.0
FAST, SLOW = range(2, 42), range(45, 166, 5)


def walk(n_days: int, n_symbols: int, seed: int, deviation: float) -> tuple[np.ndarray, np.ndarray]:
    "Opens and closes of independent random walks, (n_days, n_symbols)."
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0.0, deviation, (n_days, n_symbols)), axis=0))
    return close * np.exp(rng.normal(0.0, deviation / 6, close.shape)), close


def w3_arrays(
    n_days: int = 3652, n_equities: int = 500, n_coins: int = 20
) -> tuple[pd.DatetimeIndex, np.ndarray, np.ndarray, np.ndarray]:
    "Days, opens, closes and the mask of real bars of W3; no bar repeats the last close."
    days = pd.date_range("2014-01-01", periods=n_days, freq="D", tz="UTC", unit="ns")
    rng = np.random.default_rng(3)
    real = np.ones((n_days, n_equities + n_coins), dtype=bool)
    real[np.asarray(days.day_of_week >= 5), :n_equities] = False
    moved = np.where(real, rng.normal(0.0003, 0.02, real.shape), 0.0)
    close = 100 * np.exp(np.cumsum(moved, axis=0))
    open_ = np.where(real, close * np.exp(rng.normal(0.0, 0.003, real.shape)), close)
    return days, open_, close, real


def w3_wanted(days: pd.DatetimeIndex, close: np.ndarray, n_equities: int = 500, n_picks: int = 50) -> np.ndarray:
    "Which equities W3 wants: NaN but on Fridays, there 1 or 0, (n_days, n_symbols)."
    week = np.flatnonzero(np.asarray(days.day_of_week) < 5)
    own = close[week, :n_equities]
    moved = np.full(own.shape, np.nan)
    moved[5:] = own[5:] / own[:-5] - 1
    wanted = np.full(close.shape, np.nan)
    for place in np.flatnonzero((np.asarray(days[week].day_of_week) == 4) & (np.arange(len(week)) >= 5)):
        wanted[week[place], :n_equities] = 0.0
        wanted[week[place], np.argsort(moved[place], kind="stable")[:n_picks]] = 1.0
    return wanted


def w4_arrays(n_bars: int = 1_000_000) -> tuple[pd.DatetimeIndex, np.ndarray, np.ndarray]:
    "Minutes, opens and closes of W4, each (n_bars,)."
    minutes = pd.date_range("2022-01-01", periods=n_bars, freq="min", tz="UTC", unit="ns")
    open_, close = walk(n_bars, 1, 4, 0.0005)
    return minutes, open_[:, 0].copy(), close[:, 0].copy()


def w2_arrays(n_bars: int = 2520) -> tuple[pd.DatetimeIndex, np.ndarray, np.ndarray]:
    "Days, opens and closes of W1 and W2, each (n_bars,)."
    days = pd.date_range("2014-01-01", periods=n_bars, freq="D", tz="UTC", unit="ns")
    open_, close = walk(n_bars, 1, 2, 0.015)
    return days, open_[:, 0].copy(), close[:, 0].copy()


def w2_pairs() -> Iterator[tuple[int, int]]:
    "The 1,000 pairs of W2."
    return ((fast, slow) for fast in FAST for slow in SLOW)


# ---------------------------------------------------------------------------------------------------- for our own engine


def panel_of(days: pd.DatetimeIndex, open_: np.ndarray, close: np.ndarray, real: np.ndarray, n_equities: int) -> Any:
    "A panel of those bars, days or minutes, the first columns being equities."
    from trading_core.data import Panel
    from trading_core.model import Asset

    names = [f"E{n:05d}" for n in range(n_equities)] + [f"Z{n:05d}/USD" for n in range(close.shape[1] - n_equities)]
    assets = {name: Asset.of(name) for name in names}
    opened, closed = np.asfortranarray(open_), np.asfortranarray(close)
    arrays = {"open": opened, "high": np.maximum(opened, closed), "low": np.minimum(opened, closed), "close": closed}
    arrays["volume"] = np.asfortranarray(np.where(real, 1e6, 0.0))
    interval = "1d" if days[1] - days[0] >= pd.Timedelta(days=1) else "1m"
    return Panel(days, tuple(names), assets, arrays, np.asfortranarray(real), interval=interval)


@cache
def w3_panel(n_days: int = 3652, n_equities: int = 500, n_coins: int = 20) -> Any:
    "W3 as a panel."
    days, open_, close, real = w3_arrays(n_days, n_equities, n_coins)
    return panel_of(days, open_, close, real, n_equities)


def one_panel(days: pd.DatetimeIndex, open_: np.ndarray, close: np.ndarray) -> Any:
    "A panel of one coin that trades on every bar."
    return panel_of(days, open_[:, None], close[:, None], np.ones((len(days), 1), dtype=bool), 0)


def costs(fee: float = FEE) -> Any:
    "A rate of each fill's value, for either class of assets."
    from trading_core.portfolio import Costs

    return Costs(rate=fee)


def given(signals: pd.DataFrame, stop_loss: float | None = 0.05, time_stop: int | None = 5, gross: float = 0.99) -> Any:
    "A strategy whose signals are known already."
    from trading_core.model import ExitRules
    from trading_core.strategies import EqualWeight, Strategy

    @dataclass(frozen=True)
    class Given(Strategy):
        stop_loss: float | None = 0.05
        time_stop: int | None = 5

        @property
        def exits(self) -> ExitRules:
            return ExitRules(stop_loss=self.stop_loss, time_stop=self.time_stop)

        @property
        def sizer(self) -> EqualWeight:
            return EqualWeight(gross=gross)

        def signals(self, panel: Any) -> pd.DataFrame:
            return signals

    return Given(stop_loss, time_stop)


def answers(result: Any) -> tuple[float, int, float]:
    "What a person reads from a result: the equity, the fills and the metrics."
    return float(result.equity.iloc[-1]), len(result.fills), float(result.metrics["sharpe"])


# ------------------------------------------------------------------------------------------------------- the bare loops


@cache
def bare_w3() -> Any:
    "W3 as a loop over arrays that knows nothing but W3: equity and the number of fills."
    from numba import njit

    @njit(nogil=True, error_model="numpy")
    def loop(open_, close, real, wanted, days, cash, fee, stop, bars_most, part):  # type: ignore[no-untyped-def]
        n_days, n_symbols = close.shape
        quantity, entry, bars = np.zeros(n_symbols), np.zeros(n_symbols), np.zeros(n_symbols, np.int64)
        waiting, wish = np.zeros(n_symbols, np.int8), np.zeros(n_symbols)
        equity, fills = np.empty(n_days), 0
        for t in range(n_days):
            for s in range(n_symbols):
                if waiting[s] == -1 and real[t, s]:
                    cash += quantity[s] * open_[t, s] * (1 - fee)
                    quantity[s] = 0.0
                    waiting[s] = 0
                    fills += 1
            for s in range(n_symbols):
                if waiting[s] == 1 and real[t, s]:
                    much = min(wish[s], cash / (open_[t, s] * (1 + fee)))
                    cash -= much * open_[t, s] * (1 + fee)
                    quantity[s], entry[s], bars[s], waiting[s] = much, open_[t, s], 0, 0
                    fills += 1
            value = cash
            for s in range(n_symbols):
                if quantity[s] > 0:
                    value += quantity[s] * close[t, s]
                    if real[t, s]:
                        bars[s] += 1
                        if waiting[s] == 0 and (close[t, s] <= entry[s] * (1 - stop) or bars[s] >= bars_most):
                            waiting[s] = -1
            equity[t] = value
            if days[t]:
                for s in range(n_symbols):
                    if quantity[s] > 0:
                        if wanted[t, s] == 0 and waiting[s] == 0:
                            waiting[s] = -1
                    elif wanted[t, s] == 1:
                        waiting[s], wish[s] = 1, part * value / close[t, s]
                    else:
                        waiting[s] = 0
        return equity, fills

    return loop


@cache
def bare_w4() -> Any:
    "One symbol, in while `above` is 1, at the next open: equity and the number of fills."
    from numba import njit

    @njit(nogil=True, error_model="numpy")
    def loop(open_, close, above, cash, fee):  # type: ignore[no-untyped-def]
        equity, quantity, waiting, fills = np.empty(len(close)), 0.0, 0, 0
        for t in range(len(close)):
            if waiting == 1 and quantity == 0.0:
                quantity = cash / (open_[t] * (1 + fee))
                cash, fills = cash - quantity * open_[t] * (1 + fee), fills + 1
            elif waiting == -1 and quantity > 0.0:
                cash, quantity, fills = cash + quantity * open_[t] * (1 - fee), 0.0, fills + 1
            equity[t] = cash + quantity * close[t]
            waiting = 1 if above[t] > 0 else -1
        return equity, fills

    return loop
