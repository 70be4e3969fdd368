"""Killed anywhere and started again, a cycle comes to the undisturbed book: no order twice, none lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_market import DAYS, PANEL, Killed, RemoteVenue, book_of, cycle, day, undisturbed
from sqlalchemy import event

from trading_core.ledger import TOKEN_VARIABLE, AccountLockedError, Ledger, StaleTokenError, account_lock
from trading_core.model import OrderStatus

BEFORE, BUSY, AFTER = (
    day("2024-03-27"),
    day("2024-03-28"),
    day("2024-04-01"),
)  # Wednesday, Maundy Thursday, Easter Monday
FORK = multiprocessing.get_context("fork")


class Bomb:
    """Counts a ledger's statements and commits, and goes off at one of them."""

    def __init__(self, ledger: Ledger, at: int | None, blow: Callable[[], None]):
        self.count, self.at, self.blow = 0, at, blow
        event.listen(ledger.engine, "before_cursor_execute", lambda *_: self.tick())
        event.listen(ledger.engine, "commit", lambda *_: self.tick())

    def tick(self) -> None:
        self.count += 1
        if self.count == self.at:
            self.blow()


def raise_killed() -> None:
    raise Killed


def statements(until: Any) -> int:
    """How many places there are to die in the cycle of `until`, after an undisturbed Wednesday."""
    ledger = undisturbed(BEFORE)
    bomb = Bomb(ledger, None, raise_killed)
    cycle(ledger, until)
    return bomb.count


BUSY_STATEMENTS = statements(BUSY)


def test_the_busy_day_is_busy() -> None:
    ledger = undisturbed(BUSY)
    today = [fill for fill in ledger.fills() if fill.day == BUSY]
    assert today
    assert {order.side for order in ledger.intents("daily", BUSY)}
    assert len(ledger.intents("daily", BUSY)) >= 2
    assert BUSY_STATEMENTS > 40


def test_killed_at_every_statement_and_started_again_the_book_is_the_same() -> None:
    expected = book_of(undisturbed(BUSY))
    for at in range(1, BUSY_STATEMENTS + 1):
        ledger = undisturbed(BEFORE)
        bomb = Bomb(ledger, at, raise_killed)
        with pytest.raises(Killed):
            cycle(ledger, BUSY)
        bomb.at = None
        report = cycle(ledger, BUSY)
        assert book_of(ledger) == expected, f"killed at statement {at}"
        assert not report.missed_days


def test_killed_twice_in_a_row_the_book_is_the_same() -> None:
    expected = book_of(undisturbed(BUSY))
    for first in range(3, BUSY_STATEMENTS, 11):
        for second in range(2, 30, 9):
            ledger = undisturbed(BEFORE)
            bomb = Bomb(ledger, first, raise_killed)
            for at in (first, second):
                bomb.count, bomb.at = 0, at
                with suppress(Killed):  # a resumed cycle may be done before the second kill
                    cycle(ledger, BUSY)
            bomb.at = None
            cycle(ledger, BUSY)
            assert book_of(ledger) == expected, (first, second)


def test_killed_on_thursday_and_started_on_good_friday_the_shares_are_bought_on_monday_all_the_same() -> None:
    planned = {o.client_id for o in undisturbed(BUSY).intents("daily", BUSY) if o.symbol != "COIN/USD"}
    assert planned == {f.client_id for f in undisturbed(AFTER).fills() if f.day == AFTER and f.symbol != "COIN/USD"}
    assert planned
    for at in range(1, BUSY_STATEMENTS + 1, 3):
        ledger = undisturbed(BEFORE)
        bomb = Bomb(ledger, at, raise_killed)
        with pytest.raises(Killed):
            cycle(ledger, BUSY)
        bomb.at = None
        decided = ledger.cycle("daily", BUSY) is not None
        for today in DAYS[(DAYS > BUSY) & (DAYS <= AFTER)]:
            cycle(ledger, today)
        if decided:
            assert planned == {f.client_id for f in ledger.fills() if f.day == AFTER and f.symbol != "COIN/USD"}
        assert ledger.unsent() == []
        assert ledger.cycles()["status"].unique().tolist() == ["done"]
        assert len({fill.client_id for fill in ledger.fills()}) == len(ledger.fills())


