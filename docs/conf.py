"""Settings of Sphinx. Its source folder is the repository: links between pages are those that GitHub follows, too."""

import os
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import tfae

project = "tfae"
author = "The tfae authors"
copyright = author
version = release = tfae.__version__

root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/api/*.md",
    "notebooks/*.ipynb",
    "saved_models/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_click",
    "sphinx_copybutton",
]

# Notebooks carry their outputs, which the tests keep current.
nb_execution_mode = "off"
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]

autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"show-inheritance": True}
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = [("Options", "params_style")]

# Fields of the same name in two classes.
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_title = f"tfae {release}"
html_additional_pages = {"index": "redirect.html"}
templates_path = ["templates"]


def _escape(app: Any, context: Any, lines: list[str]) -> None:
    """Have the asterisks of patterns in a command's help be no emphasis."""
    lines[:] = [line.replace("*", r"\*") for line in lines]


def _skip(app: Any, what: str, name: str, member: Any, skip: bool, options: Any) -> bool:
    """Leave out the fields of named tuples, which the class describes."""
    return skip or "Alias for field number" in (getattr(member, "__doc__", None) or "")


def setup(app: Any) -> None:
    """Add what is called while the site is built."""
    app.connect("autodoc-skip-member", _skip)
    app.connect("sphinx-click-process-description", _escape)
