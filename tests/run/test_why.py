"""Every symbol and every day has an answer, and people's commands do what they say."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pandas as pd
import pytest
from small_market import COSTS, PANEL, STRATEGIES, cycle, day

from trading_core import cli
from trading_core.config import ExecutionSettings, load_config
from trading_core.execution import gate_for
from trading_core.ledger import Ledger
from trading_core.portfolio import RiskLimits
from trading_core.run.context import Run, as_of_day, load_market
from trading_core.run.explaining import Why, why

DAYS = PANEL.days[(PANEL.days >= "2024-03-25") & (PANEL.days <= "2024-04-10")]


@pytest.fixture(scope="module")
def books() -> Ledger:
    "An account of two weeks, whose limits are felt."
    ledger = Ledger("sqlite://", account="small", write=True)
    for as_of in DAYS:
        cycle(ledger, as_of, panel=PANEL.until(as_of), limits=RiskLimits(max_weight=0.2, max_positions=2))
    return ledger


def asked(ledger: Ledger, symbol: str, on: object, **more: object) -> Why:
    given = {"panel": PANEL, "strategies": STRATEGIES, "ledger": ledger} | more
    return why(symbol, pd.Timestamp(on), **given)  # type: ignore[arg-type]


def test_every_symbol_has_an_answer_on_every_day_and_orders_are_never_overlooked(books: Ledger) -> None:
    orders = books.orders()
    ordered = {(row.symbol, row.as_of) for row in orders.itertuples()}
    filled = {(f.symbol, f.day) for f in books.fills()}
    for symbol in PANEL.symbols:
        for on in pd.date_range("2024-03-16", "2024-04-16", tz="UTC"):
            answer = asked(books, symbol, on)
            assert answer.verdict
            assert answer.verdict.startswith("It was ordered") is ((symbol, on) in ordered)
            told_fills = {step.facts["day"] for step in answer.steps if step.kind == "fill"}
            assert (f"{on:%Y-%m-%d}" in told_fills) is ((symbol, on) in filled)
            json.dumps(answer.to_dict())


def test_on_a_day_without_a_session_an_order_that_waits_for_the_next_one_is_told_first() -> None:
    "Whoever asks on a Saturday about a share that will be sold on Monday must not read that nothing was ordered."
    ledger = Ledger("sqlite://", account="small", write=True)
    days = PANEL.days[(PANEL.days >= "2024-03-25") & (PANEL.days <= "2024-04-06")]
    for as_of in days:
        cycle(ledger, as_of, panel=PANEL.until(as_of))
    shares = [order for order in ledger.pending() if "/" not in order.symbol]
    assert shares
    for order in shares:
        decided = ledger.orders().set_index("client_id").loc[order.client_id, "as_of"]
        answer = asked(ledger, order.symbol, days[-1])
        assert answer.verdict.startswith(f"No order that day, but one still waits: {order.side} ")
        assert f"decided on {decided:%Y-%m-%d}: {order.client_id} is accepted" in answer.verdict
        assert asked(ledger, order.symbol, decided).verdict.startswith("It was ordered")


def test_the_margins_of_every_limit_are_those_of_the_decision(books: Ledger) -> None:
    answer = asked(books, "ACME", "2024-03-28T00:00Z")
    checks = {step.facts["name"]: step.facts for step in answer.steps if step.kind == "check"}
    weight, count = checks["max_weight"], checks["max_positions"]
    assert (weight["ok"], weight["limit"]) == (False, 0.2)
    assert weight["margin"] == pytest.approx(0.2 - weight["value"])
    assert weight["value"] == pytest.approx(0.3, abs=0.01)
    assert count["margin"] == 2 - count["value"]
    refusal = next(step for step in answer.steps if step.kind == "refusal")
    assert "cut from" in refusal.text


def test_signal_and_indicators_are_told_as_they_were_stored(books: Ledger) -> None:
    answer = asked(books, "BOLT", "2024-03-28T00:00Z")
    signals = {s.facts["strategy"]: s.facts for s in answer.steps if s.kind == "signal"}
    assert signals["shares"]["strength"] == 0.6
    assert signals["coins"]["strength"] is None


@pytest.mark.parametrize(
    ("symbol", "on", "said"),
    [
        ("ACME", "2024-03-29", "XNYS was closed; the last one is of 2024-03-28"),
        ("ACMEE", "2024-03-28", "not in the panel, which has 3 symbols. Did you mean ACME?"),
        ("ZZZ", "2024-03-28", "A symbol is added with market.symbols"),
        ("COIN/USD", "2025-01-01", "the data ends on 2024-04-14"),
        ("COIN/USD", "2020-01-01", "its first one is of 2024-03-18"),
        ("COIN/USD", "2024-03-20", "the account's first decision is of 2024-03-25"),
        ("COIN/USD", "2024-04-12", "the account's last decision is of 2024-04-10"),
    ],
)
def test_nothing_happened_for_a_reason(books: Ledger, symbol: str, on: str, said: str) -> None:
    answer = asked(books, symbol, f"{on}T00:00Z")
    assert answer.verdict.startswith("No order")
    assert said in answer.verdict


def test_an_account_without_any_decision_says_so() -> None:
    assert (
        "has not decided anything yet" in asked(Ledger("sqlite://", account="new"), "ACME", "2024-03-28T00:00Z").verdict
    )


def test_a_missed_day_is_told_with_what_would_have_been_said(books: Ledger) -> None:
    ledger = Ledger("sqlite://", account="small", write=True)
    for as_of in ("2024-03-25", "2024-03-30"):
        cycle(ledger, as_of, panel=PANEL.until(day(as_of)))
    answer = asked(ledger, "ACME", "2024-03-28T00:00Z")
    assert "no cycle ran for it" in answer.verdict
    assert any(step.kind == "signal" and step.facts["strength"] == 0.6 for step in answer.steps)


def test_a_position_that_was_kept_is_told_with_its_lines(books: Ledger) -> None:
    held = [(s, on) for on in DAYS for s in PANEL.symbols if asked(books, s, on).verdict.startswith("Held and kept")]
    assert held
    step = next(s for s in asked(books, *held[0]).steps if s.kind == "held")
    assert "stop at" in step.text or "target at" in step.text


def test_a_question_to_a_person_is_part_of_the_answer() -> None:
    ledger = Ledger("sqlite://", account="small", write=True)
    cycle(
        ledger, "2024-03-28", panel=PANEL.until(day("2024-03-28")), costs=COSTS,
        gate=gate_for(ExecutionSettings(approval="manual")),
    )  # fmt: skip
    answer = asked(ledger, "ACME", "2024-03-28T00:00Z")
    assert "waits for approval" in answer.verdict
    assert answer.verdict.startswith("It waits for you: ")
    assert {"approval", "event"} <= {step.kind for step in answer.steps}


SETTINGS = """
[market]
symbols = CUPO, EVOQ, MERL, SYLT, BTC/USD, ETH/USD, ADA/USD
start = 2023-10-02
[execution]
approval = manual
"""


class Desk:
    "The program `trading`, in a folder of its own, on an account in which orders wait."

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]):
        (folder / "settings.ini").write_text(SETTINGS)
        self.config, self.capsys = load_config(folder / "settings.ini", None), capsys
        self.decide("2024-02-16")

    def decide(self, on: str) -> None:
        (self.config.root / "scratch").mkdir(exist_ok=True)
        market = load_market(self.config, as_of_day(on))
        run = Run(self.config, market, run_id=f"{on}-daily-0001", scratch=self.config.root / "scratch")
        run.cycle(dry_run=False)

    def say(self, *arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        captured = self.capsys.readouterr()
        return int(str(ended.value.code)), captured.out + captured.err

    def orders(self) -> dict[str, str]:
        with Ledger(self.config.ledger_url, account=self.config.account) as books:
            table = books.orders()
        return dict(zip(table["symbol"], table["status"], strict=True))

    def digests(self) -> dict[str, str]:
        return {row["symbol"]: row["digest"] for row in json.loads(self.say("approve", "--json")[1])}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    for name in list(os.environ):
        if name.startswith("TRADING_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return Desk(tmp_path, capsys)


def test_approve_lists_accepts_and_refuses_with_its_exit_codes(desk: Desk) -> None:
    assert set(desk.orders().values()) == {"planned"}
    first, second = desk.digests().items()
    code, said = desk.say("approve", first[1])
    assert (code, "is accepted" in said) == (0, True)
    code, said = desk.say("approve", "--refuse", second[1])
    assert (code, "--why" in said) == (2, True)
    code, said = desk.say("approve", "--refuse", second[1], "--why", "no")
    assert (code, "refused: no" in said) == (0, True)
    assert desk.orders() == {first[0]: "accepted", second[0]: "canceled"}
    assert desk.say("approve", first[1])[0] == 2
    assert desk.say("approve", "--all")[0] == 2  # nothing waits, nothing was done
    assert "no order waits" in desk.say("approve")[1]


def test_approve_all_sends_everything_and_the_next_cycle_fills_it(desk: Desk) -> None:
    code, said = desk.say("approve", "--all", "--json")
    assert code == 0
    assert {order["status"] for order in json.loads(said)["orders"]} == {"accepted"}
    desk.decide("2024-02-20")
    assert set(desk.orders().values()) >= {"filled"}


def test_what_is_not_approved_lapses_with_the_next_decision(desk: Desk) -> None:
    symbols = set(desk.orders())
    desk.decide("2024-02-20")
    with Ledger(desk.config.ledger_url, account=desk.config.account) as books:
        table = books.orders()
    first = table[table["as_of"] == "2024-02-16"]
    assert set(first["symbol"]) == symbols
    assert set(first["status"]) == {"expired"}
    assert "decided anew" in first["message"].iloc[0]
    assert not books.fills()
    assert [a.as_of for a in books.approvals("asked")] == [as_of_day("2024-02-20")] * len(desk.digests())
    assert {a.status for a in books.approvals() if a.as_of == as_of_day("2024-02-16")} == {"expired"}


def test_cancel_names_an_order_by_its_id_or_symbol(desk: Desk) -> None:
    desk.say("approve", "--all")
    one, other = desk.orders()
    assert desk.say("cancel", one)[0] == 0
    with Ledger(desk.config.ledger_url, account=desk.config.account) as books:
        client_id = books.pending()[0].client_id
    assert desk.say("cancel", client_id[:14])[0] == 0
    assert desk.orders() == {one: "canceled", other: "canceled"}
    code, said = desk.say("cancel", one)
    assert (code, "not known here" in said) == (2, True)


def test_undo_shows_first_and_acts_only_when_told(desk: Desk) -> None:
    desk.say("approve", "--all")
    desk.decide("2024-02-17")
    before = desk.orders()
    code, said = desk.say("undo", "2024-02-16")
    assert (code, "Nothing was done" in said, desk.orders()) == (0, True, before)
    code, said = desk.say("undo", "2024-02-16", "--yes")
    assert code == 0
    with Ledger(desk.config.ledger_url, account=desk.config.account) as books:
        waiting = books.pending()
    assert {order.reason for order in waiting} <= {"undo"}
    assert desk.say("undo", "2019")[0] == 2


def test_undoing_what_is_undone_says_that_nothing_is_left(desk: Desk) -> None:
    assert desk.say("undo", "2024-02-16", "--yes")[0] == 0
    code, said = desk.say("undo", "2024-02-16", "--yes")
    assert (code, "nothing of it is left to take back" in said) == (0, True)
    assert "canceled: canceled" not in said


def test_why_answers_on_the_command_line(desk: Desk) -> None:
    symbol = next(iter(desk.orders()))
    code, said = desk.say("why", symbol.lower(), "--as-of", "2024-02-16")
    assert (code, said.startswith(f"{symbol} 2024-02-16 (simulated): It waits for you")) == (0, True)
    facts = json.loads(desk.say("why", symbol, "--json")[1])  # the day of the last decision
    assert facts["day"] == "2024-02-16"
    assert desk.say("why", "NOPE", "--as-of", "2024-02-16")[0] == 0
    assert desk.say("why", symbol, "--as-of", "yesterday")[0] == 2


def test_the_monitor_says_that_paper_has_nothing_to_watch(desk: Desk) -> None:
    code, said = desk.say("monitor")
    assert (code, "nothing to watch" in said) == (2, True)
