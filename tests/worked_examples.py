"""The worked examples of the trading day: a readable one and twelve random ones, computed by an independent program.

They lie beside the real data (`TRADING_REAL_DATA/../semantics`), because they are shared with other programs.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from trading_core.data import HybridDataNormalizer, Panel
from trading_core.model import AssetClass, ExitRules
from trading_core.portfolio import Costs, EqualWeight
from trading_core.strategies import Strategy

NAMES = ["readable", *(f"case{n:02d}" for n in range(1, 13))]
_COSTS = {"rate": 0.001, "per_share": 0.0, "minimum": 1.0, "slippage_bps": 5.0}
_READABLE = {
    "cash": 10_000.0, "equity": _COSTS, "crypto": _COSTS,
    "stop_loss": 0.05, "take_profit": None, "trailing_stop": 0.08, "time_stop": 5, "max_weight": None, "resize": None,
}  # fmt: skip


class Given(Strategy):
    "A strategy that says what a table says."

    def __init__(self, table: pd.DataFrame, exits: ExitRules, sizer: EqualWeight):
        self.table, self._exits, self._sizer = table, exits, sizer

    @property
    def exits(self) -> ExitRules:
        return self._exits

    @property
    def sizer(self) -> EqualWeight:
        return self._sizer

    def signals(self, panel: Panel) -> pd.DataFrame:
        return self.table.reindex(index=panel.days, columns=list(panel.symbols))


@dataclass(frozen=True)
class Example:
    panel: Panel
    strategy: Given
    costs: Costs
    cash: float
    resize: float | None
    fills: pd.DataFrame  # expected
    equity: pd.Series  # expected


def _days(table: pd.DataFrame, column: str) -> pd.DataFrame:
    return table.assign(**{column: pd.to_datetime(table[column], utc=True)})


def load_example(real_data: Path, name: str) -> Example:
    base = real_data.parent / "semantics"
    folder = base if name == "readable" else base / "random" / name
    settings = _READABLE if name == "readable" else json.loads((folder / "settings.json").read_text())
    bars = _days(pd.read_csv(folder / "bars.csv"), "date").set_index("date")
    panel = HybridDataNormalizer().normalize({s: g.drop(columns="symbol") for s, g in bars.groupby("symbol")})
    signals = _days(pd.read_csv(folder / "signals.csv"), "date").set_index("date").astype(float)
    exits = ExitRules(*(settings[rule] for rule in ("stop_loss", "take_profit", "trailing_stop", "time_stop")))
    costs = Costs(**settings["equity"], by_class={AssetClass.CRYPTO: settings["crypto"]})
    fills = _days(pd.read_csv(folder / "fills.csv"), "day")
    equity = _days(pd.read_csv(folder / "equity.csv"), "date").set_index("date")["equity"].astype(float)
    strategy = Given(signals, exits, EqualWeight(max_weight=settings["max_weight"]))
    return Example(panel, strategy, costs, settings["cash"], settings["resize"], fills, equity)


def assert_same_fills(found: pd.DataFrame, expected: pd.DataFrame, panel: Panel) -> None:
    "Day, symbol, side, reason and cut the same; price within 1e-9, quantity within 1e-9 or one lot."
    key = ["day", "symbol", "side"]
    one, other = (t.sort_values(key).reset_index(drop=True) for t in (found, expected))
    same = [*key, "reason", "cut"]
    assert one[same].to_numpy().tolist() == other[same].to_numpy().tolist()
    lots = np.array([float(panel.assets[symbol].lot) for symbol in other["symbol"]])
    quantity = np.abs(one["quantity"] - other["quantity"])
    assert (quantity <= np.maximum(lots * 1.000001, other["quantity"] * 1e-9)).all()
    assert (np.abs(one["price"] / other["price"] - 1) <= 1e-9).all()
