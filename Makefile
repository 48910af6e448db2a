# make demo      set up, run the embedded default, print the answers
# make test      set up, lint, test
# Everything needs Python 3.11 or later and make, nothing else. PYTHON=python3.12 make demo takes another Python;
# PIP_INSTALL="..." adds options to pip, for example for the CPU build of torch (README.md).
PYTHON ?= python3
PIP_INSTALL ?=
CONFIG ?= config/config.yaml
CORES ?= all
BIN := .venv/bin
READY := .venv/ready
export PATH := $(CURDIR)/$(BIN):$(PATH)
CONSOMME := python -m consomme

.PHONY: augmentation-gallery bench-augmentation bench-averaging bench-pruning bench-training demo test test-services lint run model plan dag report schema clean-results setup acknowledge

setup: $(READY)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; $(PYTHON) is $$($(PYTHON) --version)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_INSTALL) -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)
	@$(CONSOMME) run $(CONFIG) --cores $(CORES)

run: demo

test: $(READY) lint
	python -m pytest

# real servers: starts a private Slurm, where one is installed
test-services: $(READY)
	CONSOMME_SERVICES=1 python -m pytest tests/services

lint: $(READY)
	ruff check .
	ruff format --check .
	lint-imports --no-cache --no-logo
	snakefmt --check Snakefile rules
	snakemake --lint --configfile config/config.yaml

# make model NODE=EXPERIMENT/NODE[/RUN]
model: $(READY)
	@test -n "$(NODE)" || { echo "NODE=EXPERIMENT/NODE[/RUN] is needed"; exit 2; }
	@$(CONSOMME) model "$(NODE)" $(CONFIG) --cores $(CORES)

plan: $(READY)
	@$(CONSOMME) plan $(CONFIG)

dag: $(READY)
	@$(CONSOMME) dag $(CONFIG)

# one page to see and hear each augmentation; CONFIG=... shows that configuration's own settings and data
augmentation-gallery: $(READY)
	@python -m consomme.tools.gallery $(if $(filter file,$(origin CONFIG)),,$(CONFIG))

# the answers of a finished run, and Snakemake's own report
report: $(READY)
	@$(CONSOMME) report $(CONFIG)

schema: $(READY)
	$(CONSOMME) schema > config/schema.json

# averaging beside its peers; MERGEKIT=DIR names an environment that has mergekit
bench-averaging: $(READY)
	python bench/averaging.py $(if $(MERGEKIT),--mergekit $(MERGEKIT))

# what augmentations cost, pitch beside torchaudio's
bench-augmentation: $(READY)
	python bench/augmentation.py

# the search for layers with kept states against without; half an encoder against the whole
bench-pruning: $(READY)
	python bench/pruning.py

# training beside transformers' scripts; LHOTSE=DIR names a folder that has lhotse; SECTIONS="speech sweep" measures those
bench-training: $(READY)
	PYTHONPATH=bench python -m training $(if $(LHOTSE),--lhotse $(LHOTSE)) $(SECTIONS)

# after a stage's source has changed and its version was raised, or its results stay the same
acknowledge: $(READY)
	python tests/plan/test_stages.py

# make clean-results CONFIGS="config/config.yaml config/digits.yaml" lists what none of them uses; YES=1 removes it
clean-results: $(READY)
	@$(CONSOMME) clean $(if $(YES),--yes) $(or $(CONFIGS),$(CONFIG))
