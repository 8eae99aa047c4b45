# Two commands do everything: `make run` and `make test`. Each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH := torch==2.13.0
# Where PyTorch keeps its CPU builds; asked only where pip finds none without it.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup run test test-js fuzz bench accuracy experiment chaos cuts check format clean

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1\t/'

setup: $(VENV)/.ready  ## the environment in .venv

run: setup  ## serve on 127.0.0.1:8000
	@$(BIN)/stepahead serve

test: setup  ## everything, in as many processes as JOBS says (2)
	@$(BIN)/python -m pytest --numprocesses $(or $(JOBS),2) --dist worksteal

test-js: setup  ## the JavaScript client against a service of its own (needs node and npm)
	@if command -v node >/dev/null && command -v npm >/dev/null; \
	  then cd clients/js && npm ci --no-audit --no-fund && PYTHON="$(abspath $(BIN)/python)" npm test; \
	  else echo "test-js: skipped, as node or npm is missing"; fi

fuzz: setup  ## the long form of tests/fuzz: thousands of generated requests, items, records and byte streams (FUZZ: examples per call)
	@FUZZ=$(or $(FUZZ),100) $(BIN)/python -m pytest -s tests/fuzz

bench: $(VENV)/deep-river  ## how fast it is: pairs measured in turns, as JSON, tables and plots (half an hour; --quick, --only, --million in BENCH)
	@$(BIN)/python -m benchmarks.bench $(BENCH)

accuracy: setup  ## the learner's error on real series, as a table (STEPAHEAD_DATASETS names the folder of those that are not shipped)
	@$(BIN)/python -m benchmarks.quality

experiment: setup  ## does correcting the belief pay: the tables of docs/experiment.md (hours for all of it; --only and --seeds in EXPERIMENT)
	@$(BIN)/python -m benchmarks.experiment $(EXPERIMENT)

chaos: setup  ## is anything lost: kills and network faults under load, and a replay that compares every bit (about 20 minutes; --kills and --items in CHAOS)
	@$(BIN)/python -m benchmarks.chaos $(CHAOS)

cuts: setup  ## does the SDK's long-lived connection hold: 50,000 items over each way while it is cut 100 times (--items and --cuts in CUTS)
	@$(BIN)/python -m benchmarks.cuts $(CUTS)

check: setup  ## format, lint, strict types, import direction
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup  ## let ruff write
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean:  ## remove what setup and the tools made; data stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache clients/js/node_modules clients/js/dist clients/js/build

# torch first and pinned, and its CPU build where one is to be had: whatever pulls in torch later is then satisfied.
$(VENV)/.ready: pyproject.toml clients/python/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "stepahead needs Python 3.11 or newer; name one with PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) "$(TORCH)+cpu" 2>/dev/null \
	  || $(PIP) --extra-index-url "$(TORCH_INDEX)" "$(TORCH)+cpu" 2>/dev/null \
	  || $(PIP) "$(TORCH)"
	$(PIP) --editable clients/python --editable ".[dev]"
	@touch $@

# deep-river asks for older releases of torch and river: it gets a folder of its own, with its river, and runs on this torch.
$(VENV)/deep-river: $(VENV)/.ready
	@rm -rf $@
	@$(PIP) --no-deps --target $@ "deep-river==0.3.4" "river==0.25.0" && touch $@ \
	  || echo "bench: deep-river is not to be had here; its rows will be skipped"
