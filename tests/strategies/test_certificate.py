"""Certificates: bound to the code, kept in a folder, asked for before anything is bought."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from random_panels import random_panel

from trading_core.strategies import (
    Certificate,
    InverseVolatility,
    Sizer,
    SmaCross,
    Strategy,
    UncertifiedError,
    check_causal,
    code_hash,
    find_certificate,
    keep_certificate,
    load_strategy,
    with_sizer,
)
from trading_core.strategies.causal import Permits
from trading_core.strategies.fingerprint import own_code, project_files

RULE = """
from dataclasses import dataclass
from {package}.helper import rising
from trading_core.strategies import Strategy

class Base(Strategy):
    def signals(self, panel):
        from {package} import lazy
        return lazy.last(rising(panel, self.days))

@dataclass(frozen=True)
class Rising(Base):
    days: int = 5
"""
HELPER = "def rising(panel, days):\n    return (panel.close > panel.close.shift(days)).astype(float)\n"
LAZY = "from . import deeper\ndef last(table):\n    return deeper.same(table)\n"
DEEPER = "def same(table):\n    return table\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    "A package of one's own in the current folder."
    name = f"rules_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name
    folder.mkdir()
    for file, text in {
        "__init__": "",
        "rule": RULE.format(package=name),
        "helper": HELPER,
        "lazy": LAZY,
        "deeper": DEEPER,
    }.items():
        (folder / f"{file}.py").write_text(text)
    (folder / "unused.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    yield folder
    for module in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[module]


def test_the_code_is_that_of_the_class_its_bases_and_what_they_import_even_within_functions(project):
    strategy = load_strategy(f"{project.name}.rule:Rising")
    before = code_hash(strategy)
    assert set(project_files(f"{project.name}.rule")) == {
        project.name, *(f"{project.name}.{part}" for part in ("rule", "helper", "lazy", "deeper"))
    }  # fmt: skip
    for file in ("rule", "helper", "lazy", "deeper"):
        path = project / f"{file}.py"
        text = path.read_text()
        path.write_text(text + "\n# another line\n")
        assert code_hash(strategy) != before, file
        path.write_text(text)
    (project / "unused.py").write_text("x = 2\n")
    assert code_hash(strategy) == before


BY_NAME = """
import importlib, json
from importlib import import_module
from pathlib import Path
from trading_core.strategies import Strategy

WEIGHTS = json.loads(Path(__file__).with_name("weights.json").read_text())
FEW = Path("few.csv").read_text()
RULES, MORE = import_module("{package}.deeper"), importlib.import_module(".helper", "{package}")

class Fitted(Strategy):
    def signals(self, panel):
        "Not weights.txt, which is not there."
        return panel.close * WEIGHTS["close"]
