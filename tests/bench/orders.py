"""From a decided order to the venue's word, against a bare alpaca-py round trip, side by side on one loopback venue.

    python tests/bench/orders.py [orders]

Ours writes the intent to a ledger on disk, says in it that the order is being sent, sends it, and writes the answer down. The bare
round trip is `TradingClient.submit_order` with a client order id and nothing else.
"""

import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide
from alpaca.trading.enums import TimeInForce as Force
from alpaca.trading.requests import MarketOrderRequest

from trading_core.data import SimulatedBars, load_panel
from trading_core.execution import AlpacaExecutor, Journal
from trading_core.execution.venue import ManualClock, PanelMarket, PaperVenue
from trading_core.execution.venue.server import VenueServer
from trading_core.ledger import Ledger
from trading_core.model import OrderRequest, OrderStatus, Side, TimeInForce


def told(name: str, seconds: list[float]) -> float:
    median, high = np.percentile(np.array(seconds) * 1e3, [50, 99])
    print(f"{name:<36} median {median:6.2f} ms   99th percentile {high:6.2f} ms")
    return float(median)


def main(count: int) -> None:
    bars = SimulatedBars(seed=7)
    panel = load_panel(bars, ["BTC/USD", "AQVA"], "2024-03-01", "2024-03-08")
    venue = PaperVenue(
        PanelMarket(panel), cash=Decimal(10**9), clock=ManualClock("2024-03-08 12:00+00:00"), rate_limit=10**9
    )
    ours: list[float] = []
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as folder, VenueServer(venue) as server:
        client = TradingClient(venue.key, venue.secret, paper=True, url_override=server.url)
        with Ledger.open(Path(folder) / "ledger.db", "bench") as ledger:
            executor = AlpacaExecutor(venue.key, venue.secret, url=server.url)
            ledger.bind("bench", executor.name, Decimal(10**9))
            journal = Journal(executor, ledger)
            for n in range(count):
                began = time.perf_counter()
                client.submit_order(
                    MarketOrderRequest(
                        symbol="BTC/USD",
                        qty=0.01,
                        side=OrderSide.BUY,
                        time_in_force=Force.GTC,
                        client_order_id=f"bare-{n}",
                    )
                )
                bare.append(time.perf_counter() - began)
                order = OrderRequest(f"ours-{n}", "BTC/USD", Side.BUY, Decimal("0.01"), time_in_force=TimeInForce.GTC)
                began = time.perf_counter()
                said = journal.send(order)
                ours.append(time.perf_counter() - began)
                assert said.status in (OrderStatus.ACCEPTED, OrderStatus.FILLED), said
    ratio = told("signal to acknowledged order, ours", ours[5:]) / told("alpaca-py round trip, bare", bare[5:])
    print(f"ratio of the medians: {ratio:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
