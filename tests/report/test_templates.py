"""The notebooks of runs: narrative, calls and plots; nothing that decides."""

import ast
import importlib.resources
import json

import pytest

PAGES = ("backtest", "signals", "trade")


def cells(page: str) -> list[dict]:
    text = importlib.resources.files("trading_core.templates").joinpath(f"{page}.ipynb").read_text(encoding="utf-8")
    return json.loads(text)["cells"]


def parameters(page: str) -> dict[str, ast.AnnAssign]:
    (cell,) = [cell for cell in cells(page) if "parameters" in cell["metadata"].get("tags", [])]
    return {node.target.id: node for node in ast.parse("".join(cell["source"])).body}


@pytest.mark.parametrize("page", PAGES)
def test_parameters_have_types_defaults_and_help(page):
    (cell,) = [cell for cell in cells(page) if "parameters" in cell["metadata"].get("tags", [])]
    assert all(isinstance(node, ast.AnnAssign) and node.value is not None for node in parameters(page).values())
    assert all("  # " in line for line in "".join(cell["source"]).splitlines())


def test_a_trade_notebook_that_is_run_by_hand_is_a_dry_run():
    assert parameters("trade")["dry_run"].value.value is True


@pytest.mark.parametrize("page", PAGES)
def test_templates_hold_no_outputs_and_no_logic(page):
    for cell in cells(page):
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        source = "".join(cell["source"])
        logic = (
            ast.If,
            ast.For,
            ast.While,
            ast.FunctionDef,
            ast.ClassDef,
            ast.Lambda,
            ast.Try,
            ast.BinOp,
            ast.ListComp,
        )
        found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, logic)]
        assert not found, source


@pytest.mark.parametrize("page", PAGES)
def test_templates_begin_with_a_title_and_a_promise(page):
    first = "".join(cells(page)[0]["source"])
    assert first.startswith("# ")
    assert "\n> " in first
