"""Faults strike as the seed says, again and again; in process they cost no time, and what is under way arrives late."""

from __future__ import annotations

import pickle
import time
from itertools import pairwise

import pandas as pd
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from wire import HEADERS, fresh, order

from trading_core.errors import ConfigError
from trading_core.execution.venue import route
from trading_core.execution.venue.faults import (
    CALL_FAULTS,
    DEFAULT,
    KINDS,
    STREAM_FAULTS,
    EventLine,
    Fault,
    Faults,
    Force,
    RateError,
    checked_rates,
)
from trading_core.execution.venue.line import Call, Line, Reply
from trading_core.execution.venue.local import local_session

CALLS = [("GET", "/v2/account"), ("POST", "/v2/orders"), ("DELETE", "/v2/orders/1"), ("GET", "/v2/orders")]


def post(client_id: str, **more: str) -> Call:
    return Call("POST", "/v2/orders", {}, order(client_id, **more))


def look(client_id: str) -> Call:
    return Call("GET", "/v2/orders:by_client_order_id", {"client_order_id": client_id}, None)


def drawn(faults: Faults, calls: int = 400) -> list[Fault | None]:
    return [faults.next(*CALLS[n % len(CALLS)]) for n in range(calls)]


@given(st.integers())
def test_a_seed_replays_exactly(seed: int) -> None:
    assert drawn(Faults(seed)) == drawn(Faults(seed))
    assert Faults(seed).skew == Faults(seed).skew


def test_two_seeds_are_two_days() -> None:
    assert drawn(Faults(1)) != drawn(Faults(2))


def test_the_default_day_strikes_every_kind_of_call_fault() -> None:
    kinds = {fault.kind for seed in range(5) for fault in drawn(Faults(seed)) if fault}
    assert kinds == set(CALL_FAULTS)


def test_a_forced_fault_shifts_nothing_that_comes_later() -> None:
    plain, forced = drawn(Faults(3)), drawn(Faults(3, script=[Force("reset", nth=5, method="POST")]))
    differing = [n for n in range(400) if plain[n] != forced[n]]
    assert differing == [17]  # the fifth POST
    assert forced[17] is not None
    assert forced[17].kind == "reset"


def test_rates_of_zero_shift_nothing_of_the_other_kinds() -> None:
    both = Faults(3, {"drop_request": 0.2, "truncated_json": 0.2})
    one = Faults(3, {"drop_request": 0.2})
    keep = [fault if fault and fault.kind == "drop_request" else None for fault in drawn(both)]
    assert keep == drawn(one)


def test_orders_draw_from_a_generator_of_their_own() -> None:
    alone, between = Faults(4), Faults(4)
    fates = [alone.next_order("POST", "/v2/orders") for _ in range(200)]
    mixed = []
    for _ in range(200):
        between.next("GET", "/v2/account")
        mixed.append(between.next_order("POST", "/v2/orders"))
    assert mixed == fates
    assert set(fates) == {"", "late_reject", "partial_then_cancel"}


def test_after_quiet_nothing_new_goes_wrong_and_what_is_under_way_arrives() -> None:
    venue = fresh()
    line = Line(venue, Faults(1, dict.fromkeys(CALL_FAULTS, 0.1), [Force("delay", method="POST", after=2)]))
    assert isinstance(line.carry(post("a")), Fault)
    assert line.faults is not None
    line.faults.quiet()
    replies = [line.carry(look("a")) for _ in range(4)]
    assert [reply.status for reply in replies if isinstance(reply, Reply)] == [404, 404, 200, 200]


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_delayed_request_arrives_after_so_many_later_calls(after: int) -> None:
    venue = fresh()
    line = Line(venue, Faults(1, {}, [Force("delay", method="POST", after=after)]))
    line.carry(post("a"))
    seen = [line.carry(look("a")) for _ in range(5)]
    assert [reply.status for reply in seen if isinstance(reply, Reply)] == [404] * after + [200] * (5 - after)


def test_a_delayed_request_survives_the_client_that_sent_it() -> None:
    venue, faults = fresh(), Faults(1, {}, [Force("delay", method="POST", after=0)])
    with pytest.raises(requests.ReadTimeout):
        local_session(venue, faults).post("http://venue/v2/orders", json=order("a"), headers=HEADERS)
    after_restart = local_session(venue, faults)
    after_restart.get("http://venue/v2/clock", headers=HEADERS)
    assert [o.client_id for o in venue.orders] == ["a"]


