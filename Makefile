# Every target makes what it needs. VENV: where the environment lies or is to be made; PYTHON: what makes it.
VENV ?= .venv
PYTHON ?= python3
CLIENTS_VENV ?= $(VENV)-clients
REFERENCE_VENV ?= $(VENV)-reference
BIN := $(VENV)/bin

.PHONY: test lint types check sabotage test-clients test-reference demo bench lock clean

test: $(VENV)/.installed
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Each promise broken on purpose: its tests must fail. Takes some minutes.
sabotage: $(VENV)/.installed
	$(BIN)/python tests/sabotage.py

check: lint test test-clients test-reference

# Other vendors' clients. They have an environment of their own: their packages hold openai-python back.
test-clients: $(CLIENTS_VENV)/.installed tests/clients/node_modules/.installed
	$(CLIENTS_VENV)/bin/python -m pytest -q -m clients tests/clients

# The published llmlingua on the same models. It runs as it is with older releases than ours.
test-reference: $(REFERENCE_VENV)/.installed
	$(REFERENCE_VENV)/bin/python -m pytest -q -m reference tests/reference

demo: $(VENV)/.installed
	$(BIN)/laconic demo

# All against the fake provider on this machine; the quality and segmentation benchmarks need data, see benchmarks/.
bench: $(VENV)/.installed
	$(BIN)/python benchmarks/overhead.py

lock: $(VENV)/.installed
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip compile $(LOCK) -o requirements.lock pyproject.toml
	$(BIN)/uv pip compile $(LOCK) -o requirements-dev.lock --extra dev --extra otlp pyproject.toml
LOCK := -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock"

clean:
	rm -rf $(VENV) $(CLIENTS_VENV) $(REFERENCE_VENV) tests/clients/node_modules build dist

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e '.[dev]'
	touch $@

$(CLIENTS_VENV)/.installed: pyproject.toml
	test -x $(CLIENTS_VENV)/bin/python || $(PYTHON) -m venv $(CLIENTS_VENV)
	$(CLIENTS_VENV)/bin/python -m pip install -q -e '.[clients]'
	touch $@

$(REFERENCE_VENV)/.installed: pyproject.toml
	test -x $(REFERENCE_VENV)/bin/python || $(PYTHON) -m venv $(REFERENCE_VENV)
	$(REFERENCE_VENV)/bin/python -m pip install -q -e '.[reference]'
	touch $@

tests/clients/node_modules/.installed: tests/clients/package-lock.json
	cd tests/clients && npm ci --no-fund --no-audit
	touch $@
