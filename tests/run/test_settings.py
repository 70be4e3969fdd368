"""Settings: precedence, refusals, secrets, and the file that is generated from the model."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_core.config import (
    SOURCES,
    SettingError,
    TradingConfig,
    load_config,
    settings_text,
    split_setting,
    write_settings,
)
from trading_core.data.opening import KINDS
from trading_core.errors import ConfigError, RefusedError, UnknownNameError
from trading_core.run.context import load_strategies
from trading_core.strategies import EquityReversal, InverseVolatility

HERE = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith(("TRADING_", "ALPACA_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def ini(text: str) -> Path:
    Path("settings.ini").write_text(text, encoding="utf-8")
    return Path("settings.ini")


def test_the_checked_in_settings_are_those_that_init_writes():
    assert (HERE / "settings.ini").read_text(encoding="utf-8") == settings_text()


def test_the_first_line_says_where_nbdev_keeps_its_own_settings():
    first = settings_text().splitlines()[0]
    assert first.startswith(";")
    assert "nbdev" in first
    assert "pyproject" in first


def test_the_generated_file_means_the_defaults(tmp_path: Path):
    path = write_settings(tmp_path / "settings.ini")
    assert load_config(path).public() == TradingConfig().public() | {"given": ["--settings", str(path)]}


def test_an_existing_file_is_never_overwritten():
    ini("[market]\nsource = csv\n")
    with pytest.raises(FileExistsError):
        write_settings("settings.ini")


def test_without_a_file_the_defaults_hold():
    config = load_config()
    assert (config.market.source, config.execution.executor, config.execution.mode) == ("simulated", "paper", "paper")
    assert config.jobs == {"daily": ("backtest", "signals", "trade"), "sweep": ("sweep",), "coverage": ("coverage",)}
    assert config.account == "simulated"


def test_each_layer_beats_the_one_below(monkeypatch: pytest.MonkeyPatch):
    ini("[costs]\nrate = 0.002\nper_share = 0.002\nminimum = 2\nslippage_bps = 2\n")
    Path(".env").write_text("TRADING_COSTS__PER_SHARE=0.003\nTRADING_COSTS__MINIMUM=3\nTRADING_COSTS__SLIPPAGE_BPS=3\n")
    monkeypatch.setenv("TRADING_COSTS__MINIMUM", "4")
    monkeypatch.setenv("TRADING_COSTS__SLIPPAGE_BPS", "4")
    costs = load_config(**{"costs.slippage_bps": "5"}).costs
    assert (costs.rate, costs.per_share, costs.minimum, costs.slippage_bps) == (0.002, 0.003, 4, 5)


def test_a_list_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRADING_MARKET__SYMBOLS", "AAPL, BTC/USD")
    monkeypatch.setenv("TRADING_JOBS__DAILY", "signals,trade")
    config = load_config()
    assert config.market.symbols == ("AAPL", "BTC/USD")
    assert config.jobs["daily"] == ("signals", "trade")


def test_a_strategy_may_be_changed_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRADING_STRATEGIES__EQUITY__STOP_LOSS", "0.04")
    equity = load_config().strategies["equity"]
    assert (equity.share, float(equity.params["stop_loss"])) == (0.5, 0.04)


def test_naming_strategies_in_the_file_replaces_the_built_in_ones():
    ini("[strategies.sma]\nclass = SmaCross\nfast = 20\n")
    config = load_config(**{"strategies.sma.slow": "60"})
    assert list(config.strategies) == ["sma"]
    assert config.strategies["sma"].params == {"fast": "20", "slow": "60"}


def test_values_are_taken_as_they_are_written():
    url = "postgresql://me:pa%40ss;word@host/db?x=1"
    config = load_config(ini(f"[ledger]\ndatabase_url = {url}\n[strategies.x]\nclass = my_module:MyClass\nFast = 2\n"))
    assert config.ledger_url == url
    assert config.strategies["x"].class_ == "my_module:MyClass"
    assert config.strategies["x"].params == {"Fast": "2"}


def test_nothing_behind_the_equals_sign_means_no_limit():
    risk = load_config(ini("[risk]\nmax_weight =\nmax_positions =\n")).risk
    assert (risk.max_weight, risk.max_positions) == (None, None)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[risk]\nmax_wieght = 0.2\n", r"^settings\.ini \[risk\]: 'max_wieght' .* Did you mean 'max_weight'\?"),
        ("[markt]\nsource = csv\n", r"^settings\.ini: 'markt' .* Did you mean 'market'\?"),
        ("[market]\nSource = csv\n", r"^settings\.ini \[market\]: 'Source' .* Did you mean 'source'\?"),
        ("[costs.crypto]\nrat = 1\n", r"^settings\.ini \[costs\.crypto\]: 'rat' .* Did you mean 'rate'\?"),
        ("[DEFAULT]\nsource = csv\n", r"^settings\.ini: 'DEFAULT' is not known"),
    ],
)
def test_an_unknown_name_is_refused_with_its_file_and_section(text: str, sentence: str):
    with pytest.raises(UnknownNameError, match=sentence):
        load_config(ini(text))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[risk]\nmax_weight = 20 %\n", r"^settings\.ini \[risk\]: max_weight needs a valid number.*'20 %'"),
        ("[risk]\nmax_weight = 20\n", r"max_weight needs less than or equal to 1.*'20'"),
        ("[risk]\nmax_weight = 0.2 ; a fifth\n", r"A comment needs a line of its own"),
        ("[execution]\ncash = -5\n", r"cash needs greater than 0"),
        ("[execution]\nmode = livee\n", r"mode needs 'paper' or 'live'"),
        ("[market]\nstart = 1.2.2015\n", r"start needs a day such as 2015-01-01"),
        ("[strategies.x]\nshare = 0.5\n", r"\[strategies\.x\]: class needs a value"),
        ("[strategies.x]\nclass = A\nshare = 0.7\n[strategies.y]\nclass = B\nshare = 0.7\n", r"add up to 1"),
        ("market = csv\n", r"^settings\.ini: the file needs lines like"),
        ("[market]\nsource\n", r"^settings\.ini: the file needs lines like"),
        ("[market]\nsource = csv\nsource = yahoo\n", r"^settings\.ini: the file needs lines like"),
        ("[execution]\nurl = ftp://venue\n", "url needs"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_in_a_sentence(text: str, sentence: str):
    with pytest.raises(SettingError, match=sentence):
        load_config(ini(text))


def test_a_slip_in_the_environment_and_in_dot_env_is_refused_with_its_place(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRADING_MARKET__SORCE", "csv")
    with pytest.raises(UnknownNameError, match=r"^the environment \[market\]: 'sorce'"):
        load_config()
    monkeypatch.delenv("TRADING_MARKET__SORCE")
    Path(".env").write_text("TRADING_MARKTE__SOURCE=csv\n")
    with pytest.raises(UnknownNameError, match=r"^\.env: 'TRADING_MARKTE__SOURCE'"):
        load_config()


def test_other_variables_of_ours_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRADING_REAL_DATA", "/somewhere")
    assert load_config().market.source == "simulated"


@pytest.mark.parametrize("text", ["market.source", "source=csv", "=csv", ""])
def test_a_set_option_of_another_form_is_refused(text: str):
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        split_setting(text)


@given(
    st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,8}){1,2}", fullmatch=True),
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"])),
)
def test_a_set_option_is_split_at_the_first_equals_sign(name: str, value: str):
    assert split_setting(f"{name}={value}") == (name, value.strip())


def test_a_named_file_must_exist_but_settings_ini_need_not():
    with pytest.raises(SettingError, match=r"other\.ini: the settings file needs to exist"):
        load_config("other.ini")
    load_config("settings.ini")


def test_relative_paths_start_from_the_settings_file(tmp_path: Path):
    folder = tmp_path / "book"
    folder.mkdir()
    (folder / "settings.ini").write_text("[market]\npath = a.csv, b/c.csv\n[paths]\noutputs = out\n")
    config = load_config(folder / "settings.ini")
    assert config.market_paths == [folder / "a.csv", folder / "b/c.csv"]
    assert config.outputs == folder / "out"
    assert config.ledger_url == f"sqlite:///{folder / 'out' / 'ledger.db'}"


def test_secrets_come_from_the_environment_and_are_never_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALPACA_API_KEY", "key-one")
    monkeypatch.setenv("ALPACA_API_SECRET", "secret-two")
    monkeypatch.setenv("TRADING_LEDGER__DATABASE_URL", "postgresql://me:secret-three@host/db")
    config = load_config()
    assert config.alpaca_secret_key is not None
    assert config.alpaca_secret_key.get_secret_value() == "secret-two"
    shown = repr(config) + str(config) + json.dumps(config.public()) + str(pickle.dumps(config.without_secrets()))
    assert not [secret for secret in ("key-one", "secret-two", "secret-three") if secret in shown]
    assert config.public()["ledger"]["database_url"] == "postgresql://me:***@host/db"


def test_settings_know_the_options_that_give_them_again_and_no_secret_is_among_them():
    given = {"ledger.account": "int1", "execution.cash": 5000, "market.symbols": ("AAPL", "BTC/USD")}
    options = ["--set", "ledger.account=int1", "--set", "execution.cash=5000", "--set", "market.symbols=AAPL,BTC/USD"]
    config = load_config(None, None, **given, **{"ledger.database_url": "postgresql://me:secret@host/db"})
    assert config.public()["given"] == options
    assert pickle.loads(pickle.dumps(config.without_secrets())).public()["given"] == options
    assert "given" not in load_config(None, None).public()


def test_secrets_in_the_settings_file_are_refused():
    with pytest.raises(UnknownNameError, match="alpaca_api_key"):
        load_config(ini("[alpaca_api_key]\nx = 1\n"))


def test_settings_cannot_be_changed_afterwards():
    config = load_config()
    with pytest.raises(Exception, match="frozen"):
        config.market.source = "csv"


def test_costs_of_a_class_take_what_they_do_not_say_from_the_rest():
    arguments = load_config(ini("[costs]\nrate = 0.002\n[costs.equity]\nminimum = 1\n")).costs.arguments()
    assert arguments["rate"] == 0.002
    assert {kind.value: own for kind, own in arguments["by_class"].items()} == {
        "equity": {"minimum": 1.0},
        "crypto": {"rate": 0.0025},
    }


@pytest.mark.parametrize("text", ["[risk]\nmax_wieght = 1\n", "[risk]\nmax_weight = x\n"])
def test_errors_survive_pickling(text: str):
    with pytest.raises(ConfigError) as refused:
        load_config(ini(text))
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


SIZED = "[strategies.calm]\nclass = EquityReversal\nlookback = 3\nsizer = InverseVolatility\nsizer.lookback = 60\n"


def test_a_sizer_is_named_beside_its_strategy_with_parameters_of_its_own():
    Path("settings.ini").write_text(SIZED)
    (strategy, _) = load_strategies(load_config())["calm"]
    assert (strategy.sizing, strategy) == (InverseVolatility(lookback=60), EquityReversal(lookback=3))
    changed = load_config(**{"strategies.calm.sizer.lookback": "20", "strategies.calm.stop_loss": "0.1"})
    assert load_strategies(changed)["calm"][0].sizing == InverseVolatility(lookback=20)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("sizer = InverseVolatilty", "Did you mean 'InverseVolatility'"),
        ("sizer = InverseVolatility\nsizer.lokback = 60", "Did you mean 'lookback'"),
        ("sizer = InverseVolatility\nsizer.lookback = many", "a whole number"),
        ("sizer.lookback = 60", "a line 'sizer = …' beside sizer.lookback"),
        ("sizer = RiskPerTrade\nstop_loss =", "EquityReversal has none. Give it one"),
    ],
)
def test_a_sizer_that_cannot_be_meant_is_refused_in_a_sentence(line: str, sentence: str):
    Path("settings.ini").write_text(f"[strategies.calm]\nclass = EquityReversal\n{line}\n")
    with pytest.raises(RefusedError) as refused:
        load_strategies(load_config())
    assert sentence in str(refused.value)


def test_the_sources_that_settings_know_are_those_that_can_be_opened():
    assert set(SOURCES) == set(KINDS)
