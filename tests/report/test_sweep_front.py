"""A sweep's run says on its front page which combination was best, what luck would have given, and what it is worth."""

from __future__ import annotations

from typing import Any

import pytest

from trading_core.report import report_page, run_facts
from trading_core.report.sweep_page import sweep_front
from trading_core.report.today import finding_of, live_lines

RUN: dict[str, Any] = {
    "status": "done",
    "account": "simulated",
    "job": "sweep",
    "as_of": "2024-07-01",
    "settings": {"execution": {"mode": "paper"}},
    "pages": [{"name": "sweep"}],
}
FACTS: dict[str, Any] = {
    "strategy": "SmaCross",
    "combinations": 16,
    "failed": 2,
    "metric": "sharpe",
    "best": "fast 30, slow 150",
    "value": "1.26",
    "median": "0.92",
    "verdict": "With 16 tries a Sharpe ratio of 0.24 is what luck alone would give; 1.26 is more than luck explains.",
    "headline": "SmaCross: fast 30, slow 150 has the best Sharpe ratio",
    "sharpe": 1.26,
    "luck": 0.24,
    "tries": "16 tries",
    "passed": True,
}


def test_the_front_page_of_a_sweep_says_what_was_found_and_what_it_is_worth() -> None:
    html = report_page(RUN, {"sweep": FACTS})
    for told in (FACTS["headline"], "1.26", "0.24", "the best of 16 tries", "2 more failed", "With 16 tries"):
        assert told in html, told
    assert "no account to show" not in html
    assert "Nobody can know yet" not in html
    assert html.index(FACTS["headline"]) < html.index("By luck alone") < html.index("With 16 tries")


def test_the_finding_of_a_sweep_stands_in_the_list_of_runs_and_on_the_terminal() -> None:
    assert run_facts({"sweep": FACTS})["headline"] == FACTS["headline"]
    assert live_lines(RUN, {"sweep": FACTS})[1] == FACTS["headline"]
    assert finding_of({"sweep": FACTS, "backtest": {"headline": "5 % a year"}}) == "5 % a year"


@pytest.mark.parametrize("facts", [{"combinations": 0, "failed": 3}, {"combinations": 16, "failed": 0}])
def test_a_sweep_of_which_nothing_is_known_still_has_a_page(facts: dict[str, Any]) -> None:
    assert "<h1>sweep is done</h1>" in report_page(RUN, {"sweep": facts})
    assert len(sweep_front(facts)) == 1
