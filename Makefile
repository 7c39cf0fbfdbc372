# Every target first makes .venv, if it is missing or the requirements changed.
PYTHON ?= python3
BIN := .venv/bin
ACTIVE := PATH="$$PWD/$(BIN):$$PATH"

# Options of a sweep: every combination of CLASSES, SHOTS="10 100 null" (training images of each class) and SIZES="32 64"
# (pixels) is an experiment, under all SEEDS="0 1 2" (those of params.yaml if not given). SWEEP="-S finetune.epochs=3
# --subset-seeds 0 1 2" is passed on; class names are '[cat,dog]'.
CLASSES ?= 2 3 5 8 10
JOBS ?= 1
AXES = --classes $(CLASSES) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SHOTS),--shots $(SHOTS)) $(if $(SIZES),--sizes $(SIZES))
# ENGINE is queue (DVC's own), ray, slurm or local. Ray and Slurm take CPUS and GPUS (of each experiment), ADDRESS (of a
# Ray cluster), HOURS (of a Slurm job) and REMOTE (a git remote): docs/cluster.md.
ENGINE ?= queue
OPTIONS = --engine $(ENGINE) $(if $(CPUS),--cpus $(CPUS)) $(if $(GPUS),--gpus $(GPUS)) $(if $(HOURS),--hours $(HOURS)) \
	$(if $(ADDRESS),--address $(ADDRESS)) $(if $(REMOTE),--git-remote $(REMOTE))

.PHONY: demo doctor mend repro plan sweep scaling effects predict export report ladder bench growth race profile fast \
	verify forget table show test test-all lint lock audit clean

# What a killed DVC left half written is mended before DVC runs again; `make mend` does this alone.
repro plan sweep scaling effects report ladder race fast verify table show: mend
mend: .venv/ready
	@$(ACTIVE) python -m src.mend

# What keeps a run from its end here: versions, device, disk, git, network, locks. It changes nothing.
doctor: .venv/ready
	$(ACTIVE) python -m src.doctor

demo: .venv/ready
	$(ACTIVE) python -m src.demo

# Says first how long it will take on this machine.
repro: .venv/ready
	$(ACTIVE) python -m src.bench estimate
	$(ACTIVE) dvc repro

# How many seeds and test images a margin takes, from a finished comparison: PILOT=<experiment>, else the workspace's.
# PLAN="--margin 0.005 --power 0.9" is passed on.
plan: .venv/ready
	$(ACTIVE) python -m src.experiments plan $(PILOT) $(PLAN)

sweep: .venv/ready $(if $(filter-out queue,$(ENGINE)),.venv/ready-cluster)
	$(ACTIVE) python -m src.sweep $(AXES) --jobs $(JOBS) $(OPTIONS) $(SWEEP)

# Accuracy against classes, images and pixels, from all experiments of this commit or from EXPERIMENTS="name name ...".
# SCALING=--mixed puts numbers of different precisions or kinds of device together.
scaling: .venv/ready
	$(ACTIVE) python -m src.experiments scaling $(EXPERIMENTS) $(SCALING)

# What a setting changed, from experiments that differ in it: OF=finetune.mix; by default all settings that differ. On
# validation images, or, for a result and not to choose by, ON=test.
ON ?= val
effects: .venv/ready
	$(ACTIVE) python -m src.experiments effects $(OF) --on $(ON) $(if $(EXPERIMENTS),--experiments $(EXPERIMENTS)) $(EFFECTS)

# What an arm says of one's own photos: PHOTOS="photo.jpg folder", ARM=convnext.linear; PREDICT="--seed 0" is passed on.
predict: .venv/ready
	$(ACTIVE) python -m src.predict $(PHOTOS) $(if $(ARM),--arm $(ARM)) $(PREDICT)

# A trained arm as a folder of its own, for torchvision, timm, ONNX Runtime and the Hugging Face hub, in OUT or
# exports/<arm>. ARM=convnext.linear, SEED=1; by default the first arm of the question and the first seed.
export: .venv/ready-export
	$(ACTIVE) python -m src.export $(if $(ARM),--arm $(ARM)) $(if $(SEED),--seed $(SEED)) $(if $(OUT),--out "$(OUT)")

# The report by its own protocol beside its published values, in docs/report.md. REPORT="-S dataset=folder" is passed on;
# REPORT="--from NAME NAME NAME" draws finished experiments and runs none.
report: CLASSES = 2 5 10
report ladder: SEEDS = 0 1 2 3 4
report: .venv/ready
	$(ACTIVE) python -m src.reproduction report --classes $(CLASSES) --seeds $(SEEDS) --jobs $(JOBS) $(REPORT)

# What each choice of the report was worth, in docs/ladder.md; LADDER="-S classes=5 --pixels 128" is passed on.
ladder: .venv/ready
	$(ACTIVE) python -m src.reproduction ladder --seeds $(SEEDS) --jobs $(JOBS) $(LADDER)

# Images per second: this project, plain code, other libraries, the machine's limit. BENCH="--size 32 --rounds 3" is passed
# on; PEERS= leaves out the other libraries, and PEERS="timm compile" adds PyTorch's compiler, which takes minutes.
PEERS ?= timm openvino onnxruntime
bench: .venv/ready $(if $(PEERS),.venv/ready-bench)
	$(ACTIVE) python -m src.bench throughput $(if $(PEERS),--peers $(PEERS)) $(BENCH)

