# Nothing but Python 3.11 and make is needed. Every target sets up .venv on its own.

PYTHON ?= python3
BIN := .venv/bin

# train the default experiment: CartPole, a minute or two
run: .venv/.installed-run
	$(BIN)/trainctl run experiments/cartpole_ppo.py
	@echo
	@echo "See the curves:  $(BIN)/tensorboard --logdir runs"
	@echo "All commands:    $(BIN)/trainctl --help"

# the tests, all but the soak tests and those that need a GPU
test: .venv/.installed-dev
	$(BIN)/python -m pytest -n 2

# format, lint and types, without changing a file
check: .venv/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy experiments

# put format and imports right
fix: .venv/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# side by side with the libraries users know, growth and startup: about an hour on a calm machine
bench: .venv/.installed-dev
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/startup.py

# everything that needs a GPU: tests and speed
bench-gpu: .venv/.installed-dev
	$(BIN)/python benchmarks/gpu.py

# the long tests: kills and resumes over and over
soak: .venv/.installed-dev
	$(BIN)/python -m pytest -m soak

# the pictures of the README, from trainings made for them; needs tmux and Chromium
pictures: .venv/.installed-dev
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,plot,sweep]"
	$(BIN)/python docs/pictures.py

# remove what was built and cached; runs/ and .venv stay
clean:
	rm -rf build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path "./.venv/*" -prune -exec rm -rf {} +

.venv/bin/pip:
	$(PYTHON) -m venv .venv

.venv/.installed-run: pyproject.toml constraints.txt | .venv/bin/pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

.venv/.installed-dev: pyproject.toml constraints.txt | .venv/bin/pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch .venv/.installed-run $@

.PHONY: run test check fix bench bench-gpu soak pictures clean
