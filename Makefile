# Everything runs in .venv, which the first command makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= auto
# What the tests talk to, of Debian: tools/install-peer.
PEERS := chromium erlang jq nginx postgresql redis systemd

.PHONY: demo django-demo flask-demo test test-compiled test-django test-pythons hour soak fuzz fuzz-compiled bench lint \
  docs pictures public-api package clean

demo: $(VENV)/demo.stamp
	@$(BIN)/basix-cti demo

# An example site with a call log, on a simulated PBX, at http://127.0.0.1:8000/.
django-demo: $(VENV)/django.stamp
	@$(BIN)/python examples/demo_site.py django

flask-demo: $(VENV)/flask.stamp
	@$(BIN)/python examples/demo_site.py flask

test: $(VENV)/dev.stamp $(PEERS)
	$(BIN)/python -m pytest -n $(JOBS)

# The same tests, against the modules compiled by mypyc; a C compiler is needed.
test-compiled: $(VENV)/compiled.stamp $(PEERS)
	PYTHONPATH=$(CURDIR)/$(VENV)/compiled BASIX_CTI_EXPECT_COMPILED=1 $(BIN)/pytest -n $(JOBS)

# The tests of the Django app, with the other releases of Django that are supported.
test-django: $(VENV)/dev.stamp postgresql
	@tools/test-django

# The tests of the connection, with the other Pythons that are supported and that are here.
test-pythons: $(VENV)/dev.stamp
	@tools/test-pythons

hour: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n $(JOBS) -m hour

# A client, load and faults for so long: see soak/.
MINUTES ?= 1
soak: $(VENV)/demo.stamp
	@$(BIN)/python -m soak --minutes $(MINUTES)

# A relay, its standby and its clients under faults.
.PHONY: soak-relay
soak-relay: $(VENV)/dev.stamp redis
	@$(BIN)/python -m soak.relay --seconds $(SECONDS)

# Each of its rounds gets a third of the time: see fuzz/.
SECONDS ?= 60
fuzz: $(VENV)/fuzz.stamp erlang
	@PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(SECONDS)

# python -m looks into the current folder first: so the compiled modules are found before those of the repository.
fuzz-compiled: $(VENV)/fuzz.stamp $(VENV)/compiled.stamp erlang
	@cd $(VENV)/compiled && PYTHONPATH=$(CURDIR):$(CURDIR)/tests ../bin/python -m fuzz --seconds $(SECONDS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff check --extend-select T20 basix_cti
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/dev.stamp
	$(BIN)/sphinx-build -W -n -E -q -b html docs docs/_build/html

# The public names and their signatures, after a wanted change.
public-api: $(VENV)/dev.stamp
	PYTHONPATH=$(CURDIR) $(BIN)/python tools/public_api.py > tests/public_api.txt

# What stands in README and the documentation, of simulated calls.
pictures: $(VENV)/dev.stamp chromium
	@PYTHONPATH=tests $(BIN)/python tools/monitor_picture.py
	@PYTHONPATH=tests $(BIN)/python tools/wallboard_picture.py

package: $(VENV)/dev.stamp
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	BASIX_CTI_USE_MYPYC=1 $(BIN)/python -m build --wheel --outdir dist .
	$(BIN)/twine check --strict dist/*
	if [ -e .git ]; then $(BIN)/python tools/check_sdist.py dist/*.tar.gz; fi

.PHONY: $(PEERS)
$(PEERS):
	@tools/install-peer $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "Python 3.10 or later is needed; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "No venv could be made. On Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip

$(VENV)/demo.stamp: $(BIN)/python setup.py
	@echo "Installing basix_cti and its simulator into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[simulator]'
	@touch $@

$(VENV)/django.stamp $(VENV)/flask.stamp: $(VENV)/%.stamp: $(BIN)/python setup.py
	@echo "Installing basix_cti with its simulator and $* into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[simulator,$*]'
	@touch $@

$(VENV)/dev.stamp: $(BIN)/python setup.py
	@echo "Installing basix_cti with what its tests need into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/demo.stamp $(VENV)/django.stamp $(VENV)/flask.stamp

$(VENV)/fuzz.stamp: $(VENV)/dev.stamp
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	@touch $@

$(VENV)/compiled.stamp: $(VENV)/dev.stamp $(wildcard basix_cti/*.py)
	@echo "Compiling basix_cti into $(VENV)/compiled ..."
	@rm -rf $(VENV)/compiled
	@BASIX_CTI_USE_MYPYC=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --target $(VENV)/compiled .
	@touch $@

bench: $(VENV)/bench.stamp erlang
	@$(BIN)/python benchmarks/run.py $(BENCH)

.PHONY: bench-relay
bench-relay: $(VENV)/dev.stamp erlang redis
	@$(BIN)/python benchmarks/through_relay.py $(BENCH)

$(VENV)/bench.stamp: $(VENV)/compiled.stamp benchmarks/package.json
	@echo "Installing what the benchmarks compare with into $(VENV)/bench ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --target $(VENV)/bench/python \
	  erlang_py erlastic bert
	@cp benchmarks/package.json $(VENV)/bench
	@if command -v npm >/dev/null 2>&1; then npm install --silent --no-audit --no-fund --prefix $(VENV)/bench; \
	  else echo "Without Node, its part is left out." >&2; fi
	@touch $@

clean:
	rm -rf $(VENV) .fuzz build dist docs/_build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
