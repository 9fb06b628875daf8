"""Errors and warnings on the command line speak of what the user types."""

import re
import shlex
import warnings
from pathlib import Path

import click
import pytest

from tests.commands import run
from tfae import datasets
from tfae.cli import main
from tfae.cli.wording import in_options

TRAIN = click.Context(main.commands["train"])
ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "saved_models" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("columns: expected names; received 3.", "--columns: expected names; received 3."),
        ("source: expected a file.\nIt is none.", "SOURCE: expected a file. It is none."),
        ("loss: expected one.", "--loss: expected one."),
        ("sample_reduction: expected another.", "--sample-reduction: expected another."),
        ("autoencoder: expected a model.", "expected a model."),
        ("column 'a': expected numbers.", "column 'a': expected numbers."),
        ('silence this with ignore=["range"].', "silence this with --ignore range."),
        ('ignore=["range", "domain"]', "--ignore range --ignore domain"),
        ('columns=["a b", "c"] takes them', "--columns 'a b,c' takes them"),
        (
            "Choose others with columns=, or take one out with label=.",
            "Choose others with --columns, or take one out with --label.",
        ),
        ("sub-folders called COLUMN=VALUE", "sub-folders called COLUMN=VALUE"),
        ("leave them out: drop=['v[0]', 'v[1]'].", "leave them out: --drop 'v[0],v[1]'."),
        ("drop=[...] leaves them out", "--drop leaves them out"),
        ("Load it with in_memory=True.", "Load it with --in-memory."),
        ("begun with in_memory=False", "begun with --streamed"),
        ("declare a value_range=(low, high) that holds", "declare a --value-range low high that holds"),
        ("load it with value_range=(0.0, 16.0)", "load it with --value-range 0.0 16.0"),
        ('use preprocessing="unit".', "use --preprocessing unit."),
        ("seed=3 gives", "--seed 3 gives"),
        ("call compile(optimizer, loss=SquaredError()).", "call compile(optimizer, loss=SquaredError())."),
        ("some (say epochs=3)", "some (say --epochs 3)"),
        ("a layer with units=3", "a layer with units=3"),
        ("--flag=--seed=3, my.seed=3 and seed==3", "--flag=--seed=3, my.seed=3 and seed==3"),
    ],
)
def test_arguments_become_options(message, expected):
    assert in_options(message, TRAIN) == expected


def test_a_run_that_is_to_go_on_was_given_as_resume(tmp_path):
    message = run("train", "--resume", tmp_path, code=2).stderr.splitlines()[-1]
    assert message.startswith("Error: --resume: expected the directory of a training that was stopped")


def test_the_errors_and_warnings_of_a_command_are_about_its_options(tmp_path, monkeypatch):
    (tmp_path / "data.csv").write_text("a,b\n1,\n2,5\n3,6\n")
    message = run("train", tmp_path / "data.csv", code=2).stderr.splitlines()[-1]
    assert "Take missing ones as such, --gaps mask; or leave out their rows, --gaps drop, or columns, --drop" in message
    message = run("train", "wine", "--columns", "nothing", code=2).stderr.splitlines()[-1]
    assert message.startswith("Error: --columns: ")

    def load(*_, **__):
        warnings.warn('something; preprocessing="none"\nhelps', stacklevel=1)
        raise ValueError("seed: expected another.")

    monkeypatch.setattr(datasets, "load", load)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = run("advise", "wine", code=2)
    assert result.stderr == "Warning: something; --preprocessing none helps\nError: --seed: expected another.\n"


def test_commands_in_the_pages_are_commands_and_their_options_are_options():
    found = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = "".join(block for _, block in re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", text))
        for line in re.findall(r"(?m)^tfae .*", blocks) + re.findall(r"`(tfae [a-z-][^`]*)`", text):
            words = shlex.split(line.partition(" -- ")[0], comments=True)[1:]  # Behind that, they are another's.
            while words and words[0].startswith("--"):
                words = words[2 if words[0] == "--import" else 1 :]
            if words in ([], ["COMMAND"]):
                continue
            command = main.commands[words[0]]
            known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
            used = {word.partition("=")[0] for word in words[1:] if word.startswith("-")}
            assert used <= known | {"--help"}, line
            found.add(words[0])
    assert found == set(main.commands)
