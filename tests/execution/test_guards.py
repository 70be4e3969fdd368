"""Real money moves only when everything agrees, and each switch alone is refused in its own words."""

from __future__ import annotations

import pickle
from decimal import Decimal
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
from benches import PANEL, LocalBench

from trading_core.config import TradingConfig, load_config
from trading_core.errors import UnknownNameError
from trading_core.execution import (
    AlpacaExecutor,
    LivePermit,
    LiveRefused,
    PaperExecutor,
    live_permit,
    note_paper_day,
    open_executor,
    paper_days,
)
from trading_core.execution.guards import (
    PAPER_DAYS,
    CodeSaysPaper,
    NoPermit,
    OrderValue,
    SettingSaysPaper,
    TooFewPaperDays,
    announce,
    fingerprint,
)
from trading_core.execution.journal import Journal
from trading_core.execution.opening import MissingKeysError
from trading_core.execution.venue.faults import Faults, Force
from trading_core.ledger import BoundError, Ledger
from trading_core.model import OrderRequest, OrderStatus, Side

DAYS = pd.date_range("2026-01-01", periods=60, tz="UTC")
KEYS = (
    "ALPACA_API_KEY",
    "ALPACA_SECRET_KEY",
    "ALPACA_API_SECRET",
    "CCXT_API_KEY",
    "CCXT_SECRET_KEY",
    "CCXT_API_SECRET",
)


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


def config(**settings: object) -> TradingConfig:
    return load_config(None, None, **{name.replace("__", "."): value for name, value in settings.items()})


def books(days: int = 0, settings: TradingConfig | None = None) -> Ledger:
    ledger = Ledger("sqlite://", account="demo", write=True)
    ledger.bind("yahoo", "alpaca", Decimal(1000))
    for day in DAYS[:days]:
        note_paper_day(ledger, (settings or config()).strategies, day, simulated=False, today=day)
    return ledger


@pytest.mark.parametrize(("mode", "live", "days"), list(product(["paper", "live"], [False, True], [0, 29, 30])))
def test_only_all_three_together_permit_real_money(mode: str, live: bool, days: int) -> None:
    settings, ledger = config(execution__mode=mode), books(days)
    wanted = {
        ("paper", False): None,
        ("paper", True): SettingSaysPaper,
        ("live", False): CodeSaysPaper,
        ("live", True): None if days >= PAPER_DAYS else TooFewPaperDays,
    }[mode, live]
    if wanted:
        with pytest.raises(wanted) as refused:
            live_permit(settings, ledger, live=live)
        assert isinstance(refused.value, LiveRefused)
        assert refused.value.exit_code == 2
        assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)
    else:
        permit = live_permit(settings, ledger, live=live)
        assert (permit is not None) == (mode == "live")


def test_each_refusal_has_its_own_sentence_and_says_what_to_do() -> None:
    sentences = {str(SettingSaysPaper()), str(CodeSaysPaper()), str(TooFewPaperDays(7)), str(NoPermit("alpaca"))}
    assert len(sentences) == 4
    assert "on 7 days" in str(TooFewPaperDays(7))
    assert all("live" in sentence or "real money" in sentence for sentence in sentences)


def test_days_count_once_on_the_clock_and_once_in_the_market() -> None:
    ledger, strategies = books(), config().strategies
    for day in DAYS[:40]:
        note_paper_day(ledger, strategies, day, simulated=False, today=DAYS[0])
    assert paper_days(ledger, strategies) == 1
    for day in DAYS[:40]:
        note_paper_day(ledger, strategies, DAYS[0], simulated=False, today=day)
    assert paper_days(ledger, strategies) == 40
    for day in DAYS[40:]:
        note_paper_day(ledger, strategies, day, simulated=True, today=day)
    assert paper_days(ledger, strategies) == 40


