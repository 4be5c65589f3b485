# One virtual environment, made on first use; VENV and PYTHON may be set.
VENV ?= .venv
PYTHON ?= python3
PORT ?= 8080
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install lint check test check-deploy demo serve

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

lint: install ## Rewrite what can be rewritten.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: install ## Verify only.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check
	OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 $(BIN)/python -m pytest

check-deploy: install ## The steps of the Dockerfile, carried out without an engine.
	OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 $(BIN)/python -m pytest -m deploy tests/test_deployment_install.py

demo: install ## The page and the API on the embedded model.
	$(BIN)/tunevlseg serve --port $(PORT)

serve: demo
