# Two commands do everything on a fresh machine with Python 3.11 and git:
#   make prove   sets up, runs the main job against a live server, prints the verdict
#   make test    sets up, runs every test
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.bench-ready
MUTATION_READY := $(VENV)/.mutation-ready
WORKERS ?= 2
SERVICES := build/services/node_modules/.restate-server-1.7.12

# Without byte code each server that a test starts would compile itself anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup prove test serve check format bench bench-ledger faults mutants services clean

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/' | expand -t 20

setup: $(READY) ## a virtual environment with the pinned dependencies
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,restate,otel]'
	@touch $@

prove: $(READY) ## the proof campaign, on a live server of its own
	$(BIN)/fedcore prove

services: $(SERVICES) ## the servers that tests run against
$(SERVICES):
ifndef FEDCORE_RESTATE_SERVER
	mkdir -p build/services
	npm install --prefix build/services --no-audit --no-fund --no-save @restatedev/restate-server@1.7.12
	@touch $@
endif

# Temporary files are kept in memory, where there is room: half of what a small test waits for is a
# disk. One worker more than cores, as each waits for servers now and then.
test: $(READY) $(SERVICES) ## every test but those of faults, in random order
	space=$$(df -k --output=avail /dev/shm 2> /dev/null | tail -n 1); \
	if [ "$${space:-0}" -gt 4000000 ]; then export TMPDIR=/dev/shm; fi; \
	$(BIN)/python -m pytest -n $$(($(WORKERS) + 1)) --ignore=tests/faults

serve: $(READY) ## a development server on port 9405
	$(BIN)/fedcore serve --dev

check: $(READY) ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## bring the code into form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(BENCH_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

bench: $(BENCH_READY) ## governed steps a second, beside a peer in the same run
	$(BIN)/python -m bench

bench-ledger: $(READY) ## a ledger of a million events: appends, proofs, start, verification
	$(BIN)/python -m bench.large_ledger

faults: $(READY) $(SERVICES) ## processes killed, frozen, cut off, at every write and under load; FORM=short, SEED=n
	$(if $(FORM)$(SEED),,REFUNDS_LIMIT=1000 REFUNDS_KILL_EVERY=60) $(BIN)/python -m pytest -n $(WORKERS) tests/faults
	$(BIN)/python -m tests.faults

$(MUTATION_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[mutation]'
	@touch $@

mutants: $(MUTATION_READY) ## mutants of the pack verifier, and which of them live (docs/mutation.md)
	$(BIN)/python -m tests.evidence.corpus.functions $(WORKERS)
	$(BIN)/python -m tests.evidence.corpus.tables $(WORKERS)

clean: ## forget the environment and what was generated
	rm -rf $(VENV) REPORT .fedcore .mypy_cache .ruff_cache .pytest_cache .hypothesis build