def test_a_delayed_order_that_was_sent_again_meanwhile_is_still_one_order() -> None:
    venue = fresh()
    line = Line(venue, Faults(1, {}, [Force("delay", method="POST", after=2)]))
    line.carry(post("a"))
    again = line.carry(post("a"))
    assert isinstance(again, Reply)
    assert again.status == 200
    line.drain()
    assert len(venue.orders) == 1


@pytest.mark.parametrize("kind", sorted(CALL_FAULTS))
@pytest.mark.parametrize("arrives", [True, False])
def test_every_call_fault_does_to_the_venue_what_its_name_says(kind: str, arrives: bool) -> None:
    venue = fresh()
    line = Line(venue, Faults(1, {}, [Force(kind, arrives=arrives, after=9)]))
    reply = line.carry(post("a"))
    known = CALL_FAULTS[kind]
    assert ("a" in venue.by_client) is (arrives if known is None else known)
    statuses = {"too_many": 429, "error_500": 500, "bad_gateway_html": 502, "unavailable": 503, "accepted_504": 504}
    assert (reply.status if isinstance(reply, Reply) else None) == statuses.get(
        kind, 200 if kind == "truncated_json" else None
    )


def test_a_refusal_for_too_many_calls_says_when_to_come_back() -> None:
    venue = fresh()
    reply = Line(venue, Faults(1, {}, [Force("too_many")])).carry(post("a"))
    assert isinstance(reply, Reply)
    assert int(reply.headers["X-RateLimit-Reset"]) > venue.clock().timestamp()
    assert reply.headers["X-RateLimit-Remaining"] == "0"


def test_a_gateways_page_is_html_and_a_cut_answer_is_no_json() -> None:
    session = local_session(fresh(), Faults(1, {}, [Force("bad_gateway_html"), Force("truncated_json", nth=2)]))
    page = session.get("http://venue/v2/account", headers=HEADERS)
    assert page.headers["Content-Type"] == "text/html"
    assert page.text.startswith("<html>")
    cut = session.get("http://venue/v2/account", headers=HEADERS)
    assert cut.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        cut.json()


def test_the_clients_exception_does_not_tell_whether_the_request_arrived() -> None:
    texts = set()
    for kind in ("drop_request", "drop_answer", "delay"):
        with pytest.raises(requests.ReadTimeout) as lost:
            local_session(fresh(), Faults(1, {}, [Force(kind)])).get(
                "http://venue/v2/account", headers=HEADERS, timeout=7
            )
        texts.add(str(lost.value))
    assert len(texts) == 1


def test_no_wall_time_passes_in_process() -> None:
    session = local_session(fresh(), Faults(1, {"drop_answer": 1.0}))
    began = time.monotonic()
    for _ in range(50):
        with pytest.raises(requests.ReadTimeout):
            session.get("http://venue/v2/account", headers=HEADERS, timeout=60)
    assert time.monotonic() - began < 5


def test_without_the_key_nothing_is_told_and_no_fault_is_used_up() -> None:
    venue, faults = fresh(), Faults(1, {}, [Force("reset")])
    answer = local_session(venue, faults).get("http://venue/v2/account")
    assert answer.status_code == 401
    assert faults.calls == 0


def test_queries_and_coded_paths_arrive_as_they_were_meant() -> None:
    session = local_session(fresh())
    session.post(
        "http://venue/v2/orders", json=order("a b", symbol="COIN/USD", qty="0.1", time_in_force="gtc"), headers=HEADERS
    )
    found = session.get("http://venue/v2/orders:by_client_order_id", params={"client_order_id": "a b"}, headers=HEADERS)
    assert found.json()["symbol"] == "COIN/USD"


def test_half_of_an_order_is_filled_and_the_rest_canceled() -> None:
    venue = fresh()
    Line(venue, Faults(1, {}, [Force("partial_then_cancel", method="POST")])).carry(post("a"))
    made = venue.by_client["a"]
    assert (made.status, made.filled) == ("canceled", 5)
    assert [event.name for event in venue.step()] == ["new", "partial_fill", "canceled"]
    assert venue.held["ACME"].quantity == 5


