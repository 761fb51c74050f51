# `make demo` and `make test` set up what they need; `make help` lists the rest.

BIN := .venv/bin
COMPILE_LOCK := uv pip compile --quiet --universal --python-version 3.10 \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" pyproject.toml
FAMILIES := openllmetry openinference

.DEFAULT_GOAL := help
.PHONY: help setup system parts stack demo stack-demo test check unit families real whole bench soak lock widget dashboards clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make .venv from the lock file; does nothing where it is in step (PYTHON=... chooses the interpreter)
	@sh stack/setup.sh "$(PYTHON)"

system: ## install Debian's nginx, docker-compose, Chromium and faketime, which a few tests use (as root), or say what to install
	@sh stack/apt.sh nginx docker-compose chromium chromium-driver:chromedriver faketime

parts: setup ## find or build the real Collector, Jaeger and Prometheus (about 11 minutes, once)
	@$(BIN)/python -m stack parts

stack: parts ## run Collector, Jaeger and Prometheus until Ctrl-C, and print where they are
	@$(BIN)/python -m stack up

demo: setup ## run the example and its users before `otel-feedback up`, and show what came of it (KEEP=1 runs on)
	@$(BIN)/python -m examples.demo $(ARGS)

stack-demo: parts ## the same with the real parts
	@$(BIN)/python -m examples.stack_demo $(ARGS)

test: check unit families real ## check, unit tests on every Python, the families, and all the rest on one Python

check: setup ## lint, formatting, types, layers, and unit tests with branch coverage (warnings are errors)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest --quiet --cov --cov-report=term --cov-fail-under=98 tests/unit

unit: setup ## unit tests on Python 3.10 to 3.13; one that is not there is skipped loudly, in CI it fails
	$(BIN)/nox --session unit

families: setup ## the other two instrumentation families, each in an environment of its own
	$(BIN)/nox --session families

real: setup system parts ## all but the unit tests, on one Python: real parts, processes and Chromium
	$(BIN)/pytest --ignore tests/families --ignore tests/unit $(ARGS)

whole: setup system parts ## every test on one Python, with branch coverage
	$(BIN)/pytest --cov --cov-report=term --ignore tests/families $(ARGS)

bench: setup ## what taking part costs, as ratios to the bare OpenTelemetry SDK
	@$(BIN)/python -m benchmarks $(ARGS)

soak: setup ## what tests do shortly, for hours: kills, floods, a million malformed requests (PART=fuzz runs one)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --group soak || true
	@$(BIN)/python -m soak $(PART) $(ARGS)

lock: setup ## bring requirements/*.lock in step with pyproject.toml (UPGRADE=1 takes the newest versions)
	$(BIN)/$(COMPILE_LOCK) $(if $(UPGRADE),--upgrade) --all-extras --group dev --output-file requirements/dev.lock
	$(foreach family,$(FAMILIES),$(BIN)/$(COMPILE_LOCK) $(if $(UPGRADE),--upgrade) --group $(family) \
		--output-file requirements/$(family).lock &&) true

widget: ## build the widget for browsers, which is committed (needs Node 20; RELEASE=1 keeps this build under its hash)
	cd widget && npm ci --silent && node build.mjs $(if $(RELEASE),--release)

dashboards: setup ## generate the dashboards and alert rules
	@$(BIN)/python -m dashboards.generate

clean: ## remove what the targets made in this folder; built parts stay in the user's cache folder
	rm -rf .venv .nox var .coverage* .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
