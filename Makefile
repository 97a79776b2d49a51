# Every target sets up what it needs in .venv; nothing else on the machine is touched.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST_ARGS ?=

.PHONY: help demo test slow lint types check bench train-bundled clean

help:  ## say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo  ## index the standard library in FAISS, PostgreSQL and Milvus, and search it
	$(BIN)/python examples/search_the_standard_library.py

test: $(VENV)/.test  ## run the tests, real databases included
	QVEC_TEST_REQUIRE=$${QVEC_TEST_REQUIRE:-all} $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

slow: $(VENV)/.test  ## run the slow tests
	QVEC_TEST_REQUIRE=$${QVEC_TEST_REQUIRE:-all} $(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

lint: $(VENV)/.lint  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.test $(VENV)/.lint  ## check types, strictly
	$(BIN)/mypy

check: lint types test  ## everything that has to be green

bench: .venv-bench/.done  ## measure against the raw drivers and the peers
	.venv-bench/bin/python -m benchmarks.run all

train-bundled: $(VENV)/.test  ## train the bundled model again
	$(BIN)/python -m benchmarks.bundled_model all

clean:  ## take the virtual environment and caches away
	rm -rf $(VENV) .venv-bench .cache .mypy_cache .ruff_cache .pytest_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt -e ".[milvus,pgvector-embedded,faiss,code]"
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt -e ".[all]" -r requirements-test.txt
	touch $@ $(VENV)/.demo

$(VENV)/.lint: constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt ruff mypy pre-commit
	touch $@

.venv-bench/.done: pyproject.toml benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install -q -e ".[milvus,elasticsearch,pgvector-embedded,faiss,code]" -r benchmarks/requirements.txt
	touch $@
