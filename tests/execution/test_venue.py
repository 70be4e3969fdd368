"""The paper venue keeps Alpaca's rules, tells everything once, and is the same whenever it is asked."""

from __future__ import annotations

import json
import pickle
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from venue_bench import OPEN, PANEL, Desk

from trading_core.execution.venue import Answer, Liquidity, ManualClock, PanelMarket, PaperVenue, authorized, route
from trading_core.execution.venue.account import cash_from
from trading_core.execution.venue.history_rest import values_at
from trading_core.model import AssetClass
from trading_core.portfolio import Costs


def refused(answer: Answer) -> tuple[int, int, str]:
    assert answer.status >= 400, answer
    return answer.status, answer.body["code"], answer.body["message"]


# --- the rules of the table -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "status", "code", "words"),
    [
        ({"symbol": "NOPE"}, 422, 42210000, "not found"),
        ({"qty": "0"}, 422, 42210000, "must be > 0"),
        ({"qty": "1.1234567891"}, 422, 42210000, "9 decimals"),
        ({"qty": None}, 422, 40010001, "required"),
        ({"notional": "10"}, 422, 40010001, "only one"),
        ({"side": "up"}, 422, 40010001, "invalid side"),
        ({"type": "limit"}, 422, 40010001, "require limit_price"),
        ({"type": "limit", "limit_price": "41.085"}, 422, 42210000, "sub-penny increment"),
        ({"type": "limit", "limit_price": "0.50001"}, 422, 42210000, "sub-penny increment"),
        ({"type": "stop", "stop_price": "60.123"}, 422, 42210000, "sub-penny increment"),
        ({"symbol": "COIN/USD", "time_in_force": "day"}, 422, 42210000, "invalid crypto time_in_force"),
        ({"symbol": "COIN/USD", "type": "stop", "stop_price": "9"}, 422, 42210000, "order type"),
        ({"symbol": "COIN/USD", "qty": "0.0000001"}, 403, 40310000, "minimal qty"),
        ({"qty": "0.5", "time_in_force": "gtc"}, 422, 42210000, "must be DAY"),
        ({"qty": None, "notional": "50", "time_in_force": "ioc"}, 422, 42210000, "must be DAY"),
        ({"qty": "0.001"}, 403, 40310000, "minimal amount of order 1"),
        ({"qty": "99999"}, 403, 40310000, "insufficient buying power"),
        ({"side": "sell"}, 403, 40310000, "insufficient qty available"),
        ({"time_in_force": "opg"}, 422, 42210000, "not accepted at this time"),
        ({"extended_hours": True}, 422, 42210000, "DAY limit"),
        ({"order_class": "bracket", "take_profit": {"limit_price": "90"}}, 422, 40010001, "require"),
        ({"order_class": "bracket", "take_profit": {"limit_price": "40"}, "stop_loss": {"stop_price": "30"}}, 422, 42210000, "base_price"),
        ({"client_order_id": "x" * 129}, 422, 40010001, "128"),
    ],
)  # fmt: skip
def test_an_order_against_the_rules_is_refused_as_alpaca_refuses_it(
    asked: dict[str, Any], status: int, code: int, words: str
) -> None:
    desk = Desk()
    said = refused(desk.send(**asked))
    assert said[:2] == (status, code)
    assert words in said[2]
    assert not desk.venue.orders
    assert not desk.venue.events


def test_below_a_dollar_four_decimals_are_taken() -> None:
    assert Desk().send(type="limit", limit_price="0.5001", qty="100").status == 200


def test_a_client_id_is_taken_for_ever() -> None:
    desk = Desk()
    first = desk.send(type="limit", limit_price="40", client_order_id="a").body
    assert refused(desk.send(client_order_id="a"))[:2] == (422, 40010001)
    assert desk.ask("DELETE", f"/v2/orders/{first['id']}").status == 204
    assert refused(desk.send(client_order_id="a"))[1] == 40010001
    assert desk.order("a")["id"] == first["id"]


def test_an_opposite_order_is_a_wash_trade() -> None:
    desk = Desk()
    desk.send()
    resting = desk.send(side="sell", qty="5", type="limit", limit_price="90").body
    answer = desk.send(qty="1")
    assert refused(answer)[:2] == (403, 40310000)
    assert "wash trade" in answer.body["message"]
    assert answer.body["existing_order_id"] == resting["id"]
    assert desk.send("BOLT").status == 200


