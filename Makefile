# `make` alone prints the targets. Another Python: make setup PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
READY := .venv/.ready
LOWEST := .venv-lowest
QUICK := -m "not slow and not browser and not sample"
# on all cores; tests that share JupyterLab stay in one process
TESTS := $(BIN)/python -m pytest --numprocesses auto --dist loadgroup
PEERS := .peers/.ready

.DEFAULT_GOAL := help
.PHONY: help setup run test quick lowest lab check bench screenshots clean

help:  ## print the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(READY)  ## make .venv from requirements.lock, with ftkit in it

# torch comes by pip, whose own settings may name a local build; the rest by uv in a third of the time,
# or by pip where the registry is reached only through pip's own settings.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else \
	  "ftkit needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is another: make setup PYTHON=python3.12")'
	@echo "Installing into .venv: a minute or two, the first time."
	@$(PYTHON) -m venv .venv
	@$(PIP) $(shell grep -E '^(torch|uv)==' requirements.lock)
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --requirement requirements.lock \
	  || $(PIP) --requirement requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

run: setup  ## run the two shipped recipes from data to evaluation
	$(BIN)/ftkit run reuters_topics tweet_entities

test: setup  ## run all tests, in a browser too where there is one
	$(TESTS) $(if $(or $(CHROMIUM),$(wildcard /usr/bin/chromium)),,-m "not browser")

quick: setup  ## run the tests that need no browser, no samples and no minutes each
	$(TESTS) $(QUICK)

lowest: $(LOWEST)/.ready  ## run tests of what uses libraries most with the oldest versions that pyproject.toml allows
	$(LOWEST)/bin/python -m pytest -p no:cacheprovider -m "not browser and not sample" \
	  tests/stages tests/speed/test_attention.py tests/test_cli.py

# torch stays as it is locked; tools for the tests too: only what ftkit itself asks for is as old as it may be.
$(LOWEST)/.ready: $(READY) pyproject.toml
	@$(PYTHON) -m venv --clear $(LOWEST)
	@$(LOWEST)/bin/python -m pip install -qq --disable-pip-version-check $(shell grep -E '^torch==' requirements.lock)
	@grep -E '^(torch|build|hatchling|hypothesis|pytest|pytest-timeout|sentencepiece|seqeval)==' requirements.lock \
	  > $(LOWEST)/tools.txt
	@$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct \
	  --requirement $(LOWEST)/tools.txt --requirement pyproject.toml
	@touch $@

lab: setup  ## open the notebooks in JupyterLab
	$(BIN)/ftkit lab

check: setup  ## lint, format, types, import directions, notebooks without outputs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/nbstripout --keep-id --verify notebooks/*.ipynb

bench: setup $(PEERS)  ## repeat the measured comparisons of the README, in an hour and a half or more
	$(BIN)/python -m benchmarks
	$(BIN)/python docs/quote.py

$(PEERS): benchmarks/requirements.lock
	@$(PIP) --no-deps --upgrade --target .peers --requirement benchmarks/requirements.lock
	@touch $@

screenshots: setup  ## take the pictures of the README again, in a real JupyterLab
	$(BIN)/python docs/screenshots.py

clean:  ## remove what was built and computed here; runs/ stays
	rm -rf .venv $(LOWEST) .peers build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
