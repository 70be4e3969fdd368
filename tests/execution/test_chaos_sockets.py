"""The same schedules over real sockets: uvicorn, urllib3 and time-outs that really pass."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from trading_core.execution.chaos import LateFaults, Schedule, Wear, World, play
from trading_core.execution.venue.server import VenueServer

TIMEOUT = 0.25


class SteppingSocket(requests.Session):
    """A session of requests in which each request and each answer is a step."""

    def __init__(self, wear: Wear):
        super().__init__()
        self.wear, self.trust_env = wear, False

    def request(self, method: str, url: str, *given: Any, **named: Any) -> requests.Response:  # type: ignore[override]
        self.wear.step(f"{method} {url.partition('/v2')[2]}")
        answer = super().request(method, url, *given, **named)
        self.wear.step(f"answer {answer.status_code}")
        return answer


class SocketWorld(World):
    """A world whose venue is reached through a port of this machine."""

    def __init__(self, schedule: Schedule):
        super().__init__(schedule)
        assert isinstance(self.faults, LateFaults)
        self.server = VenueServer(self.venue, self.faults, patience=2 * TIMEOUT).start()

    def way(self, wear: Wear) -> dict[str, Any]:
        return {"session": SteppingSocket(wear), "url": self.server.url, "timeout": TIMEOUT}

    def go(self, to: Any) -> None:
        with self.server.lock:
            super().go(to)

    def stop(self) -> None:
        self.server.stop()


@pytest.mark.parametrize("block", range(4))
def test_forty_schedules_over_real_sockets_lose_and_double_nothing(block: int) -> None:
    faults = orders = 0
    for seed in range(1000 + 10 * block, 1010 + 10 * block):
        outcome = play(seed, world_of=SocketWorld)
        assert outcome.ok, (seed, outcome.violations)
        faults, orders = faults + outcome.counts["faults"], orders + outcome.counts["orders"]
    assert faults > 5
    assert orders > 5
