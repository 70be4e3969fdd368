"""Whether a result could be luck stands on the page, open, and cannot be left out by what it is about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from trading_core.backtest.edge import Honesty
from trading_core.backtest.holdout import Holdout
from trading_core.backtest.judged import Agreement, Judgement
from trading_core.backtest.parity import Parity
from trading_core.backtest.sharpe import Interval
from trading_core.report import engines_section, honesty_section
from trading_core.report.honesty import engines_fact, luck_title

DAY = pd.Timestamp("2024-01-01", tz="UTC")
WORTH = Honesty(
    days=500, annual_days=252, sharpe=1.3, interval=Interval(-0.1, 2.6), luck=1.1, probabilistic=0.97, deflated=0.61, trials=312,
    track_days=9000.0, turnover=12.0, break_even=0.0012,
)  # fmt: skip
JUDGED = Judgement(WORTH, np.linspace(-0.5, 1.5, 312))


def agreement(difference: str = "", whole: bool = True) -> Agreement:
    return Agreement(Parity(("fast", "backtrader"), 12, 500, difference), DAY, DAY, whole, 1.0)


def test_the_section_is_open_and_says_how_much_was_tried() -> None:
    text = honesty_section(JUDGED)
    assert '<details class="luck" open>' in text
    for said in (
        "After 312 tries",
        "312 tries of this family counted",
        "did as well or better",
        "Deflated Sharpe",
        "61.0",
    ):
        assert said in text, said
    assert text.count("<svg") == 2


def test_with_one_try_there_is_no_figure_and_with_none_known_nothing_is_claimed() -> None:
    one = replace(JUDGED, honesty=replace(WORTH, trials=1, luck=0.0), ratios=np.array([1.3]))
    assert "<svg" not in honesty_section(one)
    assert luck_title(one) == "Could this be luck? Yes, and that was the first try"
    unknown = replace(one, honesty=replace(WORTH, sharpe=np.nan))
    assert luck_title(unknown).endswith("Nobody can know yet")
    assert "nan" not in honesty_section(unknown).lower()


@pytest.mark.parametrize(("looks", "said"), [(0, "never"), (1, "once"), (11, "11 times")])
def test_looks_at_sealed_days_are_told(looks: int, said: str) -> None:
    judged = replace(JUDGED, sealed=Holdout(DAY), looks=looks)
    assert f"The days 2024-01-01.. are sealed, and were looked at {said}." in honesty_section(judged)
    assert "sealed" not in honesty_section(JUDGED)


def test_engines_that_agree_have_a_badge_and_those_that_differ_a_warning() -> None:
    assert "✓ ENGINES AGREE<" in engines_section(agreement())
    assert "AGREE ON A PART" in engines_section(agreement(whole=False))
    differ = engines_section(agreement("on 2024-02-20 one has <b>"))
    assert 'class="note bad"' in differ
    assert "&lt;b&gt;" in differ
    assert "Do not rely on any figure" in differ
    assert "ONE ENGINE" in engines_section(None)
    assert (engines_fact(None)["engines_ok"], engines_fact(agreement("x"))["engines_ok"]) == (None, False)
