# Every target makes the environment it needs. Options go in ARGS: make train ARGS="run=first bins.count=6"
ARGS ?=
WORKERS ?= 2
VENV := .venv
PYTHON ?= python3
READY := $(VENV)/.ready
RUN := $(VENV)/bin/twostage

.PHONY: help setup train train-classifier train-regressor evaluate check-data predict serve check-model recalibrate export crossval compare learning-curve sweep start bench test test-all lint check docs
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20

$(READY): pyproject.toml constraints.txt
	@echo "Making the environment in $(VENV); this takes a minute or two."
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

setup: $(READY)  ## make the environment in .venv

train: $(READY)  ## train both stages, combine, evaluate: ARGS="run=NAME option=value"
	@$(RUN) train $(ARGS)

train-classifier: $(READY)  ## stage 1 alone: ARGS="run=NAME"
	@$(RUN) train-classifier $(ARGS)

train-regressor: $(READY)  ## stage 2 alone, after stage 1: ARGS="run=NAME"
	@$(RUN) train-regressor $(ARGS)

evaluate: $(READY)  ## combine trained stages and evaluate: ARGS="run=NAME"
	@$(RUN) evaluate $(ARGS)

check-data: $(READY)  ## look at table and photographs before training: ARGS="data=csv data.table=photos.csv"
	@$(RUN) check-data $(ARGS)

predict: $(READY)  ## read photographs: ARGS="input=photos/ run=NAME output=table.csv"
	@$(RUN) predict $(ARGS)

serve: $(READY)  ## a page and an address for programs that read photographs: ARGS="run=NAME port=7860"
	@$(RUN) serve $(ARGS)

check-model: $(READY)  ## does a model still read right? ARGS="run=NAME table=standards.csv"
	@$(RUN) check-model $(ARGS)

recalibrate: $(READY)  ## a new model folder for another day: ARGS="run=NAME table=standards.csv output=FOLDER"
	@$(RUN) recalibrate $(ARGS)

export: $(READY)  ## a model as one file, for programs or (format=html) for people: ARGS="run=NAME output=model.onnx"
	@$(RUN) export $(ARGS)

crossval: $(READY)  ## every photograph read by a model that has not seen it: ARGS="run=NAME split.folds=5"
	@$(RUN) crossval $(ARGS)

compare: $(READY)  ## methods ranked on the same splits and training time: ARGS="compare=quick split.folds=5"
	@$(RUN) compare $(ARGS)

learning-curve: $(READY)  ## would more photographs help? ARGS="run=NAME shares=[0.25,0.5,1]"
	@$(RUN) learning-curve $(ARGS)

sweep: $(READY)  ## one run per value: ARGS="bins.count=6,9 backbone=compact,resnet10t"
	@$(RUN) train -m $(ARGS)

start: $(READY)  ## train anew the start that ships with the package, on random scenes
	@$(VENV)/bin/python -m twostage.starts.teach $(ARGS)

bench: $(READY)  ## measure: ARGS="throughput decoding predict one serve plate mutations resume memory symmetry limit sizes fits", few, founding, another_day, ends, trust, export, page, torchrun, or "accuracy option=value"
	@$(VENV)/bin/python tests/benchmarks/bench.py $(ARGS)

test: $(READY)  ## the tests, in a few minutes on two cores: ARGS=tests/data WORKERS=auto
	@$(VENV)/bin/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-all: $(READY)  ## the slow tests as well
	@$(VENV)/bin/python -m pytest -n $(WORKERS) --dist worksteal -m '' $(ARGS)

lint: $(READY)  ## style and types
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy

docs: $(VENV)/.docs  ## build the documentation into docs/site
	@$(VENV)/bin/python docs/build.py

$(VENV)/.docs: $(READY)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

check: lint test  ## lint, types, tests: CI runs this and docs