def test_a_changed_parameter_begins_anew_and_a_changed_share_does_not() -> None:
    ledger = books(30)
    assert live_permit(config(execution__mode="live", strategies__equity__share="0.3"), ledger, live=True)
    tuned = config(execution__mode="live")
    tuned = tuned.model_copy(update={"strategies": {"equity": tuned.strategies["equity"]}})
    assert fingerprint(tuned.strategies) != fingerprint(config().strategies)
    with pytest.raises(TooFewPaperDays):
        live_permit(tuned, ledger, live=True)


def test_days_on_paper_count_for_another_account_in_the_same_books(tmp_path: Path) -> None:
    path = f"sqlite:///{tmp_path / 'ledger.db'}"
    with Ledger(path, account="practice", write=True) as ledger:
        ledger.bind("yahoo", "alpaca", Decimal(1000))
        for day in DAYS[:30]:
            note_paper_day(ledger, config().strategies, day, simulated=False, today=day)
    with Ledger(path, account="money", write=True) as ledger:
        assert paper_days(ledger, config().strategies) == 30


def test_an_executor_for_real_money_cannot_be_made_past_the_guards() -> None:
    with pytest.raises(NoPermit):
        AlpacaExecutor("key", "secret", live=True)
    permit = LivePermit("abc", 30)
    live, paper = AlpacaExecutor("key", "secret", live=True, permit=permit), AlpacaExecutor("key", "secret")
    assert (live.name, live.paper, paper.name, paper.paper) == ("alpaca-live", False, "alpaca", True)
    assert "paper-api" in str(paper.line.client._base_url.value)
    assert "paper-api" not in str(live.line.client._base_url.value)


def test_an_account_that_began_on_paper_never_goes_on_with_money() -> None:
    ledger = books()
    with pytest.raises(BoundError):
        ledger.bind("yahoo", "alpaca-live", Decimal(1000))


def test_real_money_is_announced_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALPACA_API_KEY", "AK-canary")
    monkeypatch.setenv("ALPACA_SECRET_KEY", "SK-canary")
    waited: list[float] = []
    settings = config(execution__mode="live", execution__executor="alpaca")
    venue = open_executor(settings, books(30), PANEL, live=True, sleep=waited.append)
    shown = capsys.readouterr()
    assert (venue.paper, waited, shown.out) == (False, [5.0], "")
    assert "REAL MONEY" in shown.err
    assert "canary" not in shown.err
    announce("alpaca", "x", LivePermit("abc", 30), say=lambda text: None, sleep=waited.append)
    assert waited == [5.0, 5.0]


def test_on_paper_nothing_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(open_executor(config(), books(), PANEL), PaperExecutor)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("executor", ["alpaca", "ccxt"])
def test_missing_keys_are_named_with_the_place_where_they_belong(executor: str) -> None:
    with pytest.raises(
        MissingKeysError, match=r"_API_KEY and .*_SECRET_KEY are not set\. Put them into the environment"
    ):
        open_executor(config(execution__executor=executor), books(), PANEL)


def test_keys_are_found_in_the_env_file_next_to_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("ALPACA_API_KEY=from-the-file\nALPACA_API_SECRET=secret-from-the-file\n")
    (tmp_path / "settings.ini").write_text("[execution]\nexecutor = alpaca\n")
    whole = load_config(tmp_path / "settings.ini", tmp_path / ".env")
    for settings in (whole, whole.without_secrets()):
        settings._root = tmp_path
        venue = open_executor(settings, books(), PANEL)
        assert venue.line.client._api_key == "from-the-file"  # type: ignore[attr-defined]
        assert "from-the-file" not in f"{venue!r} {settings.public()}"


def test_one_setting_says_who_takes_the_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "x")
    made = {
        name: open_executor(config(execution__executor=name), books(), PANEL) for name in ("paper", "alpaca", "ccxt")
    }
    assert [venue.name for venue in made.values()] == ["paper", "alpaca", "binance"]
    assert [venue.journaled for venue in made.values()] == [False, True, True]
    assert all(venue.paper for venue in made.values())
    with pytest.raises(UnknownNameError, match="Did you mean 'alpaca'"):
        open_executor(config(execution__executor="alpacca"), books(), PANEL)


