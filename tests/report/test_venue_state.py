"""What stands in the way of the next order comes first, says what to do, and is absent when all is well."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from decimal import Decimal
from types import SimpleNamespace

import pandas as pd
import pytest

from trading_core.config import load_config
from trading_core.execution.comparison import Difference
from trading_core.model import Fill, OrderRequest, OrderResult, OrderStatus, Side
from trading_core.report.day import FOR_YOU, DayReport, _waiting
from trading_core.report.overview import index_page
from trading_core.report.pages import front_page
from trading_core.report.sections import day_change, headline_of, orders_section, waiting_text
from trading_core.report.today import live_lines, report_page, run_facts, unresolved
from trading_core.report.venue_state import (
    DifferenceLine,
    VenueState,
    WaitingLine,
    agreement_section,
    orders_go,
    state_bands,
    venue_state,
    waiting_section,
)

ASKED = WaitingLine("0e3d76cce5b2", "NVDA", "buy", "20", 18072.0, "2019-06-29T12:10:00Z")
BAD = VenueState(
    "alpaca", "paper", "manual", "alpaca cannot be reached: <reset>", "2019-06-27", [ASKED], ["20190628-F-b"],
    ["buy 3 TSLA at 180.5"], [DifferenceLine("cash USD", "10,000", "9,999.97", "a fee")],
)  # fmt: skip


def run(**more: object) -> dict[str, object]:
    facts = {
        "run_id": "20190629T001004Z-daily-7c1e", "job": "daily", "account": "mine", "as_of": "2019-06-28", "status": "done",
        "pages": [{"name": "trade", "status": "done", "seconds": 1.0}], "error": None, "simulated": False,
    }  # fmt: skip
    return facts | more


def page_of(day: DayReport) -> str:
    return report_page(run(), {"trade": json.loads(json.dumps(day.to_dict()))})


def test_a_calm_account_has_nothing_of_it(day: DayReport) -> None:
    for state in (VenueState(), VenueState("alpaca")):
        assert state_bands(state) == waiting_section(state) == ""
        assert state.trouble == 0
    html = page_of(replace(day, venue=VenueState(), warnings=[]))
    assert "ALL WELL" in html
    assert "note bad" not in html
    assert "trading approve" not in html


def test_the_bad_news_comes_before_the_figures(day: DayReport) -> None:
    html = page_of(replace(day, venue=BAD, warnings=[]))
    order = [
        html.index(text)
        for text in (
            "VENUE SILENT",
            "1 ORDER UNKNOWN",
            "1 ORDER FOR YOU",
            "does not answer",
            "last known account of Thu 27 Jun",
            "Nobody knows what became of 1 order",
            "<h1>",
            "trading approve 0e3d76cce5b2",
        )
    ]
    assert order == sorted(order)
    assert "ALL WELL" not in html
    assert "&lt;reset&gt;" in html  # what a venue says is escaped


def test_the_facts_of_a_run_count_what_is_wrong(day: DayReport) -> None:
    calm = run_facts({"trade": replace(day, venue=VenueState()).to_dict()})
    bad = run_facts({"trade": replace(day, venue=BAD).to_dict()})
    assert bad["warnings"] == calm["warnings"] + 2
    assert bad["headline"].startswith("No answer from alpaca; ")


KEY = "alpaca refused the key (HTTP 403)"
NO = replace(
    BAD,
    brief=KEY,
    unreachable="alpaca refused to list its open orders: forbidden. Check ALPACA_API_KEY.",
    unknown=[],
    waiting=[],
)
ERROR = {"type": "NoVenueError", "message": NO.unreachable, "page": None, "cell": None}


def test_a_refused_key_is_no_silence_and_the_account_is_that_of_the_last_known_day(day: DayReport) -> None:
    alone = replace(day, venue=NO, orders=[], warnings=[])
    html = front_page(run(status="refused", error=ERROR), {"trade": json.loads(json.dumps(alone.to_dict()))})
    order = [
        html.index(text)
        for text in ("■ REFUSED", KEY.upper(), f"■ {KEY}", "ALPACA_API_KEY", "<h1>", "last known of Thu 27 Jun")
    ]
    assert order == sorted(order)
    assert "No answer" not in html
    assert "VENUE SILENT" not in html
    assert "ALL WELL" not in html
    assert "No order today" not in html
    assert headline_of(alone) == f"{KEY}; no new order was sent; the account is the last one known, of Thu 27 Jun"
    assert "1 order waits" in headline_of(replace(alone, orders=day.orders[:1]))
    assert day_change(alone) is None


def test_only_a_refusal_with_a_day_to_show_gets_the_page_of_the_day(day: DayReport) -> None:
    silent = {"trade": replace(day, venue=BAD).to_dict()}
    calm = {"trade": replace(day, venue=VenueState()).to_dict()}
    titles = {}
    for name, status, notes in (
        ("silent", "refused", silent), ("refused before", "refused", {}), ("refused after", "refused", calm),
        ("failed", "failed", silent), ("done", "done", calm),
    ):  # fmt: skip
        error = None if status == "done" else ERROR
        titles[name] = front_page(run(status=status, error=error), notes).partition("<h1>")[2].partition("</h1>")[0]
    assert titles["silent"].startswith("No answer from alpaca; no new order was sent")
    assert [name for name, title in titles.items() if title.startswith("The run for")] == [
        "refused before",
        "refused after",
        "failed",
    ]


def test_a_run_that_lost_sight_of_an_order_failed_and_shows_its_day_with_that_on_top(day: DayReport) -> None:
    first, *rest = day.orders
    lost = replace(
        day, venue=VenueState("alpaca", unknown=["20190628-F-b"]), orders=[replace(first, status="unknown"), *rest]
    )
    notes = {"trade": json.loads(json.dumps(lost.to_dict()))}
    assert unresolved(notes) == ["20190628-F-b"]
    assert unresolved({"trade": replace(lost, dry_run=True).to_dict()}) == []
    error = {"type": "UnresolvedOrdersError", "message": "1 order had no answer …", "page": None, "cell": None}
    facts = run(status="failed", error=error, **run_facts(notes))
    html = front_page(facts, notes)
    order = [
        html.index(text) for text in ("✕ FAILED", "1 ORDER UNKNOWN", "■ Nobody knows what became of 1 order", "<h1>")
    ]
    assert order == sorted(order)
    assert "The run for" not in html
    assert "; nobody knows what became of 1 order" in headline_of(lost)
    assert "1 order, 1 order waits" in headline_of(lost)
    assert any(line.startswith("■ 20190628-F-b: nobody knows") for line in live_lines(facts, notes))
    assert "did not end well" in index_page([facts | {"started": "2019-06-29T00:10:04Z"}])


def test_the_list_of_all_runs_shows_it_as_refused_with_the_reason_and_the_day_of_the_figures(day: DayReport) -> None:
    facts = run_facts({"trade": replace(day, venue=NO).to_dict()})
    assert (facts["known_day"], facts["day_change"]) == ("2019-06-27", None)
    html = index_page([run(status="refused", error=ERROR, started="2019-06-29T00:10:04Z", **facts)])
    for text in (
        "did not end well",
        "■ REFUSED",
        "ALPACA_API_KEY",
        "on 2019-06-27",
        "trading run daily --as-of 2019-06-28",
    ):
        assert text in html
    assert "known_day" not in run_facts({"trade": replace(day, venue=VenueState()).to_dict()})


def test_the_terminal_shows_the_last_known_account_and_not_only_the_error(day: DayReport) -> None:
    notes = {"trade": replace(day, venue=NO, orders=[]).to_dict()}
    lines = live_lines(run(status="refused", error=ERROR), notes)
    assert lines[0].endswith("refused")
    assert lines[1].startswith(KEY)
    assert "last known on 2019-06-27" in lines[2]


def test_the_log_says_it_too(day: DayReport) -> None:
    lines = live_lines(run(), {"trade": replace(day, venue=BAD).to_dict()})
    assert "? buy 20 NVDA: trading approve 0e3d76cce5b2" in lines
    assert any("nobody knows what became of it" in line for line in lines)


def test_a_day_stored_before_there_was_a_state_is_still_read(day: DayReport) -> None:
    stored = day.to_dict()
    del stored["venue"]
    assert DayReport.from_dict(stored).venue == VenueState()
    again = DayReport.from_dict(json.loads(json.dumps(replace(day, venue=BAD).to_dict())))
    assert again.venue == BAD
    assert VenueState.from_dict(asdict(BAD)) == BAD


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (VenueState(), "paper trading; nobody is asked"),
        (VenueState("alpaca", "live", "hybrid"), "alpaca, REAL MONEY; asked where the strategy is not sure"),
        (VenueState("ccxt", "paper", "manual"), "ccxt, on paper; asked about every purchase"),
    ],
)
def test_where_orders_go_is_said_in_words(state: VenueState, said: str) -> None:
    assert orders_go(state) == said


def test_agreement_is_told_and_what_is_explained_is_listed() -> None:
    assert agreement_section(VenueState()) == ""
    assert "Ledger and alpaca agree" in agreement_section(VenueState("alpaca"))
    told = agreement_section(replace(BAD, unreachable=""))
    assert "1 difference explained" in told
    assert "TSLA" in told
    many = replace(BAD, unreachable="", differences=BAD.differences * 5)
    assert "<details" in agreement_section(many)


def test_the_state_is_gathered_from_run_and_cycle() -> None:
    day = pd.Timestamp("2019-06-28", tz="UTC")
    fill = Fill("v1", "hand", "TSLA", Side.BUY, Decimal("3.00"), Decimal("180.50"), Decimal(0), day)
    cycle = SimpleNamespace(
        results=[OrderResult("x", OrderStatus.UNKNOWN), OrderResult("y", OrderStatus.ACCEPTED)], foreign=(fill,),
        differences=(Difference("cash", "USD", "1", "2", "a fee"),), unreachable="dead", brief="No answer", known_day=day,
    )  # fmt: skip
    config = load_config(None, None, **{"execution.executor": "alpaca"})
    state = venue_state(SimpleNamespace(config=config, ledger=None), cycle)
    assert state.unknown == ["x"]
    assert state.foreign == ["buy 3 TSLA at 180.5"]
    assert (state.approval, state.known_day, state.brief) == ("auto", "2019-06-28", "No answer")
    assert state.differences == [DifferenceLine("cash USD", "1", "2", "a fee")]


def test_an_order_that_a_person_ended_does_not_wait_any_more() -> None:
    orders = [OrderRequest(name, name.upper(), Side.BUY, Decimal(1)) for name in "abc"]
    results = [
        OrderResult("a", OrderStatus.CANCELED), OrderResult("b", OrderStatus.PLANNED, message="waits for approval: …"),
        OrderResult("c", OrderStatus.ACCEPTED),
    ]  # fmt: skip
    plan = SimpleNamespace(orders=orders, cancels=())
    cycle = SimpleNamespace(results=results, pending=orders, plan=plan)
    assert [order.client_id for order in _waiting(cycle)] == ["b", "c"]  # type: ignore[arg-type]


def test_orders_that_need_a_person_are_counted_apart(day: DayReport) -> None:
    first, second = day.orders
    one = replace(day, orders=[first, replace(second, status=FOR_YOU)])
    assert waiting_text(one) == "1 order waits for the next open, 1 order waits for you"
    both = replace(day, orders=[replace(order, status=FOR_YOU) for order in day.orders])
    assert waiting_text(both) == "2 orders wait for you"
    assert "2 orders wait for you" in headline_of(both)


def test_an_order_that_filled_while_it_was_sent_is_told_and_survives_being_stored(day: DayReport) -> None:
    first, second = day.orders
    mixed = replace(day, orders=[first], done=[replace(second, status="filled")])
    assert "1 order filled at once, 1 order waits for the next open" in headline_of(mixed)
    alone = DayReport.from_dict(replace(mixed, orders=[]).to_dict())
    assert alone.done == mixed.done
    page = orders_section(alone)
    assert "No order today" not in page
    assert second.symbol in page
