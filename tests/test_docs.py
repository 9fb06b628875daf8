"""The guides in the terminal and the site, and what a release says of itself in several files."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import tfae
from tests.commands import run
from tfae.cli import main

ROOT = Path(__file__).parents[1]
GUIDES = sorted(path for path in (ROOT / "docs").glob("*.md") if path.stem != "index")


def test_all_guides_are_listed_with_their_title():
    listed = run("docs").output.splitlines()
    assert [line.split()[0] for line in listed] == ["index", *(path.stem for path in GUIDES)]
    assert "Sum or mean" in next(line for line in listed if line.startswith("sum_or_mean"))


@pytest.mark.parametrize("guide", [ROOT / "docs" / "index.md", *GUIDES], ids=lambda path: path.stem)
def test_a_guide_is_shown_without_markup(guide):
    shown = run("docs", guide.stem).output
    text = guide.read_text(encoding="utf-8").split("```{toctree}")[0]  # Which is for the site.
    words = set(re.findall(r"\w{5,}", text))
    assert len(words & set(re.findall(r"\w{5,}", shown))) > 0.9 * len(words)
    assert not re.search(r"^#|^```|^!\[", shown, re.MULTILINE)


def test_names_of_guides_are_matched_as_they_are_typed():
    assert run("docs", "Sum-or-Mean.md").output == run("docs", "sum_or_mean").output
    refused = CliRunner().invoke(main, ["docs", "tabels"])
    assert refused.exit_code == 2
    assert refused.output.endswith("received 'tabels'. Did you mean 'tables'?\n")
    assert "TOPIC: expected one of index, anomalies, " in refused.output


def test_guides_that_the_package_names_are_there():
    named = set()
    for path in (ROOT / "tfae").rglob("*.py"):
        named |= set(re.findall(r"`?tfae docs (\w+)", path.read_text(encoding="utf-8")))
    assert named <= {path.stem for path in GUIDES}


def test_all_public_modules_and_commands_are_in_the_reference():
    pages = {path.stem for path in (ROOT / "docs" / "api").glob("*.md")}
    assert pages == {*tfae.__all__, "index", "command_line"}
    listed = re.findall(r"^\| `tfae (\w+)", (ROOT / "docs" / "commands.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(main.commands)


def test_every_guide_has_its_place_in_the_site():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").splitlines()
    assert {path.stem for path in GUIDES} <= set(index)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("sphinx") is None, reason="the extra docs is not installed")
def test_the_site_is_built_without_a_warning(tmp_path):
    options = ["--fail-on-warning", "--keep-going", "--quiet", "-c", "docs", "."]
    subprocess.run([sys.executable, "-m", "sphinx", *options, tmp_path], cwd=ROOT, check=True)
    for page in GUIDES:
        assert (tmp_path / page.relative_to(ROOT).with_suffix(".html")).exists()
    for page in (ROOT / "docs" / "api").glob("*.md"):
        source = page.read_text(encoding="utf-8")
        told_elsewhere = re.findall(":exclude-members: (.*)", source)
        for name in re.findall("automodule:: (.*)", source):
            reference = (tmp_path / "docs" / "api" / f"{page.stem}.html").read_text(encoding="utf-8")
            public = getattr(importlib.import_module(name), "__all__", ())
            assert [each for each in public if f'id="{name}.{each}"' not in reference] == told_elsewhere, name


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == tfae.__version__
    newest = re.search(r"^## (\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest.groups() == (tfae.__version__, citation["date-released"])


def test_the_workflow_runs_targets_that_there_are_on_all_pythons_that_are_supported():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    commands = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    assert {target for command in commands for target in command.removeprefix("make ").split()} <= targets
    classifiers = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    supported = re.findall(r"Programming Language :: Python :: (3\.\d+)", classifiers)
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == supported
    for template in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"):
        assert yaml.safe_load(template.read_text(encoding="utf-8"))
