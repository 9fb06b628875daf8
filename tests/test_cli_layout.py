"""What is printed fits the terminal, and is cut nowhere."""

import pytest

from tests.commands import run
from tfae.cli import main
from tfae.cli.terminal import fit_terminal
from tfae.comparison.result import CLEAN, Comparison, Row, SeedValues


def test_help_cuts_no_summary():
    text = " ".join(run("--help").stdout.split())
    for name, command in main.commands.items():
        assert f"{name} {command.get_short_help_str(10**6)}" in text
    assert "..." not in text.replace("COMMAND [ARGS]...", "")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("short", "short"),
        (
            "  constant baseline    4.7    skill -102.4 %; the training split's best constant",
            "  constant baseline    4.7    skill -102.4 %; the\n"
            + " " * 30
            + "training split's best\n"
            + " " * 30
            + "constant",
        ),
        (
            "loss: squared error, advised because of well-behaved values that are many",
            "loss: squared error, advised because of\n  well-behaved values that are many",
        ),
        ("report    " + "x" * 60, "report    " + "x" * 60),
    ],
)
def test_lines_go_on_below_their_last_column(line, expected, monkeypatch):
    monkeypatch.setattr("tfae.cli.terminal.terminal_width", lambda: 54 if "constant" in line else 45)
    assert fit_terminal(line) == expected


def test_without_a_terminal_lines_stay_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert fit_terminal("a " * 500) == "a " * 500


def test_a_comparison_has_its_losses_below_each_other_where_they_do_not_fit_side_by_side(tmp_path):
    names = ("squared_error", "absolute_error", "binary_crossentropy")
    rows = tuple(Row(CLEAN, name, (), {"mse": SeedValues((0.5, 0.7))}) for name in names)
    model = {"latent_dim": 2}
    data = {"num_samples": {"test": 3}, "name": "wine"}
    plan = {"data": data, "seeds": [0, 1], "losses": dict.fromkeys(names), "model": model, "epochs": 1}
    comparison = Comparison(tmp_path, plan, rows)
    assert "     squared_error  absolute_error  binary_crossentropy\nMSE  0.60 ± 0.14   " in comparison.text(60)
    narrow = comparison.text(40)
    assert (
        "     squared_error  absolute_error\nMSE  0.60 ± 0.14    0.60 ± 0.14\n\n"
        "     binary_crossentropy\nMSE  0.60 ± 0.14\n"
    ) in narrow
    assert str(comparison) == comparison.text(1000)
