"""The peers that take minutes: stock backtrader and bt on W3, backtrader's optstrategy on W2. `peers.py --slow` runs them.

Each is written as its own users write it: its broker, its orders, its sums, and nothing of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import backtrader
import numpy as np
import pandas as pd
import workloads as w


def judged(cerebro: Any) -> None:
    "Let backtrader compute what it can of what we read: return, Sharpe, the drawdown, and the trades."
    cerebro.addanalyzer(backtrader.analyzers.Returns)
    cerebro.addanalyzer(backtrader.analyzers.SharpeRatio, timeframe=backtrader.TimeFrame.Days)
    cerebro.addanalyzer(backtrader.analyzers.DrawDown)
    cerebro.addanalyzer(backtrader.analyzers.TradeAnalyzer)


def engine(**settings: Any) -> Any:
    "backtrader's engine with the account of all workloads."
    cerebro = backtrader.Cerebro(stdstats=False, **settings)
    cerebro.broker.setcash(w.CASH)
    cerebro.broker.setcommission(commission=w.FEE)
    judged(cerebro)
    return cerebro


class Weekly(backtrader.Strategy):
    "W3 in backtrader, from wishes that are known already."

    params = (("wanted", None), ("close", None), ("part", 0.0))

    def start(self):  # type: ignore[no-untyped-def]
        self.number = {data: number for number, data in enumerate(self.datas)}
        self.decides = np.isfinite(self.p.wanted).any(axis=1)
        self.held: dict[int, tuple[float, int]] = {}  # asset number to entry price and its bars before the entry
        self.leaving: set[int] = set()
        self.equity, self.fills = [], 0

    def notify_order(self, order):  # type: ignore[no-untyped-def]
        if order.status == order.Completed:
            number, self.fills = self.number[order.data], self.fills + 1
            if order.isbuy():
                self.held[number] = order.executed.price, len(order.data) - 1
            else:
                del self.held[number]
                self.leaving.discard(number)

    def leave(self, number):  # type: ignore[no-untyped-def]
        self.close(data=self.datas[number])
        self.leaving.add(number)

    def prenext(self):  # type: ignore[no-untyped-def]
        self.next()

    def next(self):  # type: ignore[no-untyped-def]
        row, now, value = len(self) - 1, self.datetime[0], self.broker.getvalue()
        self.equity.append(value)
        for number, (entry, before) in sorted(self.held.items()):
            data = self.datas[number]
            if (
                number not in self.leaving
                and data.datetime[0] == now
                and (data.close[0] <= entry * 0.95 or len(data) - before >= 5)
            ):
                self.leave(number)
        if self.decides[row]:
            wanted, close = self.p.wanted[row], self.p.close[row]
            for number in sorted(self.held.keys() - self.leaving):
                if wanted[number] == 0:
                    self.leave(number)
            for number in np.flatnonzero(wanted == 1).tolist():
                if number not in self.held:
                    self.buy(data=self.datas[number], size=self.p.part * value / close[number])


def stock_w3(n_days: int = 3652) -> Callable[[], Any]:
    "A PandasData feed of each asset's real bars, made before the clock starts."
    days, open_, close, real = w.w3_arrays(n_days)
    index, wanted = days.tz_localize(None), w.w3_wanted(days, close)
    arrays = {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close}
    frames = [
        pd.DataFrame({**{name: array[own, s] for name, array in arrays.items()}, "volume": 1e6}, index[own])
        for s, own in enumerate(real.T)
    ]

    def run() -> Any:
        cerebro = engine()
        for frame in frames:
            cerebro.adddata(backtrader.feeds.PandasData(dataname=frame))
        cerebro.addstrategy(Weekly, wanted=wanted, close=close, part=0.99 / 50)
        ran = cerebro.run()[0]
        return ran.equity[-1], ran.fills, *(analyzer.get_analysis() for analyzer in ran.analyzers)

    return run


class TwoAverages(backtrader.Strategy):
    "In while the fast average is above the slow one, with 95 % of the account."

    params = (("fast", 20), ("slow", 50))

    def __init__(self) -> None:
        self.above = backtrader.ind.SMA(period=self.p.fast) > backtrader.ind.SMA(period=self.p.slow)

    def next(self) -> None:
        if self.above[0] and not self.position:
            self.order_target_percent(target=0.95)
        elif not self.above[0] and self.position:
            self.close()


def stock_w2(every: int = 1) -> Callable[[], Any]:
    "The pairs of W2 on two processes, or each n-th fast one with all slow ones."
    days, open_, close = w.w2_arrays()
    columns = {"open": open_, "high": np.maximum(open_, close), "low": np.minimum(open_, close), "close": close}
    frame = pd.DataFrame({**columns, "volume": 1e6}, days.tz_localize(None))

    def run() -> Any:
        cerebro = engine(maxcpus=2)
        cerebro.adddata(backtrader.feeds.PandasData(dataname=frame))
        cerebro.optstrategy(TwoAverages, fast=list(w.FAST[::every]), slow=list(w.SLOW))
        ran = [runs[0] for runs in cerebro.run()]
        return len(ran), ran[0].p.fast, ran[0].p.slow, *(found.get_analysis() for found in ran[0].analyzers)

    return run


def bt_w3(n_days: int = 3652, at_once: bool = True) -> Callable[[], Any]:
    """W3 in bt: its prices are the opens, at which it trades what was decided at the closes of the day before.

    bt values the account anew after each order, unless it is told to put that off until the last one of the day.
    """
    import bt

    days, open_, close, real = w.w3_arrays(n_days)
    wanted = w.w3_wanted(days, close)
    decides, index = np.isfinite(wanted).any(axis=1), days.tz_localize(None)
    names = [f"A{number:03d}" for number in range(close.shape[1])]
    prices, rows = pd.DataFrame(open_, index, names), {day: row for row, day in enumerate(index)}

    class Weekly(bt.Algo):
        def __init__(self) -> None:
            super().__init__()
            self.held: dict[int, list[float]] = {}  # asset number to quantity, entry price and bars
            self.leaving: set[int] = set()
            self.wishes: dict[int, float] = {}

        def trade(self, target: Any, row: int) -> None:
            for number in [number for number in sorted(self.leaving) if real[row, number]]:
                target.close(names[number], update=at_once)
                del self.held[number]
                self.leaving.discard(number)
            for number in [number for number in sorted(self.wishes) if real[row, number]]:
                size = self.wishes.pop(number)
                target.transact(size, names[number], update=at_once)
                self.held[number] = [size, open_[row, number], 0]
            target.update(target.now)

        def decide(self, row: int, cash: float) -> None:
            value = cash + sum(quantity * close[row, number] for number, (quantity, _, _) in self.held.items())
            for number, state in self.held.items():
                if real[row, number]:
                    state[2] += 1
                    if close[row, number] <= state[1] * 0.95 or state[2] >= 5:
                        self.leaving.add(number)
            if decides[row]:
                self.leaving |= {number for number in self.held if wanted[row, number] == 0}
                new = [number for number in np.flatnonzero(wanted[row] == 1).tolist() if number not in self.held]
                self.wishes = {number: 0.99 / 50 * value / close[row, number] for number in new}

        def __call__(self, target: Any) -> bool:
            row = rows[target.now]
            if self.leaving or self.wishes:
                self.trade(target, row)
            self.decide(row, target.capital)
            return True

    def run() -> Any:
        test = bt.Backtest(
            bt.Strategy("w3", [Weekly()]), prices, initial_capital=w.CASH, integer_positions=False,
            commissions=lambda quantity, price: abs(quantity) * price * w.FEE, progress_bar=False,
        )  # fmt: skip
        result = bt.run(test, progress_bar=False)
        trades = test.strategy.get_transactions()
        return float(test.strategy.values.iloc[-1]), len(trades), result.stats.loc["daily_sharpe"].iloc[0]

    return run
