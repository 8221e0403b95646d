# Two commands do everything: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRAS := server,worker,demo,quality,dev
# Processes that share the test files out among them; 0 runs all in one. One more than cores: many tests wait.
TEST_PROCESSES ?= 3
SHARED_OUT := -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

export OMP_NUM_THREADS ?= 2
export RAY_USAGE_STATS_ENABLED := 0
# Tests start hundreds of processes, which would compile our modules anew where the environment forbids to keep them.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo bench-quality serve test coverage check format lint types imports clean

help:
	@echo "make demo    set up, start the service, train a real model while its learning rate is steered, show the result"
	@echo "make bench-quality   the search against tuned references and baselines; goes on where it was stopped (about 4 h)"
	@echo "make test    set up, run all tests"
	@echo "make coverage   the same with branch coverage, which takes up to twice as long"
	@echo "make check   format, lint, types, import contracts"
	@echo "make serve   start the service on SQLite at http://127.0.0.1:8642"

setup: $(STAMP)

$(STAMP): pyproject.toml client/pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --upgrade-strategy only-if-needed -c constraints.txt -e ./client -e ".[$(EXTRAS)]"
# What pip does on one core. Some packages hold files for later Pythons, which are left as they are.
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@

demo: $(STAMP)
	$(BIN)/python -m demo

bench-quality: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.quality $(if $(QUICK),--quick) --json benchmarks/quality/results.json \
		--results benchmarks/quality/RESULTS.md --plot benchmarks/quality/results.png

serve: $(STAMP)
	$(BIN)/pacesetter-server serve

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SHARED_OUT)

coverage: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SHARED_OUT) --cov --cov-report=term

check: format lint types imports

format: $(STAMP)
	$(BIN)/ruff format --check .

lint: $(STAMP)
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis demo/output