"""


def test_a_module_imported_by_its_name_and_a_file_of_data_are_part_of_it(project):
    (project / "weights.json").write_text('{"close": 0.0}')
    Path("few.csv").write_text("ACME")
    (project / "fitted.py").write_text(BY_NAME.format(package=project.name))
    strategy = load_strategy(f"{project.name}.fitted:Fitted")
    found = project_files(f"{project.name}.fitted")
    modules = (project.name, *(f"{project.name}.{part}" for part in ("fitted", "deeper", "helper")))
    assert set(found) == {f"{project.name}.fitted: weights.json", "few.csv", *modules}
    for path in (project / "weights.json", Path("few.csv"), project / "deeper.py", project / "helper.py"):
        before = code_hash(strategy)
        path.write_text(path.read_text() + "\n")
        assert code_hash(strategy) != before, path.name


class Private(Strategy):
    "No dataclass, and keeps its parameter to itself."

    def __init__(self, days=5):
        self._days, self._memory = days, {}

    def signals(self, panel):
        self._memory[len(panel.days)] = panel.last
        return (panel.close > panel.close.shift(self._days)).astype(float)


def test_what_a_class_keeps_to_itself_is_part_of_it_and_what_it_remembers_is_not():
    one = Private(5)
    before = code_hash(one)
    one.signals(random_panel(2))
    assert code_hash(one) == before == code_hash(Private(5))
    assert code_hash(Private(6)) != before


class Fixed(Sizer):
    "No dataclass, and keeps only what it made of its argument."

    def __init__(self, percent):
        self.weight = percent / 100

    def weights(self, strengths, history=None):
        return strengths * self.weight


class WithFixed(Private):
    @property
    def sizer(self):
        return Fixed(self._days)


def test_a_sizer_that_is_no_dataclass_has_the_same_hash_each_time_and_another_one_for_other_settings():
    assert code_hash(WithFixed(5)) == code_hash(WithFixed(5))
    assert code_hash(with_sizer(Private(5), Fixed(5))) != code_hash(with_sizer(Private(5), Fixed(6)))
    assert repr(WithFixed(5)) == "WithFixed(days=5)"
    assert "0x" not in repr(WithFixed(5).sizing)


def test_a_file_that_is_being_rewritten_is_other_code_and_no_traceback(project):
    strategy = load_strategy(f"{project.name}.rule:Rising")
    seals, senses = {code_hash(strategy)}, {own_code(strategy)}
    for text in ("def rising(panel, days:\n", "x = '\0'\n", ""):
        (project / "helper.py").write_text(text)
        seals.add(code_hash(strategy))
        senses.add(own_code(strategy))
    assert len(seals) == len(senses) == 4


def test_parameters_and_the_sizer_are_part_of_it():
    hashes = [
        code_hash(SmaCross()),
        code_hash(SmaCross(fast=10)),
        code_hash(with_sizer(SmaCross(), InverseVolatility())),
        code_hash(with_sizer(SmaCross(), InverseVolatility(lookback=60))),
    ]
    assert len(set(hashes)) == 4
    assert code_hash(SmaCross()) == hashes[0]


def test_another_process_finds_the_same_code(project):
    program = (
        "import sys; from trading_core.strategies import code_hash, load_strategy; "
        f"print(code_hash(load_strategy('{project.name}.rule:Rising', days=7)))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == code_hash(load_strategy(f"{project.name}.rule:Rising", days=7))


def test_what_a_strategy_is_made_of_counts_with_its_own_code(project):
    from dataclasses import dataclass

    from trading_core.strategies import Strategy

    @dataclass(frozen=True)
    class Vote(Strategy):
        members: tuple[Strategy, ...]

        def signals(self, panel):
            return self.members[0].signals(panel)

    member = load_strategy(f"{project.name}.rule:Rising")
    before = code_hash(Vote((member,)))
    assert code_hash(Vote((load_strategy(f"{project.name}.rule:Rising", days=6),))) != before
    (project / "helper.py").write_text(HELPER + "# changed\n")
    assert code_hash(Vote((member,))) != before


def test_functions_and_classes_without_a_file_are_told_apart_by_what_they_do():
    def typed(text: str):
        space: dict[str, object] = {"__name__": "no_such_module"}
        exec(text, space)
        return space["f"]

    one, two = typed("def f(panel):\n    return panel.close"), typed("def f(panel):\n    return panel.open")
    assert code_hash(one) == code_hash(typed("def f(panel):\n    return panel.close"))
    assert code_hash(one) != code_hash(two)


TYPED = """
from dataclasses import dataclass
from trading_core.strategies import Strategy

LEVEL, WORDS = 0.5, {"up", "down"}


def helper(closes):
    return closes > inner(closes) * LEVEL


def inner(closes, days=1):
    return closes.shift(days)


class Base(Strategy):
    LEVELS = [1, 2]

    def signals(self, panel, days=2):
        return (helper(panel.close) & (len(WORDS) > 1)).astype(float)


@dataclass(frozen=True)
class Typed(Base):
    days: int = 3
