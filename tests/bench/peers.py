"""We beside the others, on the workloads of `workloads.py`: each line in processes of its own, warm, best of several.

python -m venv peers && peers/bin/pip install -r tests/bench/requirements-peers.txt
python tests/bench/peers.py --peers peers/bin/python            # all but the slow ones
python tests/bench/peers.py --peers peers/bin/python --only w3  # lines whose name begins with w3
python tests/bench/peers.py --peers peers/bin/python --slow     # the slow peers as well, each once: some minutes more

All sides read the same answers: the equity, the fills, total return, yearly volatility, Sharpe, Sortino, the deepest drawdown,
and the trades' win rate and profit factor. Ours has them all in `.metrics`; a peer is asked for each by its own name. Of a
sweep (W2) a row of such figures per pair is read, and no equity or fills, on either side. backtrader and bt know some of them.

Where other work takes turns with this on the processor, the ratio of processor time is the one to read.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
import workloads as w

Made = Callable[[], Any]

# On a virtual machine memory that is given back goes back to the host, and every fresh page then costs milliseconds, at
# random. So no process here gives any back, ours or a peer's: what is measured is the work.
KEPT = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(16 << 30)}
ENOUGH = 3.0  # seconds of rounds


def ours(strategy: Any, panel: Any, fee: float = w.FEE) -> Made:
    "A whole backtest, its equity, fills and metrics read."
    from trading_core.backtest import backtest

    costs = w.costs(fee)
    return lambda: w.answers(backtest(strategy, panel, costs=costs))


def ours_w3_given(n_days: int = 3652, n_equities: int = 500, n_coins: int = 20) -> Made:
    days, _, close, _ = w.w3_arrays(n_days, n_equities, n_coins)
    panel = w.w3_panel(n_days, n_equities, n_coins)
    wanted = w.w3_wanted(days, close, n_equities, n_equities // 10)
    return ours(w.given(pd.DataFrame(wanted, panel.days, list(panel.symbols), copy=False)), panel)


def ours_w3_signals() -> Made:
    from trading_core.strategies import EqualWeight, EquityReversal, with_sizer

    return ours(with_sizer(EquityReversal(), EqualWeight(gross=0.99)), w.w3_panel())


def bare_w3() -> Made:
    days, open_, close, real = w.w3_arrays()
    wanted = w.w3_wanted(days, close)
    decides, loop = np.isfinite(wanted).any(axis=1), w.bare_w3()
    return lambda: loop(open_, close, real, wanted, decides, w.CASH, w.FEE, 0.05, 5, 0.99 / 50)


def ours_w4(n_bars: int = 1_000_000) -> Made:
    from trading_core.strategies import SmaCross

    return ours(SmaCross(20, 50), w.one_panel(*w.w4_arrays(n_bars)), 0.0)


def bare_w4() -> Made:
    _, open_, close = w.w4_arrays()
    above = (pd.Series(close).rolling(20).mean() > pd.Series(close).rolling(50).mean()).to_numpy().astype(np.int8)
    loop = w.bare_w4()
    return lambda: loop(open_, close, above, w.CASH, 0.0)


def ours_w2(every: int = 1) -> Made:
    "The 1,000 pairs, or each n-th fast one with all slow ones."
    from trading_core.backtest import sweep
    from trading_core.strategies import SmaCross

    panel, costs = w.one_panel(*w.w2_arrays()), w.costs()
    grid = {"fast": list(w.FAST[::every]), "slow": list(w.SLOW)}
    return lambda: sweep(SmaCross, grid, panel, costs=costs, progress=False)


def ours_stops(threads: int) -> Made:
    from trading_core.backtest import sweep
    from trading_core.strategies import EqualWeight, EquityReversal

    panel, costs, sizer = w.w3_panel(), w.costs(), EqualWeight(gross=0.99)
    grid = {"stop_loss": np.linspace(0.01, 0.2, 200).tolist()}
    return lambda: sweep(EquityReversal, grid, panel, costs=costs, sizer=sizer, threads=threads, progress=False)


def bare_stops() -> Made:
    days, open_, close, real = w.w3_arrays()
    wanted = w.w3_wanted(days, close)
    decides, loop = np.isfinite(wanted).any(axis=1), w.bare_w3()
    stops = np.linspace(0.01, 0.2, 200).tolist()
    return lambda: [loop(open_, close, real, wanted, decides, w.CASH, w.FEE, stop, 5, 0.99 / 50)[1] for stop in stops]


def figures(made: Any) -> tuple[Any, ...]:
    "What our `.metrics` and our sweep hold as well, as vectorbt calls it."
    of_returns = made.total_return(), made.annualized_volatility(), made.sharpe_ratio(), made.sortino_ratio()
    return *of_returns, made.max_drawdown(), made.trades.win_rate(), made.trades.profit_factor()


def fills(made: Any) -> pd.DataFrame:
    """The fills of one vectorbt portfolio with days, symbols and sides in words, as ours has them.

    Its own `records_readable` takes 50 ms for them on W3 and seconds on W4: what is asked for can be had quicker.
    """
    records, index, columns = made.orders.records, made.wrapper.index, made.wrapper.columns
    sides = pd.array(["buy", "sell"], dtype="str").take(records["side"].to_numpy())
    return records.assign(day=index.take(records["idx"]), symbol=columns.take(records["col"]), side=sides)


def read(made: Any) -> tuple[Any, ...]:
    "Equity, fills and figures of one vectorbt portfolio."
    return made.value().iloc[-1], len(fills(made)), *figures(made)


def theirs_w2() -> Made:
    import vectorbt as vbt

    days, open_, close = w.w2_arrays()
    index = days.tz_localize(None)
    prices, opens = pd.Series(close, index), open_[:, None]

    def run() -> Any:
        windows = sorted({*w.FAST, *w.SLOW})
        lines = vbt.MA.run(prices, windows).ma.to_numpy()
        place = {window: number for number, window in enumerate(windows)}
        pairs = list(w.w2_pairs())
        fast, slow = lines[:, [place[f] for f, _ in pairs]], lines[:, [place[s] for _, s in pairs]]
        above = np.zeros((len(days), len(pairs)), dtype=bool)
        above[1:] = (fast > slow)[:-1]
        below = ~above
        below[:1] = False
        wide = pd.DataFrame(np.broadcast_to(close[:, None], above.shape), index)
        made = vbt.Portfolio.from_signals(
            wide, above, below, price=np.broadcast_to(opens, above.shape), init_cash=w.CASH, fees=w.FEE, freq="1D"
        )
        return figures(made)

    return run


def theirs_w4() -> Made:
    import vectorbt as vbt

    minutes, open_, close = w.w4_arrays()
    index = minutes.tz_localize(None)  # with a time zone its index is turned into objects, which takes minutes
    prices, opens = pd.Series(close, index), pd.Series(open_, index)

    def run() -> Any:
        above = vbt.MA.run(prices, 20).ma.to_numpy() > vbt.MA.run(prices, 50).ma.to_numpy()
        enter, leave = np.zeros(len(above), bool), np.zeros(len(above), bool)
        enter[1:], leave[1:] = above[:-1], ~above[:-1]
        made = vbt.Portfolio.from_signals(
            prices, enter, leave, price=opens, init_cash=w.CASH, fees=0.0, freq="1min", engine="rust"
        )
        return read(made)

    return run


def theirs_w3() -> Made:
    import vectorbt as vbt
    from numba import njit
    from vectorbt.portfolio import nb

    days, open_, close, real = w.w3_arrays()
    wanted = w.w3_wanted(days, close)
    decides = np.isfinite(wanted).any(axis=1)
    frame = pd.DataFrame(close, days.tz_localize(None))

    @njit
    def before(c, own, waiting, queue, count):  # type: ignore[no-untyped-def]
        count[0] = 0
        for wish in (-1, 1):
            for column in range(len(waiting)):
                if waiting[column] == wish and own[c.i, column]:
                    queue[count[0]] = column
                    count[0] += 1
        return ()

    @njit
    def order(c, opens, waiting, wishes, entry, bars, queue, count):  # type: ignore[no-untyped-def]
        if c.call_idx >= count[0]:
            return -1, nb.order_nothing_nb()
        i, column = c.i, queue[c.call_idx]
        size = -c.last_position[column] if waiting[column] == -1 else wishes[column]
        if waiting[column] == 1:
            entry[column], bars[column] = opens[i, column], 0
        waiting[column] = 0
        return column, nb.order_nb(size=size, price=opens[i, column], fees=0.001)

    @njit
    def after(c, closes, own, want, on, waiting, wishes, entry, bars):  # type: ignore[no-untyped-def]
        i, value = c.i, c.last_cash[0]
        for column in range(closes.shape[1]):
            held = c.last_position[column]
            if held > 0:
                value += held * closes[i, column]
                if own[i, column]:
                    bars[column] += 1
                    if waiting[column] == 0 and (closes[i, column] <= entry[column] * 0.95 or bars[column] >= 5):
                        waiting[column] = -1
        if on[i]:
            for column in range(closes.shape[1]):
                if c.last_position[column] > 0:
                    if want[i, column] == 0 and waiting[column] == 0:
                        waiting[column] = -1
                elif want[i, column] == 1:
                    waiting[column], wishes[column] = 1, 0.99 / 50 * value / closes[i, column]
                else:
                    waiting[column] = 0

    def run() -> Any:
        n = close.shape[1]
        waiting, wishes, entry, bars = np.zeros(n, np.int8), np.zeros(n), np.zeros(n), np.zeros(n, np.int64)
        queue, count = np.zeros(n, np.int64), np.zeros(1, np.int64)
        made = vbt.Portfolio.from_order_func(
            frame, order, open_, waiting, wishes, entry, bars, queue, count, flexible=True, pre_segment_func_nb=before,
            pre_segment_args=(real, waiting, queue, count), post_segment_func_nb=after,
            post_segment_args=(close, real, wanted, decides, waiting, wishes, entry, bars), init_cash=w.CASH,
            cash_sharing=True, group_by=True, freq="1D",
        )  # fmt: skip
        return read(made)

    return run


def slow(name: str, *given: Any) -> Made:
    "A peer of `slow_peers.py`, which needs packages that only the peers' environment has."
    import slow_peers

    made: Made = getattr(slow_peers, name)(*given)
    return made


class Line(NamedTuple):
    "One line of the table."

    make: Callable[[], Made]
    peer: bool = False  # run by the peers' Python
    slow: bool = False  # only with --slow, and once: it takes its first run for its best


LINES: dict[str, Line] = {
    "w2 ours": Line(ours_w2),
    "w2 ours, 100 pairs": Line(lambda: ours_w2(10)),
    "w2 vectorbt": Line(theirs_w2, peer=True),
    "w2 backtrader optstrategy": Line(lambda: slow("stock_w2"), peer=True, slow=True),
    "w3 bare": Line(bare_w3),
    "w3 ours, given": Line(ours_w3_given),
    "w3 ours, signals": Line(ours_w3_signals),
    "w3 vectorbt": Line(theirs_w3, peer=True),
    "w3 bt": Line(lambda: slow("bt_w3"), peer=True, slow=True),
    "w3 bt, values put off": Line(lambda: slow("bt_w3", 3652, False), peer=True, slow=True),
    "w3 backtrader": Line(lambda: slow("stock_w3"), peer=True, slow=True),
    "stops bare": Line(bare_stops),
    "stops ours, 1 thread": Line(lambda: ours_stops(1)),
    "stops ours, 2 threads": Line(lambda: ours_stops(2)),
    "w4 bare": Line(bare_w4),
    "w4 ours": Line(ours_w4),
    "w4 ours, 100,000 bars": Line(lambda: ours_w4(100_000)),
    "w4 vectorbt rust": Line(theirs_w4, peer=True),
    "grow ours, 52 assets": Line(lambda: ours_w3_given(3652, 50, 2)),
    "grow ours, 365 days": Line(lambda: ours_w3_given(365)),
}
RATIOS = [
    ("W2 against vectorbt, ≥ 20", "w2 vectorbt", "w2 ours"),
    ("W3 given against vectorbt, ≥ 20", "w3 vectorbt", "w3 ours, given"),
    ("W3 signals against vectorbt, ≥ 10", "w3 vectorbt", "w3 ours, signals"),
    ("W2 against backtrader's optstrategy, ≥ 8,000", "w2 backtrader optstrategy", "w2 ours"),
    ("W3 given against bt, ≥ 600", "w3 bt", "w3 ours, given"),
    ("W3 signals against bt, ≥ 300", "w3 bt", "w3 ours, signals"),
    ("W3 given against bt, values put off", "w3 bt, values put off", "w3 ours, given"),
    ("W3 given against stock backtrader, ≥ 8,000", "w3 backtrader", "w3 ours, given"),
    ("W3 signals against stock backtrader, ≥ 4,000", "w3 backtrader", "w3 ours, signals"),
    ("W3 given against the bare loop", "w3 ours, given", "w3 bare"),
    ("W3 signals against the bare loop", "w3 ours, signals", "w3 bare"),
    ("200 stops, 1 thread, against the loop, ≤ 1.6", "stops ours, 1 thread", "stops bare"),
    ("two threads against one, ≥ 1.7", "stops ours, 1 thread", "stops ours, 2 threads"),
    ("W4 against vectorbt's rust engine, ≥ 8", "w4 vectorbt rust", "w4 ours"),
    ("W4 against the bare loop", "w4 ours", "w4 bare"),
    ("10 × bars, ≤ 12 (W4)", "w4 ours", "w4 ours, 100,000 bars"),
    ("10 × bars, ≤ 12 (W3)", "w3 ours, given", "grow ours, 365 days"),
    ("10 × assets, ≤ 12", "w3 ours, given", "grow ours, 52 assets"),
    ("10 × combinations, ≤ 12 (W2)", "w2 ours", "w2 ours, 100 pairs"),
]


def processor() -> float:
    "Processor seconds of this process and of those that it started."
    while multiprocessing.active_children():  # counted when they have ended
        time.sleep(0.01)
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def timed(run: Made) -> tuple[float, float, Any]:
    "Seconds by the clock, seconds of the processor, and the answer."
    before, began = processor(), time.perf_counter()
    answer = run()
    took = time.perf_counter() - began
    return took, processor() - before, answer


def one(name: str, rounds: int) -> dict[str, Any]:
    """Seconds of the best of several rounds after the first, by the clock and of the processor; the first's; peak memory in MB.

    There are as many rounds as fit into `ENOUGH` seconds, but `rounds` at least: a short line is disturbed as a whole. A slow
    line has one round only.
    """
    line = LINES[name]
    run = line.make()
    first, busy, answer = timed(run)
    times = [(first, busy)] if line.slow else [timed(run)[:2] for _ in range(rounds)]
    while not line.slow and sum(took for took, _ in times) < ENOUGH:
        times.append(timed(run)[:2])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    best, cpu = (min(column) for column in zip(*times, strict=True))
    return {"best": best, "cpu": cpu, "first": first, "peak": peak, "answer": str(answer)[:60].split("\n")[0]}


def in_a_process(name: str, python: str, rounds: int) -> dict[str, Any]:
    "What `one` says of a line in a new process, or why it `failed`."
    command = [python, __file__, "--one", name, "--rounds", str(rounds)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=900, env=os.environ | KEPT)
    if ran.returncode:
        return {"failed": ran.stderr.strip().splitlines()[-1][:150]}
    said: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return said


def better(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The least time of two processes, and the least memory.

    The same work on the same machine takes half as long again in one process as in the next, by where its memory lies.
    """
    return one | {name: min(one[name], other[name]) for name in ("best", "cpu", "first", "peak")}


