# `make help` lists the targets: the comment line above each.
# Python 3.11.5 or later and make are needed, nothing else. PYTHON=python3.12 make demo takes another Python;
# PIP_INSTALL="..." adds options to pip, for example for the CPU build of torch; HASHES=1 takes only files whose hashes are in
# envs/hashes.txt (docs/install.md).
PYTHON ?= python3
PIP_INSTALL ?=
HASHES ?=
CONFIG ?= config/config.yaml
CORES ?= all
BIN := .venv/bin
READY := .venv/ready
TOOLS := build/tools
export PATH := $(CURDIR)/$(BIN):$(PATH)
CONSOMME := python -m consomme
export NO_MKDOCS_2_WARNING := 1

.PHONY: audit augmentation-gallery bench-augmentation bench-averaging bench-data bench-decoding bench-evidence bench-overhead bench-pruning bench-report bench-scale bench-training demo docs hashes help sbom test test-services lint run model plan dag report schema clean-results setup acknowledge

# install everything into .venv
setup: $(READY)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11, 5))' || { echo "Python 3.11.5 or later is needed; $(PYTHON) is $$($(PYTHON) --version)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_INSTALL) $(if $(HASHES),--no-deps --require-hashes -r envs/hashes.txt,-r requirements.txt)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# install, run the demo, print the answers
demo: $(READY)
	@$(CONSOMME) run $(CONFIG) --cores $(CORES)

# run a configuration and print the answers: CONFIG="a.yaml b.yaml" CORES=4
run: demo

# install, lint, run the tests
test: $(READY) lint
	python -m pytest -n auto --maxprocesses 8 --dist worksteal

# tests on real servers: Slurm, Grid Engine, S3 and Azure's blobs on this machine, each where it is installed
test-services: $(READY)
	CONSOMME_SERVICES=1 python -m pytest tests/services

# check style, imports, types, rules, and that the site builds
lint: $(READY)
	ruff check .
	ruff format --check .
	lint-imports --no-cache --no-logo
	ty check
	snakefmt --check Snakefile rules
	snakemake --lint --configfile config/config.yaml
	mkdocs build --strict --quiet

# build the site into site/, without a network; open site/index.html
docs: $(READY)
	mkdocs build --strict

# list the targets
help:
	@awk '/^# /{line=substr($$0, 3); next} /^[a-z][a-z-]*:/{sub(/:.*/, ""); if (line) printf "%-22s %s\n", $$0, line} {line=""}' Makefile

# make one model and what it needs: NODE=EXPERIMENT/NODE[/RUN] CONFIG=mine.yaml
model: $(READY)
	@test -n "$(NODE)" || { echo "NODE=EXPERIMENT/NODE[/RUN] is needed"; exit 2; }
	@$(CONSOMME) model "$(NODE)" $(CONFIG) --cores $(CORES)

# show what a configuration would make: CONFIG=mine.yaml
plan: $(READY)
	@$(CONSOMME) plan $(CONFIG)

# draw the graphs of models and of rules into results/dag/
dag: $(READY)
	@$(CONSOMME) dag $(CONFIG)

# write a page to see and hear each augmentation; with CONFIG=..., with that configuration's settings and data
augmentation-gallery: $(READY)
	@python -m consomme.tools.gallery $(if $(filter file,$(origin CONFIG)),,$(CONFIG))

# the answers of a finished run, and Snakemake's own report
report: $(READY)
	@$(CONSOMME) report $(CONFIG)

# write config/schema.json
schema: $(READY)
	$(CONSOMME) schema > config/schema.json

# time averaging beside other tools; MERGEKIT=DIR names an environment that has mergekit, LIKE=DIR one more layout
bench-averaging: $(READY)
	python bench/averaging.py $(if $(MERGEKIT),--mergekit $(MERGEKIT)) $(if $(LIKE),--like $(LIKE))

# time decoding beside pipelines, CTranslate2 and faster-whisper: MODEL=a Whisper's folder, TABLE=clips with their texts
bench-decoding: $(READY)
	python bench/decoding.py $(MODEL) $(TABLE)

# time augmentations, pitch beside torchaudio's
bench-augmentation: $(READY)
	python bench/augmentation.py

# time the search for layers with kept states and without; half an encoder and the whole
bench-pruning: $(READY)
	python bench/pruning.py

# size of the report's page, and the time to make it: 46 and 200 models
bench-report: $(READY)
	python bench/report.py

# what preparing and reading corpora costs: SPEECH=a.tsv MODEL=FOLDER of a Whisper model
bench-data: $(READY)
	python bench/data.py $(if $(SPEECH),--speech $(SPEECH) --model $(MODEL))

# time plans of 1,000 and of 5,000 trainings
bench-scale: $(READY)
	python bench/scale.py

# where the demo's time goes, by job: CONFIG=mine.yaml CORES=2
bench-overhead: $(READY)
	python bench/overhead.py $(CONFIG) --cores $(CORES)

# simulate how often the report's tests err: PARTS="seeds power" some parts; what is measured already stays
bench-evidence: $(READY)
	python -m bench.evidence $(PARTS)

# time training beside transformers' scripts; LHOTSE=DIR names a folder with lhotse, SECTIONS="speech sweep" some parts
bench-training: $(READY)
	PYTHONPATH=bench python -m training $(if $(LHOTSE),--lhotse $(LHOTSE)) $(SECTIONS)

# record the sources of the stages, after a change that raised a version or left all results as they were
acknowledge: $(READY)
	python tests/plan/test_stages.py

# tools that only releases need, in an environment of their own
$(TOOLS)/ready: envs/tools.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check -r envs/tools.txt
	@touch $@

# look up known vulnerabilities of the pinned versions; needs a network, and fails where one of them can't be looked up
audit: $(TOOLS)/ready
	$(TOOLS)/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off --requirement requirements.txt

# write build/sbom.json: what .venv holds, with licences, in CycloneDX's format
sbom: $(READY) $(TOOLS)/ready
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file build/sbom.json $(BIN)/python

# record the hashes of the pinned versions in envs/hashes.txt, after a change of requirements.txt
hashes: $(TOOLS)/ready
	$(TOOLS)/bin/uv pip compile requirements.txt --quiet --universal --python-version 3.11.5 --generate-hashes --no-annotate --no-header --output-file envs/hashes.txt > /dev/null

# list what none of CONFIGS="a.yaml b.yaml" uses; YES=1 removes it
clean-results: $(READY)
	@$(CONSOMME) clean $(if $(YES),--yes) $(or $(CONFIGS),$(CONFIG))
