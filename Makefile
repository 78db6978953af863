# Two commands do everything: make demo, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test conformance check format lock benchmarks clean
.DEFAULT_GOAL := demo

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Forecastle needs Python 3.11 to 3.13, this is " + sys.version.split()[0])'
	@echo "installing the locked environment into $(VENV) (some minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP)  ## materialise, pack, serve, ask and trace prediction_markets (ONCE=1: stop after the proof)
	@$(BIN)/forecastle demo $(if $(ONCE),--once)

test: check  ## lint, types, import rules, tests
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not e2e"
	@$(BIN)/python -m pytest -m e2e

conformance: $(STAMP)  ## the rules every system keeps, on ours and on those in FORECASTLE_SYSTEMS (SYSTEM=name: only that one)
	@$(BIN)/python -m pytest tests/conformance $(if $(SYSTEM),-k "test_conformance[$(SYSTEM)-")

check: $(STAMP)  ## lint, types, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/forecastle check

format: $(STAMP)  ## what a machine can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: $(STAMP)  ## resolve both lock files anew
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-strip-extras --no-emit-index-url --no-emit-find-links --output-file requirements.lock
	$(BIN)/uv pip compile requirements-serve.in --constraint requirements.lock --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-strip-extras --no-emit-index-url --no-emit-find-links --output-file platform/requirements-serve.lock

benchmarks: $(STAMP)  ## every benchmark table (long; a quiet machine)
	@for name in platform.load platform.graph statistics.s1_calibration_report statistics.s2_drift \
	  statistics.s3_comparison statistics.s4_bootstrap features.f1_point_in_time features.f3_growth \
	  features.f4_rolling features.f5_f6_online features.f7_stream features.f8_on_demand features.l4_rebuild \
	  features.table_format learning.l1_factory learning.l2_definitions learning.l3_backtest serve; do \
	  $(BIN)/python -m benchmarks.$$name; done

clean:  ## remove the environment and all state of the demo
	rm -rf $(VENV) .forecastle .mypy_cache .ruff_cache .hypothesis
