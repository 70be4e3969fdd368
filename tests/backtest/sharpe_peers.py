"""What two other libraries say about the same returns; writes sharpe_peers.json, which test_sharpe.py holds our figures against.

They are no dependency of the project (skfolio brings a solver along), so they are asked in an environment of their own:

    python -m venv /tmp/peers && /tmp/peers/bin/pip install jsharpe==0.6.3 skfolio==1.12.2
    /tmp/peers/bin/python tests/backtest/sharpe_peers.py
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np

RECORDED = Path(__file__).with_name("sharpe_peers.json")
CASES = ("calm", "crashes", "lottery", "short", "losing")


def returns_of_case(name: str) -> np.ndarray:
    "Returns of a day, made without a random generator, whose stream could change with its version."
    days = {"short": 40}.get(name, 2016)
    steps = (np.arange(days) * 0.6180339887498949) % 1.0  # spread evenly over 0 to 1
    bell = np.log((steps + 1e-3) / (1 - steps + 1e-3))  # logistic: fat tails
    drift = {"losing": -0.03}.get(name, 0.06)
    tail = {"crashes": -1.0, "lottery": 1.0}.get(name, 0.0)
    return 0.006 * (bell + drift + tail * (np.exp(np.abs(bell)) / 40 - 0.1))


def trials_of_case(name: str) -> np.ndarray:
    "Sharpe ratios of a day, of all that was tried."
    count = {"calm": 2, "crashes": 100, "lottery": 1000, "short": 7, "losing": 50}[name]
    return 0.022 * np.sin(np.arange(count) * 1.7) + 0.01 * np.cos(np.arange(count) * 0.3)


def asked_of_skfolio(name: str) -> dict[str, float]:
    import skfolio.measures as peer

    returns, trials = returns_of_case(name), trials_of_case(name)
    return {
        "probabilistic": float(peer.probabilistic_sharpe_ratio(returns, 0.01)),
        "luck": float(peer.expected_max_sharpe_ratio(len(trials), float(trials.std(ddof=1)))),
        "deflated": float(peer.deflated_sharpe_ratio(returns, trials)),
    }


def asked_of_jsharpe(name: str) -> dict[str, float]:
    "Its variance is taken at the ratio that was seen and with T - 1, as in the paper; by itself it takes the benchmark's and T."
    import jsharpe as peer
    from scipy import stats

    returns, trials = returns_of_case(name), trials_of_case(name)
    ratio = float(returns.mean() / returns.std(ddof=1))
    shape = {"gamma3": float(stats.skew(returns)), "gamma4": float(stats.kurtosis(returns, fisher=False))}
    variance = peer.sharpe_ratio_variance(ratio, len(returns) - 1, **shape)
    luck = peer.expected_maximum_sharpe_ratio(len(trials), float(trials.var(ddof=1)))
    return {
        "probabilistic": peer.probabilistic_sharpe_ratio(ratio, 0.01, variance=variance),
        "luck": luck,
        "deflated": peer.probabilistic_sharpe_ratio(ratio, luck, variance=variance),
    }


def main() -> None:
    answers = {
        "skfolio": {"version": version("skfolio"), **{name: asked_of_skfolio(name) for name in CASES}},
        "jsharpe": {"version": version("jsharpe"), **{name: asked_of_jsharpe(name) for name in CASES}},
    }
    RECORDED.write_text(json.dumps(answers, indent=1) + "\n")


if __name__ == "__main__":
    main()
