"""What a decision let through is never refused at the last moment; what would break a limit at the venue always is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import count
from random import Random
from typing import Any

import pandas as pd
import pytest
from benches import PANEL, BinanceBench, LocalBench, VenueBench
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_core.config import TradingConfig, load_config
from trading_core.execution import open_executor
from trading_core.execution.chaos import (
    ACCOUNT,
    Life,
    Schedule,
    ShelfLedger,
    evening,
    play,
)
from trading_core.execution.executor import ExecutorBase, Quote
from trading_core.execution.position_limits import FRESH_SECONDS, PositionLimits, about_positions, picture_of
from trading_core.execution.stage import small_stage
from trading_core.ledger import Ledger
from trading_core.model import (
    AccountInfo,
    Asset,
    AssetClass,
    Fill,
    OrderRequest,
    OrderResult,
    OrderStatus,
    PositionInfo,
    Side,
)
from trading_core.portfolio import RiskLimits, check_orders

SYMBOLS = ("AAA", "BBB", "CCC", "ONE/USD", "TWO/USD")
EVENING = pd.Timestamp("2024-03-28", tz="UTC")
EQUITY = Decimal(10_000)


class Venue(ExecutorBase):
    """Takes orders, fills parts of them when told to, and asks before."""

    name = "venue"

    def __init__(self, held: Mapping[str, Decimal], prices: Mapping[str, Decimal]):
        self.held, self.prices, self.working = dict(held), prices, dict[str, OrderRequest]()
        self.check: Any = lambda order: ""

    def submit(self, order: OrderRequest) -> OrderResult:
        if why := self.check(order):
            return OrderResult(order.client_id, OrderStatus.REJECTED, message=why)
        self.working[order.client_id] = order
        return OrderResult(order.client_id, OrderStatus.ACCEPTED)

    def fill(self, client_id: str) -> None:
        order = self.working.pop(client_id)
        left = self.held.pop(order.symbol, Decimal(0)) + (order.quantity if order.side is Side.BUY else -order.quantity)
        self.held |= {order.symbol: left} if left else {}

    def positions(self) -> dict[str, PositionInfo]:
        return {symbol: PositionInfo(symbol, quantity, Decimal(1)) for symbol, quantity in self.held.items()}

    def open_orders(self) -> list[OrderRequest]:
        return list(self.working.values())

    def quotes(self, symbols: Iterable[str]) -> dict[str, Quote]:
        return {s: Quote(s, self.prices[s] * Decimal("1.1"), EVENING) for s in symbols if s in self.prices}

    def account(self) -> AccountInfo:
        return AccountInfo(EQUITY, EQUITY)

    order = cancel = fills = advance = lambda *_: None  # type: ignore[assignment]


@dataclass
class Batch:
    """An account on an evening, and what is wanted of it."""

    limits: RiskLimits
    prices: dict[str, Decimal]
    held: dict[str, Decimal]
    waiting: list[OrderRequest]
    orders: list[OrderRequest]
    seed: int
    ledger: Ledger = field(default_factory=lambda: Ledger("sqlite://", account="demo", write=True))

    def decided(self) -> list[OrderRequest]:
        """What the decision's limits leave of it."""
        let, _ = check_orders(
            [*self.waiting, *self.orders], self.limits, equity=EQUITY, cash=EQUITY, held=self.held, prices=self.prices,
            missed=dict.fromkeys(SYMBOLS, 0), assets={symbol: Asset.of(symbol) for symbol in SYMBOLS},
            waiting={order.client_id for order in self.waiting},
        )  # fmt: skip
        return [order for order in let if order not in self.waiting]

    def sent(self, orders: list[OrderRequest], fresh: bool) -> tuple[Venue, list[OrderResult]]:
        """The venue after the orders were sent, sales first, while some fill between two of them."""
        dice, venue = Random(self.seed), Venue(self.held, self.prices)
        venue.working = {order.client_id: order for order in self.waiting}
        self.ledger.bind("test", "venue", EQUITY)
        plan = {"prices": {symbol: f"{price:f}" for symbol, price in self.prices.items()}}
        self.ledger.store_plan("daily", EVENING, orders=orders, plan=plan, signals={}, equity=EQUITY, cash=EQUITY)
        ticks = count(0, 1000 if fresh else 0)
        venue.check = PositionLimits(venue, self.ledger, about_positions(self.limits), clock=lambda: float(next(ticks)))
        said = []
        buys = [order for order in orders if order.side is Side.BUY]
        dice.shuffle(buys)
        for order in [*(o for o in orders if o.side is Side.SELL), *buys]:
            said.append(venue.submit(order))
            self.ledger.set_status(said[-1])
            for name in [name for name in venue.working if dice.random() < 0.4]:
                venue.fill(name)
        return venue, said

    def after(self, orders: list[OrderRequest]) -> list[str]:
        """The limits that the account breaks when all of it has filled, at the evening's prices: reckoned anew, in words of one syllable."""
        left = {s: q for s, q in self.held.items() if not any(o.symbol == s and o.whole for o in orders)}
        for order in (o for o in [*self.waiting, *orders] if o.side is Side.BUY):
            left[order.symbol] = left.get(order.symbol, Decimal(0)) + order.quantity
        worth = {symbol: quantity * self.prices[symbol] for symbol, quantity in left.items()}
        kinds = {"max_equity": AssetClass.EQUITY, "max_crypto": AssetClass.CRYPTO}
        sums = {
            name: sum(v for s, v in worth.items() if Asset.of(s).asset_class is kind) for name, kind in kinds.items()
        }
        largest = max(worth.values(), default=Decimal(0))
        parts = {name: (value, getattr(self.limits, name)) for name, value in {**sums, "max_weight": largest}.items()}
        broken = [n for n, (value, most) in parts.items() if most is not None and value > Decimal(str(most)) * EQUITY]
        most = self.limits.max_positions
        return [*broken, "max_positions"] if most is not None and len(worth) > most else broken


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Accounts of up to five things, orders that wait, sales of all, purchases of anything."""
    part = st.none() | st.sampled_from([0.05, 0.1, 0.2, 0.35, 0.5, 0.8])
    limits = RiskLimits(
        max_weight=draw(part), max_equity=draw(part), max_crypto=draw(part), max_positions=draw(st.none() | st.integers(1, 5))
    )  # fmt: skip
    prices = {symbol: Decimal(draw(st.integers(100, 9_999))) / 100 for symbol in SYMBOLS}
    held = {symbol: Decimal(draw(st.integers(1, 40))) for symbol in draw(st.sets(st.sampled_from(SYMBOLS)))}
    waits = draw(st.sets(st.sampled_from(SYMBOLS), max_size=2))
    waiting = [OrderRequest(f"w-{s}", s, Side.BUY, Decimal(draw(st.integers(1, 40)))) for s in sorted(waits)]
    sold = draw(st.sets(st.sampled_from(sorted(held)))) - waits if held else set()
    bought = draw(st.sets(st.sampled_from(SYMBOLS))) - waits - sold
    sales = [OrderRequest(f"s-{s}", s, Side.SELL, held[s], whole=True) for s in sorted(sold)]
    buys = [OrderRequest(f"b-{s}", s, Side.BUY, Decimal(draw(st.integers(1, 90)))) for s in sorted(bought)]
    return Batch(limits, prices, held, waiting, [*sales, *buys], draw(st.integers(0, 99)))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(batches(), st.booleans())
def test_a_batch_decided_under_the_limits_is_never_refused(batch: Batch, fresh: bool) -> None:
    let = batch.decided()
    _, said = batch.sent(let, fresh)
    assert [result.message for result in said if result.status is OrderStatus.REJECTED] == []
    batch.ledger.close()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(batches(), st.booleans())
def test_a_batch_over_the_limits_always_is_and_what_went_out_is_within_them(batch: Batch, fresh: bool) -> None:
    _, said = batch.sent(batch.orders, fresh)
    refused = {result.client_id: result.message for result in said if result.status is OrderStatus.REJECTED}
    out = [order for order in batch.orders if order.client_id not in refused]
    buys = [order for order in batch.orders if order.side is Side.BUY]
    assert not any(name.startswith("s-") for name in refused)
    assert all("(risk.max_" in why for why in refused.values())
    before = set(batch.after([order for order in batch.orders if order.side is Side.SELL]))
    if buys and set(batch.after(batch.orders)) - before:  # the purchases would break a limit that was kept
        assert refused
    assert set(batch.after(out)) <= before
    batch.ledger.close()


# at each executor, through opening


def config(executor: str, **settings: object) -> TradingConfig:
    given = {name.replace("__", "."): value for name, value in settings.items()}
    return load_config(None, None, **{"execution.executor": executor} | given)


@dataclass
class Desk:
    """An executor that the settings opened, and its book."""

    name: str
    symbol: str
    bench: VenueBench | None
    ledger: Ledger

    def executor(self, **risk: object) -> ExecutorBase:
        settings = config(self.name, **{f"risk__{name}": value for name, value in risk.items()})
        more: dict[str, Any] = {}
        if isinstance(self.bench, LocalBench):
            from trading_core.execution.venue.local import local_session

            more = {"session": local_session(self.bench.venue), "sleep": self.bench.sleep, "clock": self.bench.seconds}
        if isinstance(self.bench, BinanceBench):
            settings = config(
                self.name, execution__url=self.bench.server.url, **{f"risk__{n}": v for n, v in risk.items()}
            )
            more = {"sleep": self.bench.sleep, "clock": self.bench.seconds, "rateLimit": 1}
        settings = settings.model_copy(update={"market": settings.market.model_copy(update={"symbols": [self.symbol]})})
        made = open_executor(settings, self.ledger, PANEL, **more)
        if isinstance(self.bench, BinanceBench):
            made.reachable()
            made.exchange.load_time_difference()  # type: ignore[attr-defined]
        return made

    def plan(self, *orders: OrderRequest, price: str = "50", equity: int = 10_000, number: int = 0) -> None:
        """A decision that these orders are part of."""
        self.ledger.store_plan(
            "daily", EVENING + pd.Timedelta(days=number), orders=orders, plan={"prices": {self.symbol: price}}, signals={},
            equity=Decimal(equity), cash=Decimal(equity),
        )  # fmt: skip

    def buy(self, name: str, quantity: int = 20, symbol: str = "") -> OrderRequest:
        return OrderRequest(name, symbol or self.symbol, Side.BUY, Decimal(quantity))


@pytest.fixture(params=["paper", "alpaca", "ccxt"])
def desk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    name = request.param
    for key in ("ALPACA_API_KEY", "CCXT_API_KEY"):
        monkeypatch.setenv(key, "paper-key")
    for key in ("ALPACA_SECRET_KEY", "CCXT_SECRET_KEY"):
        monkeypatch.setenv(key, "paper-secret")
    with ExitStack() as servers, Ledger("sqlite://", account="demo", write=True) as ledger:
        bench = {"alpaca": LocalBench, "ccxt": lambda: BinanceBench(servers)}.get(name, lambda: None)()
        ledger.bind("test", "binance" if name == "ccxt" else name, Decimal(100_000))
        yield Desk(name, "COIN/USD" if name == "ccxt" else "ACME", bench, ledger)


def test_every_executor_counts_what_is_there_and_refuses_what_is_too_much(desk: Desk) -> None:
    orders = [desk.buy(f"20240328-{n}") for n in range(3)]
    desk.plan(*orders)
    venue = desk.executor(max_weight="0.2")
    said = [venue.submit(order) for order in orders]
    assert [result.status.open or result.status is OrderStatus.FILLED for result in said] == [True, True, False]
    assert said[2].status is OrderStatus.REJECTED
    assert "it would be 30 % of the account, the limit is 20 % (risk.max_weight)" in said[2].message
    another = desk.executor(max_weight="0.2")  # a new process, which has to ask what is there
    desk.plan(desk.buy("20240329-0"), number=1)
    assert "% of the account, the limit is 20 % (risk.max_weight)" in another.submit(desk.buy("20240329-0")).message


def test_a_price_that_rose_since_the_decision_changes_nothing(desk: Desk) -> None:
    order = desk.buy("20240328-0", 40)  # 400 each at the exchange, 50 at the venue, 20 when it was decided
    desk.plan(order, price="20", equity=4_000)
    assert desk.executor(max_weight="0.2").submit(order).status is not OrderStatus.REJECTED


def test_what_leaves_makes_room_and_a_sale_always_passes() -> None:
    limits, prices = RiskLimits(max_positions=1), {s: Decimal(10) for s in SYMBOLS}
    batch = Batch(limits, prices, {"AAA": Decimal(5)}, [], [OrderRequest("b-BBB", "BBB", Side.BUY, Decimal(1))], 1)
    _, (alone,) = batch.sent(batch.orders, fresh=False)
    assert "it would be position 2, the limit is 1 (risk.max_positions)" in alone.message
    sale = OrderRequest("s-AAA", "AAA", Side.SELL, Decimal(5), whole=True)
    both = Batch(limits, prices, {"AAA": Decimal(5)}, [], [sale, *batch.orders], 1)
    _, said = both.sent(both.orders, fresh=False)
    assert [result.status for result in said] == [OrderStatus.ACCEPTED] * 2


def test_a_sale_that_was_refused_makes_no_room() -> None:
    batch = Batch(RiskLimits(max_positions=1), {s: Decimal(10) for s in SYMBOLS}, {"AAA": Decimal(5)}, [], [], 1)
    sale = OrderRequest("s-AAA", "AAA", Side.SELL, Decimal(5), whole=True)
    buy = OrderRequest("b-BBB", "BBB", Side.BUY, Decimal(1))
    batch.sent([sale, buy][:0], fresh=False)
    venue = Venue(batch.held, batch.prices)
    plan = {"prices": dict.fromkeys(SYMBOLS, "10")}
    day = EVENING + pd.Timedelta(days=1)
    batch.ledger.store_plan("daily", day, orders=[sale, buy], plan=plan, signals={}, equity=EQUITY, cash=EQUITY)
    guard = PositionLimits(venue, batch.ledger, batch.limits)
    assert guard(buy) == ""  # the sale is planned, and will go out
    batch.ledger.set_status(OrderResult("s-AAA", OrderStatus.REJECTED, message="halted"))
    assert "position 2" in PositionLimits(venue, batch.ledger, batch.limits)(buy)


def test_dust_and_what_people_hold_by_hand_are_not_counted() -> None:
    held = {"ONE/USD": Decimal("0.0000000001"), "BBB": Decimal(3)}
    batch = Batch(RiskLimits(max_positions=1), {s: Decimal(10) for s in SYMBOLS}, held, [], [], 1)
    batch.ledger.bind("test", "venue", EQUITY)
    by_hand = Fill("f", "c", "BBB", Side.BUY, Decimal(3), Decimal(10), Decimal(0), EVENING, "manual", "manual")
    batch.ledger.add_fills([by_hand])
    venue, order = Venue(held, batch.prices), OrderRequest("b-AAA", "AAA", Side.BUY, Decimal(1))
    assert PositionLimits(venue, batch.ledger, batch.limits)(order) == ""
    assert set(picture_of(venue, batch.ledger, 0.0).positions) == {"ONE/USD"}


def test_an_order_without_an_answer_counts_until_it_is_known_not_to_be_there() -> None:
    batch = Batch(RiskLimits(max_positions=1), {s: Decimal(10) for s in SYMBOLS}, {}, [], [], 1)
    lost, order = (OrderRequest(f"b-{s}", s, Side.BUY, Decimal(1)) for s in ("AAA", "BBB"))
    batch.sent([lost, order][:0], fresh=False)
    batch.ledger.add_intents([lost])
    batch.ledger.set_status(OrderResult(lost.client_id, OrderStatus.UNKNOWN))
    venue = Venue({}, batch.prices)
    assert "position 2" in PositionLimits(venue, batch.ledger, batch.limits)(order)
    assert PositionLimits(venue, batch.ledger, batch.limits)(lost) == ""  # itself, once more
    batch.ledger.set_status(OrderResult(lost.client_id, OrderStatus.EXPIRED))
    assert PositionLimits(venue, batch.ledger, batch.limits)(order) == ""


def test_the_venue_is_asked_once_for_an_evening_and_again_after_half_a_minute() -> None:
    batch = Batch(RiskLimits(max_weight=0.9), {s: Decimal(10) for s in SYMBOLS}, {}, [], [], 1)
    batch.ledger.bind("test", "venue", EQUITY)
    asked, now = list[float](), [0.0]

    class Counting(Venue):
        def positions(self) -> dict[str, PositionInfo]:
            asked.append(now[0])
            return super().positions()

    guard = PositionLimits(Counting({}, batch.prices), batch.ledger, batch.limits, clock=lambda: now[0])
    for now[0] in (0.0, 1.0, FRESH_SECONDS, FRESH_SECONDS + 1):
        guard(OrderRequest(f"b-{now[0]}", "AAA", Side.BUY, Decimal(1)))
    assert asked == [0.0, FRESH_SECONDS + 1]


def guarded(life: Life, day: pd.Timestamp) -> None:
    """An evening of the chaos schedules, with the guard between the journal and the venue."""
    limits = life.world.stage.limits
    assert limits is not None
    life.executor.check = PositionLimits(life.executor, life.ledger, about_positions(limits))
    evening(life, day)


def test_sixty_bad_days_under_limits_lose_nothing_and_the_guard_refuses_nothing() -> None:
    limits = RiskLimits(max_weight=0.25, max_positions=2, max_equity=0.5, max_crypto=0.25)
    cut = 0
    for seed in range(60):
        stage = replace(small_stage(seed % 16), limits=limits)
        outcome = play(Schedule.of(seed, stage), cycle=guarded)
        assert outcome.ok, (seed, outcome.violations)
        book = ShelfLedger("sqlite://", account=ACCOUNT, write=True)
        assert "(risk." not in " ".join(book.orders()["message"].tolist()), seed
        cycles = [book.cycle(job, as_of) for job, as_of in book.cycles()[["job", "as_of"]].itertuples(index=False)]
        cut += sum(r["reason"].startswith("max_") for cycle in cycles if cycle for r in cycle.plan["refusals"])
    assert cut > 60, "the limits hardly ever cut anything: this proves little"