def fresh(python: str, code: str) -> float:
    "Seconds that a new process takes, the best of three."
    took = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run(
            [python, "-c", code], check=True, capture_output=True, cwd=Path(__file__).parent, timeout=300,
            env=os.environ | KEPT,
        )  # fmt: skip
        took.append(time.perf_counter() - began)
    return min(took)


def starts(peers: str) -> None:
    "Imports, and the first backtest of a fresh process."
    call = "import peers; peers.{}()()"
    pandas = fresh(sys.executable, "import pandas")
    imported = fresh(sys.executable, "from trading_core.backtest import backtest")
    print(
        f"import of backtest against import pandas, ≤ 1.5: {imported / pandas:.2f} ({imported:.2f} s, {pandas:.2f} s)"
    )
    own, theirs = fresh(sys.executable, call.format("ours_w3_signals")), fresh(peers, call.format("theirs_w3"))
    print(f"fresh process, W3 (data made anew in both), ≤ 0.33: {own / theirs:.2f} ({own:.2f} s, {theirs:.2f} s)")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    asked.add_argument("--peers", default=sys.executable, help="a Python with requirements-peers.txt installed")
    asked.add_argument("--only", default="", help="lines whose name begins with this")
    asked.add_argument("--slow", action="store_true", help="the slow peers too")
    asked.add_argument("--rounds", type=int, default=9)
    asked.add_argument(
        "--processes", type=int, default=3, help="of each line that is not slow; the best of them counts"
    )
    asked.add_argument("--one", help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.one:
        print(json.dumps(one(given.one, given.rounds)))
        return
    found: dict[str, dict[str, Any]] = {}
    for turn in range(given.processes):  # in turns: what disturbs a machine for a minute disturbs both sides
        for name, line in LINES.items():
            if not name.startswith(given.only) or (line.slow and (turn > 0 or not given.slow)):
                continue
            ran = in_a_process(name, given.peers if line.peer else sys.executable, given.rounds)
            print(
                "{:26} {best:9.4f} s  cpu {cpu:9.4f} s  first {first:7.2f} s  {peak:5.0f} MB  {answer}".format(
                    name, **ran
                )
                if "best" in ran
                else f"{name:28} failed: {ran['failed']}",
                flush=True,
            )
            if "best" in ran:
                found[name] = ran if name not in found else better(found[name], ran)
    if "fresh".startswith(given.only):
        starts(given.peers)
    for title, above, below in RATIOS:
        if above in found and below in found:
            times, cpu, memory = (found[above][key] / found[below][key] for key in ("best", "cpu", "peak"))
            print(f"{title:46} {times:8.1f} × time {cpu:8.1f} × processor {memory:6.2f} × memory")


if __name__ == "__main__":
    main()
