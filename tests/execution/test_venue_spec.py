"""Every answer of the paper venue validates against Alpaca's own interface descriptions."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from venue_bench import Desk

jsonschema = pytest.importorskip("jsonschema")

FOLDER = Path(os.environ.get("TRADING_SPECS") or Path(__file__).parents[3] / "shared" / "specs")
BOOKS = ("trading-api", "market-data-api")
DATE_TIME = re.compile(
    r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?"
)  # their own example of `date` is a day


def plain(schema: Any) -> Any:
    "An OpenAPI 3.0 schema as a JSON schema: `nullable` becomes a type, and `oneOf` an `anyOf`."
    if isinstance(schema, list):
        return [plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: plain(value) for key, value in schema.items() if key not in ("nullable", "example", "oneOf")}
    if "oneOf" in schema:  # a fill is both a trading and a non-trade activity by their schemas, which require nothing
        made["anyOf"] = plain(schema["oneOf"])
    if schema.get("nullable") is True:
        return {"anyOf": [made, {"type": "null"}]}
    return made


def checker() -> Any:
    formats = jsonschema.FormatChecker(formats=())
    formats.checks("date-time")(lambda value: not isinstance(value, str) or bool(DATE_TIME.fullmatch(value)))
    formats.checks("date")(lambda value: not isinstance(value, str) or bool(re.fullmatch(r"\d{4}-\d\d-\d\d", value)))
    formats.checks("uuid", raises=ValueError)(lambda value: not isinstance(value, str) or bool(UUID(value)))
    formats.checks("decimal")(lambda value: not isinstance(value, str) or bool(re.fullmatch(r"-?\d+(\.\d+)?", value)))
    return formats


class Description:
    "One of Alpaca's interface descriptions."

    def __init__(self, path: Path):
        self.whole = plain(json.loads(path.read_text()))
        self.paths = [
            (re.compile(re.sub(r"\{\w+\}", "[^/]+", name.replace(".", r"\."))), name) for name in self.whole["paths"]
        ]

    def find(self, method: str, path: str) -> str | None:
        "The described path that a request's path belongs to: a literal one before one with a name in it."
        fits = [
            name
            for pattern, name in self.paths
            if pattern.fullmatch(path) and method.lower() in self.whole["paths"][name]
        ]
        return min(fits, key=lambda name: name.count("{"), default=None)

    def complaints(self, method: str, name: str, status: int, body: Any) -> list[str]:
        responses = self.whole["paths"][name][method.lower()]["responses"]
        if str(status) not in responses:
            return [f"{status} is not described"]
        content = responses[str(status)].get("content", {})
        if not content:
            return [] if body is None else ["a body where none is described"]
        schema = {**content["application/json"]["schema"], "components": self.whole["components"]}
        found = jsonschema.Draft4Validator(schema, format_checker=checker()).iter_errors(body)
        return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}"[:300] for error in found]


@pytest.fixture(scope="module")
def descriptions() -> list[Description]:
    folder = FOLDER / "alpaca" if (FOLDER / "alpaca").is_dir() else FOLDER
    missing = [name for name in BOOKS if not (folder / f"{name}.json").is_file()]
    if missing:
        pytest.skip(
            f"no interface descriptions: {folder} lacks {', '.join(missing)}; set TRADING_SPECS to their folder"
        )
    return [Description(folder / f"{name}.json") for name in BOOKS]


class Recorder(Desk):
    "A desk that keeps every request and its answer."

    def __init__(self, *args: Any, **more: Any):
        super().__init__(*args, **more)
        self.said: list[tuple[str, str, int, Any]] = []

    def ask(self, method: str, path: str, query: dict[str, str] | None = None, body: Any = None) -> Any:
        answer = super().ask(method, path, query, body)
        self.said.append((method, path, answer.status, json.loads(json.dumps(answer.body))))
        return answer


def busy_day(desk: Recorder) -> None:
    "Orders of every kind, in every state, over a weekend; partial fills, fees, refusals."
    asks = {
        "m": {}, "frac": {"qty": "0.5"}, "cash": {"qty": None, "notional": "100.50"}, "coin": {"symbol": "COIN/USD", "qty": "1.5"},
        "limit": {"symbol": "BOLT", "type": "limit", "limit_price": "13.10"},
        "stop": {"symbol": "BOLT", "type": "stop", "stop_price": "14.10", "time_in_force": "gtc"},
        "stop limit": {"symbol": "COIN/USD", "type": "stop_limit", "stop_price": "480", "limit_price": "481"},
        "trail": {"symbol": "BOLT", "type": "trailing_stop", "trail_percent": "4"},
        "trail price": {"symbol": "BOLT", "type": "trailing_stop", "trail_price": "0.5"},
        "ioc": {"type": "limit", "limit_price": "30", "time_in_force": "ioc"}, "fok": {"time_in_force": "fok"},
        "bracket": {"order_class": "bracket", "take_profit": {"limit_price": "62"}, "stop_loss": {"stop_price": "50", "limit_price": "49.50"}},
        "oto": {"order_class": "oto", "symbol": "BOLT", "stop_loss": {"stop_price": "10"}},
        "extended": {"type": "limit", "limit_price": "30", "extended_hours": True},
    }  # fmt: skip
    for name, more in asks.items():
        desk.send(**({"client_order_id": name} | more))  # type: ignore[arg-type]
    look_around(desk)
    desk.to("2024-03-25 23:30")
    for name, more in {"opg": {"time_in_force": "opg"}, "cls": {"time_in_force": "cls"}}.items():
        desk.send(client_order_id=name, **more)
    look_around(desk)


def look_around(desk: Recorder) -> None:
    desk.get("/v2/account")
    desk.get("/v2/positions")
    desk.get("/v2/orders", status="all", limit="500")
    desk.get("/v2/orders", status="all", nested="true")
    for order in desk.get("/v2/orders", status="all"):
        desk.get(f"/v2/orders/{order['id']}")
        desk.order(order["client_order_id"])
    for position in desk.get("/v2/positions"):
        desk.get(f"/v2/positions/{position['symbol']}")
    for kind in ("", "/FILL", "/CFEE", "/FEE"):
        desk.get(f"/v2/account/activities{kind}")
    for frame in ("1D", "1H", "15Min"):
        desk.get("/v2/account/portfolio/history", timeframe=frame, period="1W")
    desk.get("/v2/clock")
    desk.get("/v2/calendar", start="2024-03-01", end="2024-04-01")
    desk.get("/v2/assets")
    for asset in (*desk.get("/v2/assets", asset_class="crypto"), *desk.get("/v2/assets")):
        desk.get(f"/v2/assets/{asset['symbol'].replace('/', '')}")
    look_at_prices(desk)


def look_at_prices(desk: Recorder) -> None:
    when = {"start": "2024-03-22", "limit": "50", "feed": "iex"}
    for kind in ("bars", "trades", "quotes"):
        for frame in ("1Min", "1Hour", "1Day"):
            desk.get(f"/v2/stocks/{kind}", symbols="ACME,BOLT,NONE", timeframe=frame, **when)
            desk.get(f"/v2/stocks/ACME/{kind}", timeframe=frame, sort="desc", **when)
            desk.get(f"/v1beta3/crypto/us/{kind}", symbols="COIN/USD", timeframe=frame, **when)
        desk.get(f"/v2/stocks/{kind}/latest", symbols="ACME,BOLT")
        desk.get(f"/v2/stocks/ACME/{kind}/latest")
        desk.get(f"/v1beta3/crypto/us/latest/{kind}", symbols="COIN/USD")
    desk.get("/v2/stocks/NONE/bars", **when)
    desk.get("/v2/stocks/snapshots", symbols="ACME,BOLT")
    desk.get("/v2/stocks/ACME/snapshot")
    desk.get("/v1beta3/crypto/us/snapshots", symbols="COIN/USD")
    desk.get("/v1beta3/crypto/us/latest/orderbooks", symbols="COIN/USD")


def the_end(desk: Recorder) -> None:
    "Replaced, canceled, closed."
    desk.to("2024-03-26 15:00")
    waits = desk.send("BOLT", type="limit", limit_price="5", client_order_id="patient").body
    changed = desk.ask("PATCH", f"/v2/orders/{waits['id']}", body={"limit_price": "6", "qty": "7"}).body
    desk.ask("DELETE", f"/v2/orders/{changed['id']}")
    desk.send("BOLT", type="limit", limit_price="5")
    desk.ask("DELETE", "/v2/orders")
    desk.ask("DELETE", "/v2/positions/COINUSD", {"percentage": "50"})
    look_around(desk)
    desk.ask("DELETE", "/v2/positions", {"cancel_orders": "true"})
    look_around(desk)


ASKED_FOR = {
    "trading-api": {
        "GET /v2/account", "GET /v2/assets", "GET /v2/assets/{symbol_or_asset_id}", "GET /v2/positions", "DELETE /v2/positions",
        "GET /v2/positions/{symbol_or_asset_id}", "DELETE /v2/positions/{symbol_or_asset_id}", "GET /v2/orders", "POST /v2/orders",
        "DELETE /v2/orders", "GET /v2/orders/{order_id}", "PATCH /v2/orders/{order_id}", "DELETE /v2/orders/{order_id}",
        "GET /v2/orders:by_client_order_id", "GET /v2/account/activities", "GET /v2/account/activities/{activity_type}",
        "GET /v2/account/portfolio/history", "GET /v2/clock", "GET /v2/calendar",
    },
    "market-data-api": {
        *(f"GET /v2/stocks/{kind}{end}" for kind in ("bars", "trades", "quotes") for end in ("", "/latest")),
        *(f"GET /v2/stocks/{{symbol}}/{kind}{end}" for kind in ("bars", "trades", "quotes") for end in ("", "/latest")),
        "GET /v2/stocks/snapshots", "GET /v2/stocks/{symbol}/snapshot", "GET /v1beta3/crypto/{loc}/snapshots",
        *(f"GET /v1beta3/crypto/{{loc}}/{latest}{kind}" for kind in ("bars", "trades", "quotes") for latest in ("", "latest/")),
        "GET /v1beta3/crypto/{loc}/latest/orderbooks",
    },
}  # fmt: skip


@pytest.mark.parametrize("in_pieces", [False, True])
def test_every_answer_of_a_busy_week_is_as_described(descriptions: list[Description], in_pieces: bool) -> None:
    from trading_core.execution.venue import Liquidity
    from trading_core.model import AssetClass
    from trading_core.portfolio import Costs

    costs = Costs(rate=0.001, by_class={AssetClass.CRYPTO: {"rate": 0.0025}})
    desk = Recorder(costs=costs, liquidity=Liquidity(seed=1) if in_pieces else None, crypto_fee_in_coin=not in_pieces)
    busy_day(desk)
    the_end(desk)
    seen: set[str] = set()
    wrong: list[str] = []
    for method, path, status, body in desk.said:
        found = [(book, name) for book in descriptions if (name := book.find(method, path))]
        assert found, f"{method} {path} is in neither description"
        book, name = found[0]
        if status >= 400:
            assert set(body) >= {"code", "message"}, body
            continue
        seen.add(f"{method} {name}")
        wrong += [
            f"{method} {path} ({status}) {complaint}" for complaint in book.complaints(method, name, status, body)
        ]
    assert not wrong, "\n".join(sorted(set(wrong))[:20])
    statuses = {order["status"] for order in desk.get("/v2/orders", status="all", limit="500")}
    assert statuses >= {"filled", "canceled", "expired", "replaced"}
    assert set().union(*ASKED_FOR.values()) - seen == set()


def test_a_wrong_answer_would_be_noticed(descriptions: list[Description]) -> None:
    order = Desk().send().body
    for spoiled in (
        {"status": "lost"},
        {"filled_qty": 0},
        {"id": "7"},
        {"created_at": "yesterday"},
        {"legs": {}},
        {"side": None},
    ):
        assert descriptions[0].complaints("POST", "/v2/orders", 200, order | spoiled), spoiled
    assert not descriptions[0].complaints("POST", "/v2/orders", 200, order)
