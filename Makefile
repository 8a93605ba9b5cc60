# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

MINUTES ?= 5
ITEMS ?= 1500

.PHONY: demo test pictures chaos bench bench-quick install lock clean

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

install: .venv/installed

# What the service and its embedded servers need.
.venv/local: locks/requirements-local.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --require-hashes -r locks/requirements-local.txt
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

# What the tests need besides.
.venv/installed: .venv/local locks/requirements-dev.txt
	$(PIP) --require-hashes -r locks/requirements-dev.txt
	touch $@

demo: .venv/local
	$(BIN)/python -m pipeline demo

test: .venv/installed .cache/axe-core
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist worksteal tests

# A soak with everything failing at random; see docs/guarantees.md.
chaos: .venv/installed
	PYTHONPATH=.:tests $(BIN)/python tests/support/soak.py --minutes $(MINUTES) --items $(ITEMS)

# What judges the pages in the browser tests; they need Debian's chromium, too.
.cache/axe-core:
	npm install --silent --no-audit --no-fund --prefix .cache axe-core@4.14.1
	touch $@

.venv/prefect: requirements-prefect.txt
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

# Figures with their peers in the same run: docs/performance.md. They judge nothing.
bench: .venv/prefect
bench bench-quick: .venv/installed
	$(PIP) --require-hashes -r locks/requirements-bench.txt
	PYTHONPATH=.:tests $(BIN)/python -m benchmarks $(if $(filter bench-quick,$@),--quick)

# The README's pictures.
pictures: .venv/installed
	PYTHONPATH=.:tests $(BIN)/python tests/support/screenshots.py

# Every package with its dependencies, pinned and by hash: to be run when a requirements file has changed.
lock:
	$(PIP) uv==0.13.9
	for name in -bench -dev -local ''; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	    --constraint locks/requirements-bench.txt requirements$$name.txt --output-file locks/requirements$$name.txt || exit 1; \
	done

clean:
	rm -rf .venv .cache var
