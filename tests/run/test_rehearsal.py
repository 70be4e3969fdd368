"""A new account that begins in the past."""

import pytest

from trading_core.config import load_config
from trading_core.ledger import Ledger
from trading_core.run import run_job
from trading_core.run.context import Run, as_of_day, load_market
from trading_core.run.rehearsal import SinceError, rehearse, since_day
from trading_core.sessions import as_day

MARKET = {"market.symbols": "CUPO,EVOQ,MERL,BTC/USD,ETH/USD", "market.start": "2023-11-01"}


@pytest.mark.parametrize("given", ["", "yesterday", "0d", "d", "2024-03-08", "2024-04-01", "-5d"])
def test_a_start_that_is_not_before_the_as_of_is_refused(given):
    with pytest.raises(SinceError, match="--since needs a day before 2024-03-08"):
        since_day(given, as_day("2024-03-08"))


def test_a_rehearsed_day_knows_nothing_of_the_days_after_it(tmp_path):
    config = load_config(None, None, **MARKET)
    books = []
    for number, last in enumerate(("2024-02-20", "2024-03-08")):
        run = Run(config, load_market(config, as_of_day(last)))
        with Ledger.open(f"sqlite:///{tmp_path}/{number}/ledger.db", run.account) as ledger:
            rehearse(run, ledger, as_day("2024-02-01"))
            books.append((ledger.fills(), ledger.equity()))
    (early_fills, early), (fills, equity) = books
    assert early_fills == [fill for fill in fills if fill.day <= early.index[-1]]
    assert early.tolist() == equity[: early.index[-1]].tolist()
    assert len(fills) > len(early_fills) > 0


def test_an_account_that_has_begun_is_left_alone(tmp_path):
    config = load_config(None, None, **MARKET)
    run = Run(config, load_market(config, as_of_day("2024-03-08")))
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db", run.account) as ledger:
        assert len(rehearse(run, ledger, as_day("2024-03-01"))) == 7
        before = ledger.fills(), ledger.orders().to_dict()
        assert rehearse(run, ledger, as_day("2024-01-01")) == []
        assert (ledger.fills(), ledger.orders().to_dict()) == before


def test_a_rehearsal_that_is_refused_says_up_to_which_day_it_is_booked(tmp_path):
    rival = {"strategies.rival.class": "RsiReversion", "strategies.rival.share": 0.2, "strategies.equity.share": 0.5}
    rival |= {"strategies.crypto.share": 0.3, "paths.outputs": str(tmp_path)}
    config = load_config(None, None, **MARKET, **rival)
    result = run_job("daily", config=config, as_of="2024-03-08", since="2024-01-25")
    with Ledger(config.ledger_url, account=config.account) as books:
        last, fills = books.last_cycle().as_of, books.fills()
        booked = max(books.last_day(), *(fill.day for fill in fills))
    assert fills
    assert (result.status, result.exit_code) == ("refused", 2)
    assert "is wanted by both" in result.error
    assert (
        f"decided up to {last:%Y-%m-%d} and booked what filled up to {booked:%Y-%m-%d}, and that is in" in result.error
    )
    page = result.report.read_text(encoding="utf-8")
    assert "Nothing was done" not in page
    assert "nothing was done" not in page
    assert "up to the days that the sentence above names, is in the ledger" in page
