# Every target first creates or updates the virtual environment, which costs nothing once it is up to date.

.PHONY: help run test test-quick test-full test-latest mutate bench soak lint clean venv
.DEFAULT_GOAL := help

# Each of several test processes, and what they start, would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

# Files side by side, as many as cores and memory allow, the long ones (delivery) first.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder

help:
	@echo "make run        everything on this machine: RabbitMQ, ClickHouse, gateway, worker, and a curl to paste"
	@echo "make test       the suite, against a real broker and a real ClickHouse engine that it starts itself"
	@echo "make test-quick the tests that start no process, in half a minute"
	@echo "make test-full  the suite and the long proofs"
	@echo "make test-latest  the quick tests with the newest allowed versions, deprecations being errors"
	@echo "make bench      the benchmarks: ratios on this machine; ONLY, ROUNDS, BASE, AGAINST, PROFILE"
	@echo "make soak       hours at 70 % of the limit with faults: MINUTES=30"
	@echo "make mutate     changes the code in small ways, and shows what no test notices: from time to time, hours"
	@echo "make lint       ruff, mypy and import-linter"
	@echo "make clean      removes .venv, caches and .local (the local stack's data)"

venv:
	@sh deploy/local/bootstrap.sh

run: venv
	@exec .venv/bin/python -m deploy.local.run

test: venv
	@.venv/bin/python -m tests.programs
	.venv/bin/pytest $(PARALLEL) -m "not full"

test-quick: venv
	.venv/bin/pytest $(PARALLEL) -q -m "not full and not processes"

test-full: venv
	@.venv/bin/python -m tests.programs
	.venv/bin/pytest $(PARALLEL) -m "not full"
	.venv/bin/pytest -m full

mutate: venv
	.venv/bin/python -m tests.mutate $(ONLY)

# With the newest versions that pyproject.toml allows, which the lock files do not have yet.
test-latest: venv
	@sh tests/latest.sh

bench: venv
	.venv/bin/python -m tests.bench $(ONLY)

soak: venv
	.venv/bin/python -m tests.bench.soak $(MINUTES)

lint: venv
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache

clean:
	@if [ -f .local/lock ] && command -v flock >/dev/null && ! flock -n .local/lock true; then \
		echo "make run is running here: stop it first" >&2; exit 1; fi
	rm -rf .venv .local .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