"""


def hash_of_typed(text: str) -> str:
    space: dict[str, object] = {"__name__": "a_notebook"}
    sys.modules["a_notebook"] = ModuleType("a_notebook")
    try:
        exec(text, space)
        return code_hash(space["Typed"]())
    finally:
        del sys.modules["a_notebook"]


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("LEVEL, WORDS = 0.5", "LEVEL, WORDS = 0.6"), ("shift(days)", "shift(-days)"), ("days=1", "days=-1"), ("days=2", "days=-2"),
        ("[1, 2]", "[1, 3]"), ('"down"', '"flat"'), ("closes > inner", "closes < inner"), ("days: int = 3", "days: int = 4"),
    ],
)  # fmt: skip
def test_a_strategy_typed_into_a_notebook_is_another_one_when_a_helper_a_constant_or_its_parent_is(was, now):
    assert TYPED.count(was) == 1
    assert hash_of_typed(TYPED.replace(was, now)) != hash_of_typed(TYPED)
    assert hash_of_typed(TYPED + "\n\ndef nobody_asks(): pass\n") == hash_of_typed(TYPED)


def test_a_typed_strategy_has_the_same_hash_in_every_process():
    program = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_certificate as t; print(t.hash_of_typed(t.TYPED))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert seen == {hash_of_typed(TYPED) + "\n"}


def test_a_certificate_survives_its_file_and_pickling(tmp_path):
    certificate = check_causal(SmaCross(3, 8), random_panel(2), days=40)
    keep_certificate(tmp_path, certificate)
    found = find_certificate(tmp_path, SmaCross(3, 8))
    assert found == certificate
    assert pickle.loads(pickle.dumps(found)) == certificate
    assert found.line == f"✓ checked at 40 of {found.possible} days on {found.made[:10]}, code {found.code[:8]}"
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_one_that_failed_is_found_again_with_its_sentence(project, tmp_path):
    (project / "helper.py").write_text(HELPER.replace("shift(days)", "shift(-days)"))
    strategy = load_strategy(f"{project.name}.rule:Rising")
    certificate = check_causal(strategy, random_panel(2), seconds=5)
    assert not certificate.ok
    keep_certificate(tmp_path / "c", certificate)
    found = find_certificate(tmp_path / "c", strategy)
    assert found == certificate
    assert found.line == f"✗ {certificate}"


@pytest.mark.parametrize("spoil", ["", "{}", "[1]", '{"code": 7}', "not json"])
def test_a_spoilt_file_is_no_certificate(tmp_path, spoil):
    certificate = check_causal(SmaCross(3, 8), random_panel(2), days=5)
    path = keep_certificate(tmp_path, certificate)
    path.write_text(spoil)
    assert find_certificate(tmp_path, SmaCross(3, 8)) is None


def test_one_of_other_code_under_this_name_is_none(tmp_path):
    certificate = check_causal(SmaCross(3, 8), random_panel(2), days=5)
    path = keep_certificate(tmp_path, certificate)
    path.write_text(json.dumps(certificate.to_dict() | {"code": "0" * 64}))
    assert find_certificate(tmp_path, SmaCross(3, 8)) is None
    path.unlink()
    assert find_certificate(tmp_path, SmaCross(3, 8)) is None
    assert find_certificate(Path(tmp_path / "nowhere"), SmaCross(3, 8)) is None


def test_permits_refuse_what_is_not_known_or_failed_and_say_why():
    good = Certificate("good", code="a")
    permits = Permits({"good": good, "missing": None})
    permits.refuse("good")
    for name in ("missing", "stranger"):
        with pytest.raises(
            UncertifiedError, match=f"Strategy '{name}' may not open positions: there is no certificate"
        ) as refused:
            permits.refuse("good", name)
        assert pickle.loads(pickle.dumps(refused.value)).args == refused.value.args
        assert refused.value.exit_code == 2
    Permits({"missing": None}, warn=True).refuse("missing", "stranger")
