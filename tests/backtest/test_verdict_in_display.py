"""A result shows in its notebook what luck has to do with it, at once or not at all."""

from __future__ import annotations

import pickle
import time

import pytest
from random_panels import random_panel

from trading_core.backtest import BacktestResult, backtest, judged
from trading_core.strategies import SmaCross


@pytest.fixture(scope="module")
def result() -> BacktestResult:
    return backtest(SmaCross(3, 8), random_panel(4, 5, 2))


def test_the_display_says_in_a_sentence_what_luck_would_have_given(result: BacktestResult) -> None:
    said = judged.quick_verdict(result, seconds=30)
    assert said.startswith("With ")
    assert judged.judge(result, SmaCross).honesty.sentence.startswith(said)
    assert result._repr_html_().endswith("</p></div>")


def test_a_result_that_came_from_elsewhere_is_judged_by_the_same_tries(result: BacktestResult) -> None:
    again = pickle.loads(pickle.dumps(result))
    assert judged.quick_verdict(again, seconds=30) == judged.quick_verdict(result, seconds=30)


def test_a_book_of_tries_that_is_slow_or_broken_costs_the_sentence_and_not_the_display(
    result: BacktestResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(family: object) -> None:
        time.sleep(5)

    def broken(family: object) -> None:
        raise OSError("no such book")

    for table in (slow, broken):
        monkeypatch.setattr(judged, "table", table)
        began = time.perf_counter()
        assert judged.quick_verdict(result) == ""
        assert time.perf_counter() - began < 3
        assert "<table" in result._repr_html_()
    monkeypatch.setattr(judged, "quick_verdict", None)
    assert "<table" in result._repr_html_()


def test_a_result_without_a_family_or_with_a_single_day_has_no_sentence(result: BacktestResult) -> None:
    panel = random_panel(4, 2, 0)
    assert judged.quick_verdict(backtest(SmaCross(3, 8), panel, start=panel.last)) == ""
    bare = pickle.loads(pickle.dumps(result))
    del bare.__dict__["family"]
    assert judged.quick_verdict(bare) == ""
    assert "<table" in bare._repr_html_()