def test_an_accepted_order_is_rejected_late_and_never_fills() -> None:
    venue = fresh("2024-03-27 21:00")
    line = Line(venue, Faults(1, {}, [Force("late_reject", method="POST")]))
    accepted = line.carry(post("a"))
    assert isinstance(accepted, Reply)
    assert b'"accepted"' in accepted.content
    venue.clock.advance("2024-03-28 15:00")  # type: ignore[attr-defined]
    later = line.carry(look("a"))
    assert isinstance(later, Reply)
    assert b'"status":"rejected"' in later.content
    assert not venue.held


def test_the_fate_of_a_refused_order_does_not_fall_on_the_next_one() -> None:
    venue = fresh()
    line = Line(venue, Faults(1, {}, [Force("late_reject", nth=1)]))
    refused = line.carry(post("a", qty="0"))
    assert isinstance(refused, Reply)
    assert refused.status == 422
    line.carry(post("b"))
    assert venue.by_client["b"].status == "filled"


def test_a_venue_may_live_in_another_minute_than_we() -> None:
    faults = Faults(1, {}, [Force("clock_skew", seconds=-90)])
    venue = fresh()
    venue.clock, ours = faults.clock(venue.clock), venue.clock()
    answer = route(venue, "GET", "/v2/clock")
    assert venue.clock() == ours - pd.Timedelta(seconds=90)
    told = local_session(venue, faults).get("http://venue/v2/clock", headers=HEADERS).headers["Date"]
    assert pd.Timestamp(told) == venue.clock().floor("s")
    assert answer.status == 200


@pytest.mark.parametrize("kind", STREAM_FAULTS)
def test_each_stream_fault_strikes_where_it_was_forced(kind: str) -> None:
    line = Faults(1, {}, [Force(kind, nth=2)]).line()
    told = [event for number in range(1, 6) for event in line.deliver(number)] + line.rest()
    wanted = {
        "duplicate": [1, 2, 2, 3, 4, 5],
        "reorder": [1, 3, 2, 4, 5],
        "replay": [1, 2, 1, 3, 4, 5],
        "gap": [1, 3, 4, 5],
        "silence": [1],
    }
    assert told == wanted[kind]


def test_a_new_connection_replays_what_was_told_on_the_old_one() -> None:
    faults = Faults(1, {}, [Force("replay", nth=3)])
    old, new = faults.line(), faults.line()
    assert [old.deliver(n) for n in (1, 2)] == [[1], [2]]
    assert set(new.deliver(3)) > {3}


def test_events_are_lost_or_doubled_but_never_invented() -> None:
    for seed in range(30):
        line = EventLine(Faults(seed, dict.fromkeys(STREAM_FAULTS, 0.1)), 1, [])
        for number in range(100):
            assert all(told <= number for told in line.deliver(number))


def test_silence_lasts_until_the_connection_is_made_anew() -> None:
    faults = Faults(1, {}, [Force("silence")])
    assert [faults.line().deliver(1), faults.line().deliver(2)] == [[], [2]]


@pytest.mark.parametrize(
    ("rates", "words"),
    [({"drop_anser": 0.1}, "Did you mean"), ({"reset": -0.1}, "0 or more"), ({"gap": 1.5}, "at most 1")],
)
def test_wrong_rates_are_told(rates: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Faults(1, rates)


def test_an_unknown_kind_in_a_script_is_told() -> None:
    with pytest.raises(ConfigError, match="explosion"):
        Faults(1, {}, [Force("explosion")])


def test_the_error_of_rates_survives_pickling() -> None:
    error = RateError("a call", 1.5)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_default_rates_name_every_kind() -> None:
    assert set(checked_rates(DEFAULT)) == set(KINDS)


def test_a_schedule_of_calls_gives_the_same_replies_again() -> None:
    def run() -> list[object]:
        venue = fresh()
        line = Line(venue, Faults(11, {**DEFAULT, "drop_answer": 0.1, "delay": 0.1}))
        seen: list[object] = [line.carry(post(f"{n}") if n % 3 else look(f"{n - 1}")) for n in range(120)]
        line.drain()
        return [*seen, sorted(venue.by_client), venue.cash]

    first, second = run(), run()
    assert first == second
    assert any(isinstance(one, Fault) for one in first)
    assert all(a is not b for a, b in pairwise(first[:3]))
