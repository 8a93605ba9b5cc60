# On a fresh machine with Python, pip and make: `make demo` shows the service, `make test` runs every check and test.
PYTHON ?= python3
BIN := .venv/bin

MINUTES ?= 5
ITEMS ?= 1500

.PHONY: demo check lint test browser proxies docs screenshots chaos bench bench-quick install lock clean

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

install: .venv/installed

# The service and its embedded servers.
.venv/local: locks/requirements-local.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --require-hashes -r locks/requirements-local.txt
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

# The tools of checks and tests.
.venv/installed: .venv/local locks/requirements-dev.txt
	$(PIP) --require-hashes -r locks/requirements-dev.txt
	touch $@

demo: .venv/local
	$(BIN)/python -m pipeline demo

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# The quick check before a commit.
check: lint
	$(BIN)/python -m pytest -n 2 tests/unit

test: lint browser proxies
	$(BIN)/python -m pytest -n 2 --dist worksteal tests

# A browser for tests/browser: an installed one, Playwright's download or, as root, Debian's package.
browser: .venv/installed
	$(BIN)/python tests/support/browser.py

# nginx and HAProxy for tests/integration/test_proxies.py: installed ones, or Debian's packages.
proxies: .venv/installed
	$(BIN)/python tests/support/proxies.py

# A soak test with random faults: docs/guarantees.md.
chaos: .venv/installed
	PYTHONPATH=.:tests $(BIN)/python tests/support/soak.py --minutes $(MINUTES) --items $(ITEMS)

.venv/prefect: locks/requirements-prefect.txt
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

# Figures beside those of other frameworks, measured in the same run: docs/performance.md. They have no pass or fail.
bench: .venv/prefect
bench bench-quick: .venv/installed
	$(PIP) --require-hashes -r locks/requirements-bench.txt
	PYTHONPATH=.:tests $(BIN)/python -m benchmarks $(if $(filter bench-quick,$@),--quick)

# The parts of docs/ and of the README that are generated from the program.
docs: .venv/installed
	PYTHONPATH=.:tests $(BIN)/python tests/support/generated_docs.py

# The screenshots in the README.
screenshots: browser
	PYTHONPATH=.:tests $(BIN)/python tests/support/screenshots.py

# Pin every package and dependency with its hash. Run it after a change of a requirements file.
lock: .venv/installed
	$(PIP) --require-hashes -r locks/requirements-lock.txt
	for name in -bench -dev -local -previews '' -otel -lock; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	    --constraint locks/requirements-bench.txt requirements$$name.txt --output-file locks/requirements$$name.txt || exit 1; \
	done
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	  requirements-prefect.txt --output-file locks/requirements-prefect.txt

clean:
	rm -rf .venv .cache var
