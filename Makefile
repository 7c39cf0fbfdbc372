# make demo | make repro | make table | make test: each makes .venv first where it is missing or its requirements changed.
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
ACTIVE := PATH="$(BIN):$$PATH"

.PHONY: demo repro table test lint clean

demo: .venv/ready
	$(ACTIVE) python -m stages.demo

repro: .venv/ready
	$(ACTIVE) dvc repro

# Every experiment with its accuracies; dvc exp show without the options has some sixty columns.
table: .venv/ready
	$(ACTIVE) dvc exp show --drop '.*' --keep 'Experiment|dataset|classes|seed|finetune.(arch|weights|lr)$$|.*[.]accuracy|.*lead.*value'

# One thread each: two processes whose OpenMP threads spin for the same cores are many times slower.
test: lint
	$(ACTIVE) OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile

lint: .venv/ready-dev
	$(ACTIVE) ruff check .
	$(ACTIVE) ruff format --check .
	$(ACTIVE) mypy

clean:
	rm -rf .venv .demo

.venv/ready: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/ready-dev: .venv/ready requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
