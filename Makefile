# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
VENDOR := src/firstlight/web/static/vendor/.built
DEMO ?= demo-night
# The real sample data, where this machine has them.
ifneq ($(wildcard ../shared/data),)
export FIRSTLIGHT_SAMPLES ?= $(abspath ../shared/data)
endif
# One core a worker: the libraries below must not start threads of their own.
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1
# What is compiled for one run of the tests, and for each program that they start, is kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow test-nightly check docs bench lock format clean

demo: $(STAMP) $(VENDOR)
	$(BIN)/python examples/demo.py $(DEMO)

test: $(STAMP) $(VENDOR)
	$(BIN)/pytest -m "not slow and not nightly" $(PYTEST_ARGS)

# Whole nights, tutorials, pages in a browser: a quarter of an hour.
test-slow: $(STAMP) $(VENDOR)
	$(BIN)/pytest -m "slow and not nightly" $(PYTEST_ARGS)

# Fifty kills, other seeds, large numbers of what the others try: another quarter of an hour.
test-nightly: $(STAMP)
	$(BIN)/pytest -m nightly $(PYTEST_ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --strict --quiet --site-dir build/docs

docs: $(STAMP)
	$(BIN)/mkdocs build --strict --site-dir build/docs

# Peers pin what they like, so they live in an environment of their own.
bench: $(STAMP)
	test -d $(VENV)-bench || $(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet -r benchmarks/peers.txt
	$(VENV)-bench/bin/python -m pip install --quiet -e .
	$(VENV)-bench/bin/python benchmarks/run.py

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Names, versions and hashes of everything that is installed; no addresses.
lock: $(STAMP)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-header --no-annotate --no-emit-index-url --extra postgres \
	    --group dev pyproject.toml -o requirements.lock

# JavaScript of other people, pinned by package-lock.json; without it pages are drawn here.
$(VENDOR): package-lock.json tools/build_web.py | $(STAMP)
	$(BIN)/python tools/build_web.py
	mkdir -p $(dir $@) && touch $@

$(STAMP): pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	# Commands start quicker, also where Python may not write what it has compiled.
	$(BIN)/python -m compileall -q src
	$(BIN)/firstlight compile
	touch $@

clean:
	rm -rf $(VENV) $(DEMO) build dist .mypy_cache .ruff_cache .pytest_cache