def test_open_buys_hold_buying_power_back_until_they_are_over() -> None:
    desk = Desk(cash=1000, multiplier=1)
    resting = desk.send(qty="15", type="limit", limit_price="40").body
    assert desk.get("/v2/account")["buying_power"] == "400"
    assert refused(desk.send("BOLT", qty="40"))[1] == 40310000
    desk.ask("DELETE", f"/v2/orders/{resting['id']}")
    assert desk.get("/v2/account")["buying_power"] == "1000"
    assert desk.send("BOLT", qty="40").status == 200


def test_coins_are_bought_with_cash_only_and_shares_on_margin() -> None:
    desk = Desk(cash=1000)
    account = desk.get("/v2/account")
    assert (account["buying_power"], account["non_marginable_buying_power"]) == ("2000", "1000")
    assert refused(desk.send("COIN/USD", qty="3"))[2] == "insufficient buying power"
    assert desk.send(qty="30").status == 200


def test_what_an_open_sale_holds_cannot_be_sold_again() -> None:
    desk = Desk()
    desk.send()
    desk.send(side="sell", qty="8", type="limit", limit_price="90")
    answer = desk.send(side="sell", qty="3")
    assert answer.body["message"] == "insufficient qty available for order (requested: 3, available: 2)"
    assert (answer.body["existing_qty"], answer.body["held_for_orders"]) == ("10", "8")
    assert desk.get("/v2/positions/ACME")["qty_available"] == "2"


# --- time -------------------------------------------------------------------------------------------------------------


def test_orders_of_a_closed_market_fill_at_exactly_the_next_open() -> None:
    desk = Desk("2024-03-28 20:00")  # the evening before Good Friday
    desk.send(client_order_id="a")
    assert desk.order("a")["status"] == "accepted"
    assert desk.to("2024-04-01 13:29") == [("accepted", "a")]
    assert desk.to("2024-04-01 13:30") == [("new", "a"), ("fill", "a")]
    filled = desk.order("a")
    assert Decimal(filled["filled_avg_price"]) == OPEN["04-01"]
    assert filled["filled_at"] == "2024-04-01T13:30:00.000000Z"


def test_coins_trade_on_holidays() -> None:
    desk = Desk("2024-03-29 00:00", costs=Costs(rate=0.0))
    desk.send("COIN/USD", qty="1", client_order_id="c")
    assert Decimal(desk.order("c")["filled_avg_price"]) == OPEN["03-29"] * 8


@pytest.mark.parametrize("symbol", ["ACME", "BOLT"])
def test_every_open_of_the_panel_is_met_to_the_last_digit(symbol: str) -> None:
    desk = Desk("2024-03-18 21:00")
    column = PANEL.symbols.index(symbol)
    for row, day in enumerate(PANEL.days):
        if row and PANEL.real[row, column]:
            assert desk.send(symbol, qty="1", client_order_id=str(row)).body["status"] == "accepted"
            desk.to(f"{day:%Y-%m-%d} 20:00")
            assert desk.venue.activities[-1]["price"] == f"{PANEL.arrays['open'][row, column]:g}"


def test_a_day_order_expires_with_its_session_and_one_good_till_canceled_stays() -> None:
    desk = Desk()
    desk.send(type="limit", limit_price="40", client_order_id="day")
    desk.send(type="limit", limit_price="40", time_in_force="gtc", client_order_id="gtc")
    assert desk.to("2024-03-25 19:59") == [("new", "day"), ("new", "gtc")]
    assert desk.to("2024-03-25 20:00") == [("expired", "day")]
    assert desk.to("2024-04-10 20:00") == []
    assert desk.order("day")["expired_at"] == "2024-03-25T20:00:00.000000Z"


def test_immediate_orders_fill_or_are_canceled_at_once() -> None:
    desk = Desk()
    desk.send(type="limit", limit_price="40", time_in_force="ioc", client_order_id="no")
    desk.send(type="limit", limit_price="90", time_in_force="ioc", client_order_id="yes")
    assert desk.to("2024-03-25 15:00") == [("new", "no"), ("canceled", "no"), ("new", "yes"), ("fill", "yes")]