def test_a_purchase_whose_market_has_opened_meanwhile_expires_and_a_sale_is_still_sent() -> None:
    ledger = undisturbed(day("2024-04-02"))
    with pytest.raises(Killed):
        cycle(ledger, day("2024-04-03"), step=lambda name: raise_killed() if name == "send" else None)
    planned = ledger.intents("daily", day("2024-04-03"))
    assert {order.side.value for order in planned} >= {"sell"}
    cycle(ledger, day("2024-04-04"))
    for order in planned:
        status = ledger.order(order.client_id)
        assert status is not None
        assert status.status is (OrderStatus.ACCEPTED if order.whole else OrderStatus.EXPIRED)
    report = cycle(ledger, day("2024-04-05"))
    assert {order.client_id for order in planned if order.whole} <= {fill.client_id for fill in report.fills}


def test_purchases_that_were_never_sent_before_their_markets_opened_are_not_sent_late() -> None:
    ledger = undisturbed(day("2024-04-03"))
    with pytest.raises(Killed):
        cycle(ledger, day("2024-04-04"), step=lambda name: raise_killed() if name == "send" else None)
    planned = ledger.intents("daily", day("2024-04-04"))
    assert {order.side.value for order in planned} == {"buy"}
    assert len(planned) >= 2
    report = cycle(ledger, day("2024-04-05"))
    assert {result.client_id for result in report.unfilled} == {order.client_id for order in planned}
    assert {result.status for result in report.unfilled} == {OrderStatus.EXPIRED}
    assert all("never sent" in result.message for result in report.unfilled)
    later = cycle(ledger, day("2024-04-08"))
    assert not {order.client_id for order in planned} & {fill.client_id for fill in later.fills}


def remote(sent: Counter[str], fault: Callable[[str], None]) -> Callable[..., RemoteVenue]:
    return lambda ledger, panel: RemoteVenue(ledger, panel, sent, fault)


def start_remote() -> Ledger:
    ledger = Ledger("sqlite://", account="small", write=True)
    cycle(ledger, day("2024-03-20"), executor=remote(Counter(), lambda _: None))
    return ledger


@pytest.mark.parametrize("word", ["before", "after"])
@pytest.mark.parametrize("place", [0, 1])
def test_killed_around_a_send_a_remote_venue_gets_each_order_once(word: str, place: int) -> None:
    sent: Counter[str] = Counter()
    seen: list[str] = []

    def fault(what: str) -> None:
        seen.append(what)
        if [w for w in seen if w.startswith(word)][place:] == [what]:
            raise Killed

    ledger = start_remote()
    with pytest.raises(Killed):
        cycle(ledger, day("2024-03-21"), executor=remote(sent, fault))
    cycle(ledger, day("2024-03-21"), executor=remote(sent, lambda _: None))
    assert set(sent.values()) == {1}
    assert set(sent) == {order.client_id for order in ledger.pending()}


def test_an_answer_that_is_lost_leaves_the_cycle_open_until_the_next_run_has_asked() -> None:
    sent: Counter[str] = Counter()

    def cut(what: str) -> None:
        if what.startswith("after"):
            raise TimeoutError("no answer")

    ledger = start_remote()
    report = cycle(ledger, day("2024-03-21"), executor=remote(sent, cut))
    assert {result.status for result in report.results} == {OrderStatus.UNKNOWN}
    assert ledger.last_cycle().status == "sent"  # type: ignore[union-attr]
    again = cycle(ledger, day("2024-03-21"), executor=remote(sent, lambda _: None))
    assert {result.status for result in again.results} == {OrderStatus.ACCEPTED}
    assert ledger.last_cycle().status == "done"  # type: ignore[union-attr]
    assert set(sent.values()) == {1}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kills=st.lists(st.integers(1, 60), min_size=1, max_size=6))
def test_a_week_with_a_kill_every_now_and_then_is_a_week_like_any_other(kills: list[int]) -> None:
    ledger = undisturbed(BEFORE)
    bomb = Bomb(ledger, None, raise_killed)
    for number, today in enumerate(DAYS[(DAYS > BEFORE) & (DAYS <= AFTER)]):
        bomb.count, bomb.at = 0, kills[number % len(kills)]
        try:
            cycle(ledger, today)
        except Killed:
            bomb.at = None
            cycle(ledger, today)
    bomb.at = None
    assert book_of(ledger) == book_of(undisturbed(AFTER))


# Real processes -------------------------------------------------------------------------------------------------------


