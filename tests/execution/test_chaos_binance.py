"""The same bad days through ccxt, at an exchange that forgets ids, refuses old requests and takes its fee in coin."""

from __future__ import annotations

from collections import Counter

import pytest
from chaos_binance import play_at_binance


@pytest.mark.parametrize("block", range(3))
def test_sixty_bad_days_at_binance_lose_and_double_nothing(block: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(20 * block, 20 * block + 20):
        outcome = play_at_binance(seed)
        assert outcome.ok, (seed, outcome.violations)
        seen.update(outcome.counts)
    assert seen["faults"] > 20
    assert seen["fills"] > seen["orders"] > 20
    assert seen["killed"] > 3
    assert seen["TimeoutError"] + seen["VenueUnreachable"] > 5


def test_a_seed_at_binance_replays_step_by_step() -> None:
    assert play_at_binance(6).log == play_at_binance(6).log
