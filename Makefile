# Two commands: `make run` ends in a wav file, `make test` passes the tests. Each sets up what it needs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT := out

.PHONY: run test test-full test-runtime test-cuda-stub lint dist docs full-size nano soak gpu-report clean

run: $(VENV)/runtime
	@mkdir -p $(OUT)
	$(BIN)/bark-onnx say "Hello! I am a very small voice, and I speak without a network." --voice en_male --seed 7 -o $(OUT)/hello.wav
	@echo "wrote $(OUT)/hello.wav"

# Two processes share the cores, so torch has one thread in each: its threads wait busily for each other. Files run in
# the order of their paths, because in xdist's own order slow ones come last, and one core waits for the other.
test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# All tests in their full form: the variants that `make test` leaves out for time, and more rows, requests and examples.
test-full: $(VENV)/installed
	BARK_ONNX_TEST=full OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# The tests of the runtime, where only the runtime is installed: without torch, and in an environment of its own.
test-runtime:
	test -x $(VENV)-runtime/bin/python || $(PYTHON) -m venv $(VENV)-runtime
	$(VENV)-runtime/bin/pip install --quiet --disable-pip-version-check -c .ci/constraints.txt -e '.[cpu,test]'
	$(VENV)-runtime/bin/python -m pytest -n 2 --dist loadfile \
		--ignore=tests/export --ignore=tests/bench --ignore=tests/nano --ignore=tests/serve --ignore=tests/cuda_stub

# The CUDA provider over libraries that compute nothing, on a machine without a GPU. CUDA_STUB/lib has the libraries.
# The environment has no packages of NVIDIA's, which would be loaded first.
test-cuda-stub:
	test -n "$(CUDA_STUB)" || { echo "give CUDA_STUB=DIR, a directory with stub CUDA libraries in DIR/lib"; exit 2; }
	test -x $(VENV)-stub/bin/python || $(PYTHON) -m venv $(VENV)-stub
	$(VENV)-stub/bin/pip install --quiet --disable-pip-version-check -c .ci/constraints.txt $(GPU_TORCH)
	$(VENV)-stub/bin/pip install --quiet --disable-pip-version-check -c .ci/constraints.txt -e '.[dev]'
	$(VENV)-stub/bin/pip uninstall --quiet --yes onnxruntime
	$(VENV)-stub/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps onnxruntime-gpu
	BARK_ONNX_CUDA_STUB=$(CUDA_STUB) LD_LIBRARY_PATH=$(CUDA_STUB)/lib $(VENV)-stub/bin/python -m pytest tests/cuda_stub

lint: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# The wheel and the sdist, in dist/, built without a network.
dist: $(VENV)/installed
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

# The API reference, made from the docstrings of the public modules: out/reference/index.html.
REFERENCE := bark_onnx bark_onnx.compat bark_onnx.audio.encoder bark_onnx.audio.files bark_onnx.subtitles.formats bark_onnx.subtitles.timing bark_onnx.texts.formats
docs: $(VENV)/installed
	$(BIN)/python -W error -m pdoc -d google -o $(OUT)/reference $(REFERENCE)
	@echo "wrote $(OUT)/reference/index.html"

# The published sizes with random weights: export, speak, measure. SIZE=large needs 16 GiB of memory and 12 GB of disk.
SIZE ?= small
GPU_TORCH ?= torch
full-size: $(VENV)/installed
	$(BIN)/python -m bark_onnx_bench.full_size $(SIZE) $(OUT)/full-size

# The small voice of our own: makes its speech (packages flite and wordnet-base), trains on it for hours, and goes on where
# it was stopped.
nano: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c .ci/constraints.txt -e '.[nano]'
	$(BIN)/python -m bark_onnx_nano $(OUT)/bark-nano --work $(OUT)/nano

# A thousand requests on a server of the small voice: every answer is its own, and its memory stays. Takes some minutes.
soak: $(VENV)/installed
	@mkdir -p $(OUT)
	$(BIN)/python -m bark_onnx_bench.soak --json $(OUT)/soak.json -- --max-queue 12

# On a machine with an NVIDIA GPU: what needs one is tested and measured there, and the figures written to
# benchmarks/results/cuda-report.json, step by step. REPORT has more options, such as --budget 600. The environment is
# its own, since onnxruntime-gpu takes onnxruntime's place.
gpu-report: $(VENV)-gpu/installed
	$(VENV)-gpu/bin/python -m bark_onnx_bench.gpu_report $(OUT)/gpu-report $(REPORT)

clean:
	rm -rf $(VENV) $(VENV)-runtime $(VENV)-gpu $(VENV)-stub $(OUT) dist

# What speaks; and what exports, measures and tests besides. encodec comes without its dependency torchaudio, which does
# not load with this torch and would keep transformers from loading too.
$(VENV)/runtime: pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c .ci/constraints.txt -e '.[cpu]'
	touch $@

$(VENV)/installed: $(VENV)/runtime
	$(BIN)/pip install --quiet --disable-pip-version-check -c .ci/constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -c .ci/constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check -c .ci/constraints.txt --no-deps einops encodec
	touch $@

# Made once, since time on a card is dear. What needs the other extras is not run there.
$(VENV)-gpu/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-gpu
	$(VENV)-gpu/bin/pip install --quiet --disable-pip-version-check -e '.[bench,test]' $(GPU_TORCH)
	$(VENV)-gpu/bin/pip uninstall --quiet --yes onnxruntime
	$(VENV)-gpu/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps onnxruntime-gpu
	$(VENV)-gpu/bin/pip install --quiet --disable-pip-version-check -e '.[gpu]'
	touch $@
