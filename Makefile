# `make demo` and `make test` need Python 3.11+, make and a package index; nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo study test fuzz lint types check clean

demo: $(VENV)/.installed  ## Train and test the full method on the default cohort
	$(BIN)/vaclip train experiment=B3

study: $(VENV)/.installed  ## A small study of the default cohort, to its report
	$(BIN)/vaclip study study=quick

test: $(VENV)/.installed-dev  ## The whole test suite
	$(BIN)/python -m pytest

fuzz: $(VENV)/.installed-dev  ## A minute of damaged files for each parser
	PYTHONPATH=tests $(BIN)/python tests/importers/fuzz.py --seconds 60

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/ty check src project

check: lint types test fuzz  ## What CI runs

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