def test_orders_for_the_auctions_meet_the_open_and_the_close() -> None:
    desk = Desk("2024-03-25 23:30")
    desk.send(time_in_force="opg", client_order_id="open")
    desk.send("BOLT", time_in_force="cls", client_order_id="close")
    desk.send(type="limit", limit_price="40", time_in_force="opg", client_order_id="cheap")
    desk.to("2024-03-26 21:00")
    assert Decimal(desk.order("open")["filled_avg_price"]) == OPEN["03-26"]
    assert Decimal(desk.order("close")["filled_avg_price"]) == Decimal(OPEN["03-26"] + 1) / 4
    assert desk.order("close")["filled_at"] == "2024-03-26T20:00:00.000000Z"
    assert desk.order("cheap")["status"] == "canceled"


def test_a_stop_is_never_lost_over_a_gap() -> None:
    desk = Desk()
    desk.send()
    desk.send(side="sell", type="stop", stop_price="56.20", time_in_force="gtc", client_order_id="stop")
    desk.to("2024-04-12 21:00")
    assert desk.order("stop")["status"] == "filled"
    assert Decimal(desk.order("stop")["filled_avg_price"]) <= Decimal("56.20")


def test_whoever_asks_often_hears_the_same_as_who_asks_once() -> None:
    def week(hours: int) -> tuple[Any, ...]:
        desk = Desk("2024-03-22 14:00", liquidity=Liquidity(seed=3))
        desk.send(
            qty="30",
            order_class="bracket",
            time_in_force="gtc",
            take_profit={"limit_price": "62"},
            stop_loss={"stop_price": "52"},
        )
        desk.send("BOLT", type="trailing_stop", trail_percent="3", time_in_force="gtc")
        desk.send("COIN/USD", qty="2.5", type="limit", limit_price="440")
        told = []
        for moment in pd.date_range("2024-03-22 14:00", "2024-04-05 14:00", freq=f"{hours}h", tz="UTC"):
            desk.clock.advance(moment)
            told += [(e.name, e.order["symbol"], e.facts.get("price"), e.moment // 10**9) for e in desk.venue.step()]
        return told, desk.venue.cash, {symbol: held.quantity for symbol, held in desk.venue.held.items()}

    often, once = week(2), week(336)
    assert often[1:] == once[1:]
    assert [event[:3] for event in often[0]] == [event[:3] for event in once[0]]


# --- brackets and their relatives ---------------------------------------------------------------------------------------


def bracket(desk: Desk, **more: Any) -> list[dict[str, Any]]:
    legs = {"take_profit": {"limit_price": "60"}, "stop_loss": {"stop_price": "54"}}
    sent = desk.send(order_class="bracket", time_in_force="gtc", client_order_id="b", **{**legs, **more})
    assert sent.status == 200, sent
    return [sent.body, *sent.body["legs"]]


def test_a_bracket_sells_once() -> None:
    desk = Desk()
    head, profit, loss = bracket(desk)
    assert [leg["status"] for leg in (profit, loss)] == ["held", "held"]
    desk.to("2024-04-12 21:00")
    told = {
        name: desk.get(f"/v2/orders/{order['id']}")["status"]
        for name, order in (("head", head), ("profit", profit), ("loss", loss))
    }
    assert told == {"head": "filled", "profit": "filled", "loss": "canceled"}
    assert not desk.venue.held


def test_a_bracket_canceled_before_it_fills_takes_its_legs_along() -> None:
    desk = Desk("2024-03-25 21:00")
    head, profit, loss = bracket(desk)
    desk.ask("DELETE", f"/v2/orders/{head['id']}")
    assert {desk.get(f"/v2/orders/{order['id']}")["status"] for order in (head, profit, loss)} == {"canceled"}
    assert not desk.venue.working


def test_a_bracket_filled_in_part_and_canceled_guards_the_part() -> None:
    desk = Desk(liquidity=Liquidity(seed=8, share=0.3))
    head, profit, loss = bracket(desk)
    assert desk.order("b")["status"] == "partially_filled"
    desk.ask("DELETE", f"/v2/orders/{head['id']}")
    filled = desk.order("b")["filled_qty"]
    for leg in (profit, loss):
        now = desk.get(f"/v2/orders/{leg['id']}")
        assert (now["status"], now["qty"]) == ("new", filled)
    assert desk.get("/v2/positions/ACME")["qty_available"] == "0"


def test_one_leg_canceled_cancels_the_other() -> None:
    desk = Desk()
    _, profit, loss = bracket(desk)
    desk.ask("DELETE", f"/v2/orders/{profit['id']}")
    assert desk.get(f"/v2/orders/{loss['id']}")["status"] == "canceled"


def test_the_stop_of_a_bracket_can_be_moved() -> None:
    desk = Desk()
    _, profit, loss = bracket(desk)
    moved = desk.ask("PATCH", f"/v2/orders/{loss['id']}", body={"stop_price": "55.50"})
    assert (moved.status, moved.body["stop_price"], moved.body["qty"]) == (200, "55.5", "10")
    assert desk.get("/v2/positions/ACME")["qty_available"] == "0"
    desk.to("2024-04-12 21:00")
    told = {name: desk.get(f"/v2/orders/{name}")["status"] for name in (profit["id"], loss["id"], moved.body["id"])}
    assert sorted(told.values()) == ["canceled", "filled", "replaced"]
    assert not desk.venue.held


def test_one_cancels_the_other_for_a_holding() -> None:
    desk = Desk()
    desk.send()
    sent = desk.send(
        side="sell",
        type="limit",
        limit_price="60",
        time_in_force="gtc",
        order_class="oco",
        stop_loss={"stop_price": "54"},
    ).body
    assert desk.get("/v2/positions/ACME")["qty_available"] == "0"
    desk.to("2024-04-12 21:00")
    assert desk.get(f"/v2/orders/{sent['id']}")["status"] == "filled"
    assert desk.get(f"/v2/orders/{sent['legs'][0]['id']}")["status"] == "canceled"
    assert not desk.venue.held


def test_nested_lists_show_legs_under_their_head_only() -> None:
    desk = Desk()
    bracket(desk)
    assert [len(order["legs"] or []) for order in desk.get("/v2/orders", status="all", nested="true")] == [2]
    assert [order["legs"] for order in desk.get("/v2/orders", status="all")] == [None, None, None]


# --- replacing, closing -----------------------------------------------------------------------------------------------


def test_a_replaced_order_points_at_its_heir_and_back() -> None:
    desk = Desk()
    old = desk.send(type="limit", limit_price="40", client_order_id="old").body
    new = desk.ask(
        "PATCH", f"/v2/orders/{old['id']}", body={"qty": "4", "limit_price": "41", "client_order_id": "new"}
    ).body
    assert (new["replaces"], new["qty"], new["limit_price"]) == (old["id"], "4", "41")
    assert (desk.order("old")["status"], desk.order("old")["replaced_by"]) == ("replaced", new["id"])
    assert [name for name, _ in desk.to("2024-03-25 15:00")] == ["new", "replaced", "new"]
    assert [order["client_order_id"] for order in desk.get("/v2/orders")] == ["new"]


def test_what_cannot_be_replaced_stays_as_it_was() -> None:
    desk = Desk(cash=1000, multiplier=1)
    old = desk.send(type="limit", limit_price="40", client_order_id="old").body
    assert refused(desk.ask("PATCH", f"/v2/orders/{old['id']}", body={"qty": "1000"}))[2] == "insufficient buying power"
    assert refused(desk.ask("PATCH", f"/v2/orders/{old['id']}", body={"limit_price": "40.001"}))[1] == 42210000
    half = desk.send("BOLT", qty="0.5", type="limit", limit_price="5").body
    assert "fractional" in refused(desk.ask("PATCH", f"/v2/orders/{half['id']}", body={"limit_price": "6"}))[2]
    assert desk.order("old")["status"] == "new"
    assert desk.get("/v2/account")["buying_power"] == "597.5"


def test_a_position_is_closed_whole_in_part_or_by_percentage() -> None:
    desk = Desk()
    desk.send()
    assert desk.ask("DELETE", "/v2/positions/ACME", {"qty": "3"}).body["qty"] == "3"
    assert desk.ask("DELETE", "/v2/positions/ACME", {"percentage": "50"}).body["qty"] == "3"
    assert desk.ask("DELETE", "/v2/positions/ACME").body["qty"] == "4"
    assert refused(desk.ask("DELETE", "/v2/positions/ACME"))[:2] == (404, 40410000)


def test_all_positions_are_closed_and_orders_in_the_way_are_canceled() -> None:
    desk = Desk()
    desk.send()
    desk.send("COIN/USD", qty="1")
    desk.send(side="sell", qty="10", type="limit", limit_price="90")
    said = desk.ask("DELETE", "/v2/positions")
    assert [(one["symbol"], one["status"]) for one in said.body] == [("ACME", 403), ("COINUSD", 200)]
    said = desk.ask("DELETE", "/v2/positions", {"cancel_orders": "true"})
    assert (said.status, [one["status"] for one in said.body]) == (207, [200])
    assert not desk.venue.held
    assert not desk.venue.working


# --- money ------------------------------------------------------------------------------------------------------------


def test_a_coins_fee_is_taken_from_the_coin() -> None:
    desk = Desk()
    desk.send("COIN/USD", qty="2", client_order_id="c")
    position = desk.get("/v2/positions/COINUSD")
    assert (desk.order("c")["filled_qty"], position["qty"]) == ("2", "1.995")
    fee = desk.get("/v2/account/activities/CFEE")[0]
    assert (fee["qty"], fee["net_amount"]) == ("-0.005", "0")
    sold = desk.ask("DELETE", "/v2/positions/COINUSD").body
    assert sold["qty"] == "1.995"
    assert not desk.venue.held
    assert Decimal(desk.get("/v2/account/activities/CFEE")[0]["net_amount"]) < 0  # of a sale it is taken from the money


@pytest.mark.parametrize("in_coin", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_log_account_and_history_agree_to_the_last_digit(seed: int, in_coin: bool) -> None:
    dice = np.random.default_rng(seed)
    costs = Costs(rate=0.001, slippage_bps=3, by_class={AssetClass.CRYPTO: {"rate": 0.0025}})
    desk = Desk("2024-03-18 14:00", costs=costs, liquidity=Liquidity(seed), crypto_fee_in_coin=in_coin)
    for moment in pd.date_range("2024-03-18 14:00", "2024-04-12 14:00", freq="7h", tz="UTC"):
        desk.clock.advance(moment)
        symbol = str(dice.choice(["ACME", "BOLT", "COIN/USD"]))
        side = str(dice.choice(["buy", "sell"]))
        price = float(desk.venue.market.last(symbol, moment.value) or 50)
        more = (
            {} if dice.random() < 0.5 else {"type": "limit", "limit_price": f"{price * dice.uniform(0.97, 1.03):.2f}"}
        )
        desk.send(symbol, side, str(int(dice.integers(1, 9))), **more)
        if dice.random() < 0.2:
            desk.ask("DELETE", "/v2/orders")
    venue = desk.venue
    assert len(venue.activities) > 20
    assert cash_from(venue.activities, venue.opened_with)[-1] == venue.cash
    assert values_at(venue, [venue.at]) == [venue.equity(venue.at)]
    assert values_at(venue, [moment for moment, _, _ in venue.marks]) == [equity for _, equity, _ in venue.marks]
    for order in venue.orders:
        parts = [item for item in venue.activities if item.get("order_id") == order.id]
        assert sum((Decimal(item["qty"]) for item in parts), Decimal(0)) == order.filled
        assert order.quantity is None or order.filled <= order.quantity
        assert [item["type"] for item in parts[:-1]] == ["partial_fill"] * (len(parts) - 1)
    assert all(holding.quantity > 0 for holding in venue.held.values())
    assert desk.get("/v2/account")["equity"] == f"{venue.equity(venue.at).normalize():f}"


def test_activities_are_paged_without_gaps_or_repeats() -> None:
    desk = Desk()
    for number in range(25):
        desk.send(qty="1", client_order_id=str(number))
    for direction in ("asc", "desc"):
        seen: list[str] = []
        while True:
            token = {"page_token": seen[-1]} if seen else {}
            page = desk.get("/v2/account/activities/FILL", direction=direction, page_size="7", **token)
            if not page:
                break
            seen += [item["id"] for item in page]
        assert len(seen) == len(set(seen)) == 25
        assert seen == [a["id"] for a in (desk.venue.activities if direction == "asc" else desk.venue.activities[::-1])]
    assert desk.get("/v2/account/activities", date="2024-03-24") == []
    assert len(desk.get("/v2/account/activities", date="2024-03-25")) == 25
    assert desk.get("/v2/account/activities", after="2024-03-25T15:00:00Z") == []
    assert refused(desk.ask("GET", "/v2/account/activities", {"page_token": "nonsense"}))[0] == 422


# --- keys, limits, faults, memory ---------------------------------------------------------------------------------------


def test_without_the_key_there_is_no_answer() -> None:
    desk = Desk()
    right = {"APCA-API-KEY-ID": desk.venue.key, "APCA-API-SECRET-KEY": desk.venue.secret}
    assert authorized(desk.venue, right) is None
    assert route(desk.venue, "GET", "/v2/account", headers=right).status == 200
    assert route(desk.venue, "GET", "/v2/account", headers={}).status == 401
    wrong = route(desk.venue, "POST", "/v2/orders", {}, {}, headers=right | {"APCA-API-SECRET-KEY": "guess"})
    assert wrong.status == 403
    assert desk.venue.secret not in json.dumps(wrong.body)


def test_the_two_hundred_and_first_call_of_a_minute_is_refused() -> None:
    desk = Desk(rate_limit=200)
    answers = [desk.ask("GET", "/v2/clock") for _ in range(201)]
    assert [answer.status for answer in answers] == [200] * 200 + [429]
    assert answers[0].headers["X-RateLimit-Remaining"] == "199"
    assert int(answers[-1].headers["X-RateLimit-Reset"]) == desk.clock().timestamp() + 60
    desk.clock.advance("60s")
    assert desk.ask("GET", "/v2/clock").status == 200


def test_a_venue_without_a_limit_speaks_of_none() -> None:
    desk = Desk(rate_limit=None)
    answers = [desk.ask("GET", "/v2/clock") for _ in range(300)]
    assert {answer.status for answer in answers} == {200}
    assert not any(answer.headers for answer in answers)


def test_nonsense_is_an_answer_and_not_an_exception() -> None:
    desk = Desk()
    for method, path, query, body in [
        ("GET", "/", {}, None), ("GET", "/v2/orders/none", {}, None), ("DELETE", "/v2/orders/none", {}, None), ("PUT", "/v2/orders", {}, {}),
        ("GET", "/v2/orders", {"limit": "lots"}, None), ("GET", "/v2/orders", {"after": "soon"}, None), ("POST", "/v2/orders", {}, None),
        ("POST", "/v2/orders", {}, ["a", "list"]), ("POST", "/v2/orders", {}, {"symbol": "ACME", "qty": "NaN"}), ("GET", "/v2/stocks/bars", {}, None),
        ("GET", "/v2/stocks/bars", {"symbols": "ACME", "limit": "10001"}, None), ("GET", "/v2/stocks/bars", {"symbols": "ACME", "timeframe": "7Parsec"}, None),
        ("GET", "/v2/stocks/bars", {"symbols": "ACME", "page_token": "///"}, None), ("GET", "/v1beta3/crypto/mars/bars", {"symbols": "COIN/USD"}, None),
        ("GET", "/v2/account/portfolio/history", {"period": "ages"}, None), ("GET", "/v2/stocks", {}, None), ("GET", "/v2/assets/NOPE", {}, None),
        ("GET", "/v2/orders", {"status": "lost"}, None), ("GET", "/v2/account/activities", {"page_size": "101"}, None),
    ]:  # fmt: skip
        answer = desk.ask(method, path, query, body)
        assert 400 <= answer.status < 500, (method, path, answer)
        assert set(answer.body) >= {"code", "message"}


def test_recent_prices_of_the_consolidated_feed_are_not_free() -> None:
    desk = Desk()
    asked = {"symbols": "ACME", "timeframe": "1Min", "start": "2024-03-25T14:00:00Z"}
    assert desk.ask("GET", "/v2/stocks/bars", asked | {"feed": "sip", "end": "2024-03-25T14:55:00Z"}).status == 403
    assert len(desk.get("/v2/stocks/bars", **asked, end="2024-03-25T14:40:00Z")["bars"]["ACME"]) == 41
    assert len(desk.get("/v2/stocks/bars", **asked, feed="iex")["bars"]["ACME"]) == 60


@pytest.mark.parametrize(("timeframe", "freq"), [("1Week", "W-SUN"), ("1Month", "M"), ("3Month", "Q")])
@pytest.mark.parametrize("symbol", ["ACME", "COIN/USD"])
def test_weeks_and_months_are_made_of_their_days(symbol: str, timeframe: str, freq: str) -> None:
    desk = Desk()
    path, zone = ("/v1beta3/crypto/us/bars", "UTC") if "/" in symbol else ("/v2/stocks/bars", "America/New_York")
    asked = {"symbols": symbol, "start": "2020-01-01", "feed": "iex"}
    days = pd.DataFrame(desk.get(path, **asked, timeframe="1Day")["bars"][symbol])
    told = desk.get(path, **asked, timeframe=timeframe)["bars"][symbol]
    period = pd.to_datetime(days["t"]).dt.tz_convert(zone).dt.tz_localize(None).dt.to_period(freq)
    groups = days.groupby(period)
    assert [bar["o"] for bar in told] == groups["o"].first().tolist()
    assert [bar["h"] for bar in told] == groups["h"].max().tolist()
    assert [bar["l"] for bar in told] == groups["l"].min().tolist()
    assert [bar["c"] for bar in told] == groups["c"].last().tolist()
    begins = pd.to_datetime([bar["t"] for bar in told]).tz_convert(zone)
    assert begins.tz_localize(None).equals(pd.PeriodIndex(groups.groups).to_timestamp())
    later = desk.get(path, **asked | {"start": told[0]["t"].replace("Z", "")[:10] + "T12:00:00Z"}, timeframe=timeframe)
    assert later["bars"].get(symbol, []) == told[1:]  # a bar that began earlier is left out


def test_pages_of_prices_add_up() -> None:
    desk = Desk()
    asked = {"symbols": "ACME,BOLT", "timeframe": "1Hour", "start": "2024-03-18", "feed": "iex", "limit": "10000"}
    whole = desk.get("/v2/stocks/bars", **asked)
    assert whole["next_page_token"] is None
    for limit in ("1", "7", "13"):
        parts: dict[str, list[Any]] = {}
        token: dict[str, str] = {}
        while True:
            page = desk.get("/v2/stocks/bars", **asked | {"limit": limit} | token)
            for symbol, items in page["bars"].items():
                parts.setdefault(symbol, []).extend(items)
            if page["next_page_token"] is None:
                break
            token = {"page_token": page["next_page_token"]}
        assert parts == whole["bars"]


@pytest.mark.parametrize("fate", ["late_reject", "partial_then_cancel"])
def test_an_order_can_come_to_grief_after_it_was_taken(fate: str) -> None:
    desk = Desk("2024-03-25 21:00")
    desk.venue.fate = fate
    desk.send(client_order_id="x")
    assert desk.order("x")["status"] == "accepted"
    desk.to("2024-03-26 15:00")
    assert desk.order("x")["status"] == {"late_reject": "rejected", "partial_then_cancel": "canceled"}[fate]
    assert desk.order("x")["filled_qty"] == {"late_reject": "0", "partial_then_cancel": "5"}[fate]


def test_a_pickled_venue_goes_on_where_it_stopped_and_replays_are_identical() -> None:
    def script(desk: Desk, *, pickled: bool) -> str:
        bracket(desk)
        desk.send("COIN/USD", qty="1.5")
        if pickled:
            desk.venue = pickle.loads(pickle.dumps(desk.venue))
            desk.clock = desk.venue.clock  # type: ignore[assignment]
        desk.to("2024-04-02 15:00")
        desk.ask("DELETE", "/v2/positions", {"cancel_orders": "true"})
        return json.dumps(
            [
                [event.message for event in desk.venue.events],
                desk.venue.activities,
                desk.get("/v2/orders", status="all"),
            ]
        )

    assert script(Desk(), pickled=False) == script(Desk(), pickled=True) == script(Desk(), pickled=False)


def test_the_venue_is_fast_enough_for_thousands_of_schedules() -> None:
    import time

    desk = Desk(cash=10_000_000)
    began = time.perf_counter()
    for number in range(300):
        desk.send(qty="1", client_order_id=str(number))
        desk.order(str(number))
        desk.get("/v2/account")
    assert (time.perf_counter() - began) / 900 < 1e-3  # about 40 µs each; twenty times that on a busy machine


def test_a_clock_that_goes_back_does_not_move_the_venue() -> None:
    desk = Desk()
    early = ManualClock("2024-03-20 15:00")
    before = desk.venue.at
    assert route(desk.venue, "GET", "/v2/clock", clock=early).body["timestamp"].startswith("2024-03-25T11:00")
    assert desk.venue.at == before


def test_a_market_may_be_shared_by_many_venues() -> None:
    market = PanelMarket(PANEL)
    one, other = (PaperVenue(market, clock=ManualClock("2024-03-25 15:00"), name=name) for name in ("one", "other"))
    body = {"symbol": "ACME", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
    assert (
        route(one, "POST", "/v2/orders", {}, body).body["id"] != route(other, "POST", "/v2/orders", {}, body).body["id"]
    )
