"A sweep on a cluster: two worker processes on this machine, and one of them killed."

import os
import signal
import time

import numpy as np
import pandas as pd
import pytest

from trading_core.backtest import cluster, sweep
from trading_core.data import SimulatedBars, load_panel
from trading_core.strategies import EquityReversal

pytest.importorskip("distributed")


class Slow(EquityReversal):
    "As its base, but slow enough to be killed midway."

    def signals(self, panel):
        time.sleep(0.03)
        return super().signals(panel)


@pytest.fixture(scope="module")
def client():
    from distributed import Client, LocalCluster

    workers = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1", silence_logs=50
    )
    with workers, Client(workers, timeout="20s") as client:
        yield client


@pytest.fixture(scope="module")
def panel():
    market = SimulatedBars(seed=5)
    return load_panel(market, market.symbols()[:12], "2020-01-01", "2021-06-30")


def test_a_cluster_of_two_processes_gives_identical_rows_failures_and_accounts(client, panel):
    grid = {"lookback": [3, 5, 8], "stop_loss": [0.02, 0.05, 2.0]}
    here = sweep(EquityReversal, grid, panel, equity=True, threads=1)
    there = sweep(EquityReversal, grid, panel, equity=True, client=client)
    pd.testing.assert_frame_equal(pd.DataFrame(there), pd.DataFrame(here), check_exact=True)
    pd.testing.assert_frame_equal(there.failures, here.failures)
    pd.testing.assert_frame_equal(there.equity, here.equity, check_exact=True)
    assert (len(there), len(there.failures)) == (6, 3)


def test_a_worker_that_is_killed_midway_loses_nothing(client, panel, monkeypatch):
    victim, killed = sorted(client.run(os.getpid).values())[0], []

    def put_and_kill(part, whole, put=cluster.put):
        put(part, whole)
        if not killed:
            os.kill(victim, signal.SIGKILL)
        killed.append(victim)

    monkeypatch.setattr(cluster, "put", put_and_kill)
    grid = {"lookback": list(range(2, 18)), "lowest": [0.1, 0.3]}
    there = sweep(Slow, grid, panel, client=client)
    here = sweep(EquityReversal, grid, panel, threads=1)
    assert len(killed) == 16
    assert victim not in client.run(os.getpid).values()
    pd.testing.assert_frame_equal(pd.DataFrame(there), pd.DataFrame(here), check_exact=True)


def test_a_cluster_that_dies_while_it_is_handed_the_panel_is_handed_it_again(panel):
    class Dying:
        "A client whose first scatter meets a dead worker."

        def __init__(self, rounds):
            self.rounds = rounds

        def nthreads(self):
            return {"one": 1}

        def wait_for_workers(self, count, timeout):
            return None

        def scatter(self, job, broadcast, hash):
            self.rounds -= 1
            raise ConnectionResetError("stream is closed")

    dying = Dying(cluster.ROUNDS)
    with pytest.raises(
        cluster.ClusterError, match="could not run 2 combinations, even after 5 rounds: ConnectionResetError"
    ):
        sweep(EquityReversal, {"lookback": [3, 5]}, panel, client=dying)
    assert dying.rounds == 0


def test_parts_cover_every_combination_once():
    parts_of = cluster.parts_of
    for count, workers in ((1, 8), (7, 2), (1_000, 3)):
        assert np.array_equal(np.concatenate(parts_of(count, workers)), np.arange(count))
