"""Every executor keeps the same promises, whoever takes the orders and however it is reached."""

from __future__ import annotations

from benches import LocalBench

from trading_core.execution import check_executor


def test_alpaca_keeps_every_promise_in_this_process() -> None:
    report = check_executor(LocalBench)
    assert report.ok, repr(report)
    assert len(report.complaints) == 20