# Time and memory at 1, 10 and 100 times the images.
growth: .venv/ready
	$(ACTIVE) python -m src.bench growth

# Seconds until this project is as accurate as the plain recipe; RACE="--classes 2 --seeds 0" is passed on.
race: .venv/ready
	$(ACTIVE) dvc repro download weights
	$(ACTIVE) python -m src.bench race $(RACE)

# Where the time of an experiment from nothing goes, by stage; PROFILE="-S classes=5 --runs 3" replaces the demo's.
PROFILE ?= --demo
profile: .venv/ready
	$(ACTIVE) python -m src.bench profile $(PROFILE)

# An experiment by the recipe that `make race` times as the fast one.
FAST ?= -S finetune.freeze=0.5 -S finetune.epochs=4 -S finetune.batch_size=128 -S finetune.lr=0.006 \
	-S finetune.schedule=one_cycle -S finetune.warmup=0.15 -S finetune.augment=false
fast: .venv/ready
	$(ACTIVE) dvc exp run $(FAST)

# Run the last commit's pipeline again in a clean clone, and compare the results.
verify: .venv/ready
	$(ACTIVE) python -m src.verify

# Remove the saved state of interrupted stages.
forget:
	rm -rf data/resume

# The validation accuracies of this commit and its experiments, or with ON=test those on the test images, which nothing is
# to be chosen by; the settings that differ come first.
table: .venv/ready
	$(ACTIVE) python -m src.experiments table --on $(ON)

# The committed run without computing: its tables, records and page are in git, as a remote of DVC's in docs/stand-in.
COMMITTED := plots/report.html plots/compare $(foreach cell,resnet convnext resnet_frozen convnext_finetuned, \
	plots/$(cell) data/results/$(cell).json) plots/finetune_resnet plots/finetune_convnext data/results/compare.json
show: .venv/ready
	$(ACTIVE) dvc pull --quiet --remote stand-in $(COMMITTED)
	$(ACTIVE) dvc metrics show
	$(ACTIVE) dvc plots show
	@echo "The page of the committed run: plots/report.html"

# One thread each: two processes whose OpenMP threads spin for the same cores are many times slower. Three processes, as
# some of them wait. In the order of the files, where the longest ones are not the last.
PYTEST := OMP_NUM_THREADS=1 python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# In minutes; without whole pipelines, sweeps, kills, clusters and browsers.
test: lint
	$(ACTIVE) $(PYTEST) -m "not slow"

# Every test.
test-all: lint
	$(ACTIVE) $(PYTEST)

lint: .venv/ready-dev
	$(ACTIVE) ruff check .
	$(ACTIVE) ruff format --check .
	$(ACTIVE) mypy

# Write locks/ anew: for every platform and Python, the newest versions in the ranges, with hashes. Needs a network.
UV_COMPILE := uv pip compile --quiet --universal --generate-hashes --no-annotate --python-version 3.10
lock: .venv/ready-dev
	$(ACTIVE) $(UV_COMPILE) --custom-compile-command "make lock" --upgrade requirements.txt -o locks/requirements.txt
	$(ACTIVE) $(UV_COMPILE) --custom-compile-command "make lock" --upgrade requirements-dev.txt -c locks/requirements.txt \
		-o locks/requirements-dev.txt

# Check the installed packages for known weaknesses; needs a network.
audit: .venv/ready-dev
	$(ACTIVE) pip-audit --requirement requirements.txt --requirement requirements-cluster.txt

clean:
	rm -rf .venv .demo

# LOCKED=1 installs the exact versions of locks/, by their hashes, and not the newest in the ranges of requirements.txt. What
# is optional (cluster, timm, robustness, bench) is locked only as far as `make test` installs it.
ifdef LOCKED
$(shell test -e .venv/locked || rm -f .venv/ready .venv/ready-dev)
endif
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
from = $(if $(LOCKED),--require-hashes -r locks/$(1),-r $(1))

.venv/ready: requirements.txt locks/requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v < (3, 10) and "error: $(PYTHON) is Python %d.%d; \
	needed is 3.10 or newer, for example make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) $(call from,requirements.txt)
	$(if $(LOCKED),touch,rm -f) .venv/locked
	touch $@

.venv/ready-cluster: .venv/ready requirements-cluster.txt
	$(PIP_INSTALL) -r requirements-cluster.txt
	touch $@

.venv/ready-export: .venv/ready requirements-export.txt requirements-timm.txt
	$(PIP_INSTALL) -r requirements-export.txt
	touch $@

.venv/ready-bench: .venv/ready requirements-bench.txt requirements-export.txt requirements-timm.txt
	$(PIP_INSTALL) -r requirements-bench.txt
	touch $@

.venv/ready-dev: .venv/ready requirements-dev.txt requirements-cluster.txt requirements-export.txt requirements-robustness.txt \
		requirements-timm.txt
	$(PIP_INSTALL) $(call from,requirements-dev.txt)
	touch $@
