"""Every executor keeps the same promises, whoever takes the orders and however it is reached."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest
from benches import BinanceBench, LocalBench, SocketBench

from trading_core.execution import check_executor
from trading_core.execution.executor import QUESTIONS, ROUGH_QUESTIONS

MOST = len(QUESTIONS) + len(ROUGH_QUESTIONS)


def test_alpaca_keeps_every_promise_in_this_process() -> None:
    report = check_executor(LocalBench)
    assert report.ok, repr(report)
    assert len(report.complaints) == MOST == 20


@pytest.mark.parametrize("bench", [SocketBench, BinanceBench], ids=["alpaca", "binance"])
def test_a_venue_behind_a_socket_keeps_every_promise(bench: Callable[[ExitStack], SocketBench]) -> None:
    with ExitStack() as servers:
        report = check_executor(lambda: bench(servers))
    assert report.ok, repr(report)
    assert len(report.complaints) == MOST