def test_an_order_above_the_largest_value_does_not_go_out_and_a_sale_does(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = LocalBench()
    venue = bench.executor()
    venue.check = OrderValue(venue, Decimal(500))

    def order(quantity: str, name: str, side: Side = Side.BUY, symbol: str = "ACME") -> OrderRequest:
        return OrderRequest(name, symbol, side, Decimal(quantity))

    large, small = venue.submit(order("10", "large")), venue.submit(order("9", "small"))
    assert (large.status, small.status) == (OrderStatus.REJECTED, OrderStatus.ACCEPTED)
    assert "risk.max_order_value is 500.00" in large.message
    assert venue.submit(order("1", "strange", symbol="NOPE")).status is OrderStatus.REJECTED
    assert venue.order("large") is None
    assert venue.check(order("1000", "sale", Side.SELL)) == ""


@pytest.mark.parametrize("executor", ["paper", "alpaca", "ccxt"])
def test_each_executor_asks_for_what_the_settings_limit(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "x")

    def guards(**risk: object) -> list[object]:
        settings = config(execution__executor=executor, **{f"risk__{name}": value for name, value in risk.items()})
        return list(open_executor(settings, books(), PANEL).check.guards)  # type: ignore[attr-defined]

    none = {"max_weight": "", "max_positions": ""}
    assert guards(**none) == []
    (usual,) = guards()
    assert (usual.limits.max_weight, usual.limits.max_positions) == (0.2, 20)  # type: ignore[attr-defined]
    value = guards(**none, max_order_value="2500")[0]
    most = value.limits.max_order_value if executor == "paper" else value.most  # type: ignore[attr-defined]
    assert most == 2500


@pytest.mark.parametrize("who", ["a guard", "the venue"])
def test_a_no_to_the_second_copy_of_an_order_is_not_final_while_the_first_may_still_arrive(who: str) -> None:
    """The first copy is slow, the second is refused since a price or the cash has moved; then the first arrives, and is bought."""
    bench, order = LocalBench(), OrderRequest("20240325-ACME-b-1", "ACME", Side.BUY, Decimal(10))
    bench.faults = Faults(0, {}, [Force("delay", method="POST", after=4)])  # type: ignore[assignment]
    with Ledger("sqlite://", account="demo", write=True) as ledger:
        ledger.bind("test", "alpaca", bench.venue.cash)
        journal = Journal(bench.executor(), ledger, now=bench.clock)
        assert journal.send(order).status is OrderStatus.UNKNOWN
        cash = bench.venue.cash
        if who == "a guard":
            journal.executor.check = lambda order: "worth too much now"  # type: ignore[attr-defined]
        else:
            bench.venue.cash = Decimal(1)
        assert journal.send(order).status is OrderStatus.UNKNOWN
        bench.venue.cash = cash
        for _ in range(5):
            journal.executor.reachable()  # the slow one arrives
        assert [o.client_id for o in bench.venue.orders] == [order.client_id]
        assert journal.send(order).status is OrderStatus.ACCEPTED
        assert len(bench.venue.orders) == 1


def test_a_no_to_the_second_copy_is_final_when_the_first_cannot_arrive_any_more() -> None:
    bench, order = LocalBench(), OrderRequest("20240325-ACME-b-1", "ACME", Side.BUY, Decimal(10))
    bench.lose("request", "POST")
    with Ledger("sqlite://", account="demo", write=True) as ledger:
        ledger.bind("test", "alpaca", bench.venue.cash)
        journal = Journal(bench.executor(), ledger, now=bench.clock)
        journal.send(order)
        journal.executor.check = lambda order: "worth too much now"  # type: ignore[attr-defined]
        said = journal.send(order)
        assert (said.status, said.message[:18]) == (OrderStatus.UNKNOWN, "worth too much now")
        bench.clock.advance(pd.Timedelta(seconds=journal.executor.late_seconds + 1))
        assert journal.send(order).status is OrderStatus.REJECTED