def _die_at(url: Path, at: int, how: str) -> None:
    ledger = Ledger(url, account="small", write=True)
    Bomb(ledger, at, (lambda: os._exit(9)) if how == "exit" else (lambda: os.kill(os.getpid(), signal.SIGKILL)))
    cycle(ledger, BUSY)


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_a_process_that_really_dies_leaves_a_book_that_the_next_one_finishes(tmp_path: Path, how: str) -> None:
    expected = book_of(undisturbed(BUSY))
    for at in range(5, BUSY_STATEMENTS, BUSY_STATEMENTS // 6):
        url = tmp_path / f"{at}.db"
        undisturbed(BEFORE, url).close()
        child = FORK.Process(target=_die_at, args=(url, at, how))
        child.start()
        child.join(60)
        assert child.exitcode == (9 if how == "exit" else -signal.SIGKILL)
        with Ledger.open(url, "small") as ledger:  # the dead process's lock is free
            cycle(ledger, BUSY)
            assert book_of(ledger) == expected, f"died at statement {at}"


def _hold(url: Path, ready: Event, leave: Event) -> None:
    with Ledger.open(url, "small"):
        ready.set()
        leave.wait(30)


def test_a_second_process_is_turned_away_and_told_by_whom(tmp_path: Path) -> None:
    url = tmp_path / "ledger.db"
    undisturbed(BEFORE, url).close()
    ready, leave = FORK.Event(), FORK.Event()
    child = FORK.Process(target=_hold, args=(url, ready, leave))
    child.start()
    assert ready.wait(30)
    with pytest.raises(AccountLockedError, match=f"in use by process {child.pid} since") as refused:
        cycle(url, BUSY)
    assert refused.value.exit_code == 3
    assert book_of(Ledger(url)) == book_of(undisturbed(BEFORE))  # reading is free
    leave.set()
    child.join(30)
    cycle(url, BUSY)
    assert book_of(Ledger(url)) == book_of(undisturbed(BUSY))


def _race(url: Path, go: Event, answers: Any) -> None:
    go.wait(30)
    try:
        cycle(url, BUSY)
        answers.put(0)
    except AccountLockedError as refused:
        answers.put(refused.exit_code)


def test_of_several_processes_at_once_one_trades(tmp_path: Path) -> None:
    url = tmp_path / "ledger.db"
    undisturbed(BEFORE, url).close()
    go, answers = FORK.Event(), FORK.Queue()
    children = [FORK.Process(target=_race, args=(url, go, answers)) for _ in range(4)]
    for child in children:
        child.start()
    go.set()
    said = sorted(answers.get(timeout=60) for _ in children)
    for child in children:
        child.join(30)
    assert said[0] == 0
    assert set(said) <= {0, 3}
    assert book_of(Ledger(url)) == book_of(undisturbed(BUSY))


def _kernel(url: Path, token: str, started: Event, go: Event, answers: Any) -> None:
    os.environ[TOKEN_VARIABLE] = token
    try:
        with Ledger.open(url, "small") as ledger:
            started.set()
            go.wait(30)
            cycle(ledger, BUSY)
        answers.put("done")
    except (StaleTokenError, AccountLockedError) as refused:
        answers.put(type(refused).__name__)


def test_a_kernel_with_the_token_trades_while_its_parent_holds_the_lock(tmp_path: Path) -> None:
    url = tmp_path / "ledger.db"
    undisturbed(BEFORE, url).close()
    started, go, answers = FORK.Event(), FORK.Event(), FORK.Queue()
    with account_lock(url, "small") as lock:
        child = FORK.Process(target=_kernel, args=(url, lock.token, started, go, answers))
        child.start()
        go.set()
        assert answers.get(timeout=60) == "done"
        child.join(30)
    assert book_of(Ledger(url)) == book_of(undisturbed(BUSY))


def test_a_kernel_that_outlives_its_parent_writes_nothing_more(tmp_path: Path) -> None:
    url = tmp_path / "ledger.db"
    undisturbed(BEFORE, url).close()
    started, go, answers = FORK.Event(), FORK.Event(), FORK.Queue()
    with account_lock(url, "small") as lock:
        token = lock.token
        child = FORK.Process(target=_kernel, args=(url, token, started, go, answers))
        child.start()
        assert started.wait(30)
    time.sleep(0.01)
    go.set()
    assert answers.get(timeout=60) == "StaleTokenError"
    child.join(30)
    assert book_of(Ledger(url)) == book_of(undisturbed(BEFORE))
    with account_lock(url, "small"):  # another run has the account now
        late = FORK.Process(target=_kernel, args=(url, token, started, go, answers))
        late.start()
        assert answers.get(timeout=60) == "AccountLockedError"
        late.join(30)


def test_the_panel_of_these_tests_has_closed_days() -> None:
    assert not PANEL.observed.loc["2024-03-29", ["ACME", "BOLT"]].any()
