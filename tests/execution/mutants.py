"""Journals and executors with one mistake each; the chaos schedules must catch every one of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from trading_core.execution.alpaca import AlpacaExecutor
from trading_core.execution.journal import FEED, Journal
from trading_core.execution.router import plan_record
from trading_core.ledger import AccountLock
from trading_core.model import Fill, OrderRequest, OrderResult, OrderStatus
from trading_core.portfolio import Plan

UNKNOWN, REJECTED = OrderStatus.UNKNOWN, OrderStatus.REJECTED


class FreshId(Journal):
    """No answer? Again, under another id."""

    def _submit(self, order: OrderRequest) -> OrderResult:
        said = super()._submit(order)
        if said.status is UNKNOWN:
            again = super()._submit(replace(order, client_id=f"{order.client_id}-2"))
            return replace(again, client_id=order.client_id)
        return said


class BelievesNotFound(Journal):
    """The venue has never heard of it, so it never was, and never will be."""

    def look(self, known: OrderResult, *given: Any, **named: Any) -> OrderResult | None:
        found = super().look(known, *given, **named)
        if found is None and known.status is UNKNOWN:
            return self.record(replace(known, status=REJECTED, message="not found"))
        return found


class ServerErrorIsFinal(Journal):
    """An error is an error: 500, 502, 503, 504 are taken for a no."""

    def _submit(self, order: OrderRequest) -> OrderResult:
        said = super()._submit(order)
        if said.status is UNKNOWN and "HTTP 5" in said.message:
            return replace(said, status=REJECTED)
        return said


class DuplicateIsNo(Journal):
    """The id is taken? Then the order was refused."""

    def __init__(self, executor: AlpacaExecutor, *given: Any, **named: Any):
        super().__init__(executor, *given, **named)

        def after_no(client_id: str, no: Any) -> OrderResult:
            return OrderResult(client_id, REJECTED, venue_id="refused", message=no.said.message)  # for good

        executor._after_no = after_no  # type: ignore[method-assign]


class WritesAfterwards(Journal):
    """The plan goes out first and is written down when the answers are there."""

    def route(self, plan: Plan, *, equity: Any, cash: Any, job: str = "manual", **named: Any) -> list[OrderResult]:
        results = [self._submit(order) for order in plan.orders]
        self.ledger.store_plan(
            job, plan.day, orders=plan.orders, plan=plan_record(plan), signals={}, equity=equity, cash=cash
        )
        return [self.record(result) for result in results]


class OrderLevelFills(Journal):
    """An order says how much of it has filled; each time it says so, that is a fill."""

    def sync(self) -> list[Fill]:
        fills, newer = self.executor.fills_after(self.ledger.cursor(FEED))
        last: dict[str, Fill] = {}
        for fill in fills:
            before = last.get(fill.client_id)
            whole = fill if before is None else replace(fill, quantity=before.quantity + fill.quantity)
            last[fill.client_id] = whole
        booked = [fill for fill in self.ledger.fills() if fill.client_id in last]
        counted = []
        for client_id, fill in last.items():
            earlier = sum(
                (f.quantity for f in booked if f.client_id == client_id and f.side is fill.side), 0 * fill.quantity
            )
            counted.append(replace(fill, quantity=fill.quantity + earlier))
        ours, _ = self.attributed(counted) if counted else ([], [])
        return self.ledger.book(ours, FEED, newer)


class CursorFirst(Journal):
    """Notes how far it has read, then books what it read."""

    def sync(self) -> list[Fill]:
        fills, newer = self.executor.fills_after(self.ledger.cursor(FEED))
        self.ledger.book([], FEED, newer)
        ours, _ = self.attributed(fills) if fills else ([], [])
        return self.ledger.add_fills(ours)


class NoLock(AccountLock):
    """A lock that everybody gets."""

    held = False

    def acquire(self) -> NoLock:
        self.held = True  # type: ignore[misc]
        return self

    def release(self) -> None:
        self.held = False  # type: ignore[misc]


def no_lock(place: str | Path, account: str) -> NoLock:
    return NoLock(account)


class TruncatesQuantities(Journal):
    """Fills are booked with eight decimals, which leaves dust."""

    def attributed(self, fills: Any) -> tuple[list[Fill], list[Fill]]:
        ours, others = super().attributed(fills)
        return [replace(fill, quantity=round(fill.quantity, 5)) for fill in ours], others


class CountsTwice(Journal):
    """Fills get ids of our own making, so that a page read twice is booked twice."""

    read = 0

    def attributed(self, fills: Any) -> tuple[list[Fill], list[Fill]]:
        ours, others = super().attributed(fills)
        self.read += 1
        return [replace(fill, venue_id=f"{n}-{self.read}-{fill.venue_id}") for n, fill in enumerate(ours)], others


class GivesUpAtOnce(Journal):
    """A purchase that may still be on its way is declared expired."""

    def may_arrive(self, client_id: str) -> bool:
        return False


MUTANTS: dict[str, dict[str, Any]] = {
    "a fresh id for each try": {"journal_factory": FreshId},
    "gives up on 404": {"journal_factory": BelievesNotFound},
    "5xx is final": {"journal_factory": ServerErrorIsFinal},
    "a duplicate is a rejection": {"journal_factory": DuplicateIsNo},
    "the plan is not durable": {"journal_factory": WritesAfterwards},
    "fills by order": {"journal_factory": OrderLevelFills},
    "cursor first": {"journal_factory": CursorFirst},
    "missing lock": {"lock": no_lock},
    "quantities cut": {"journal_factory": TruncatesQuantities},
    "fills under own ids": {"journal_factory": CountsTwice},
}
