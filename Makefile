# Each target sets up .venv by itself; PYTHON=python3.12 chooses the interpreter (3.10 to 3.13).
PYTHON ?= python3
BIN := .venv/bin

# A process per core, which takes one file of tests after the other; what takes the longest is listed.
PYTEST := $(BIN)/pytest --numprocesses logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder --durations 20

.PHONY: demo test test-all test-beam test-oldest check docs dist bench clean

demo: .venv/installed  ## Train on the digits, export, and score with what was exported.
	$(BIN)/tfae train digits

test: check  ## What CI runs, and what to run before every commit: all but the slow tests.
	$(PYTEST) -m "not slow"

test-all: check  ## The slow ones too: benchmarks at their smallest, the wheel, pages in a browser, whole data sets.
	$(PYTEST)

test-beam: .venv-beam/installed  ## Scoring by Apache Beam, whose protobuf and pyarrow are older, in its own environment.
	.venv-beam/bin/pytest --durations 5 tests/test_beam.py tests/test_pieces.py tfae/scoring/beam.py

test-oldest: .venv-oldest/installed  ## What CI runs, with the oldest versions that setup.cfg allows; their warnings are no errors.
	PYTEST_ADDOPTS="-W default" .venv-oldest/bin/pytest --numprocesses logical --maxprocesses 8 --dist loadfile -m "not slow"

check: .venv/installed-test  ## Format, lint and types.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: .venv/installed-docs  ## The site, in build/docs; a warning, such as of a link to nowhere, is an error.
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -c docs . build/docs

dist: .venv/installed-test  ## Wheel and sdist, in dist/.
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*

bench: .venv/installed-test  ## Benchmarks; they print and write, and assert nothing. Hours, so run one by its name.
	for name in quickstart startup losses fit streaming scaling recovery schedule comparison publication serving tables anomalies variational; do $(BIN)/python -m benchmarks.$$name || exit; done

clean:
	rm -rf .venv .venv-beam .venv-oldest build dist *.egg-info

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[serve]'
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

.venv-beam/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv-beam
	.venv-beam/bin/python -m pip install --quiet --editable '.[beam]' hypothesis pytest pytest-xdist sybil
	touch $@

.venv/installed-docs: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

.venv-oldest/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet uv
	VIRTUAL_ENV=.venv-oldest .venv-oldest/bin/uv pip install --quiet --resolution lowest-direct --editable '.[serve]' 'tensorflow-metadata>=1.17,<1.18'
	.venv-oldest/bin/python -m pip install --quiet --editable '.[test]'
	touch $@
