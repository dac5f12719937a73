"""The choice of a device and the memory of its sessions. Tests set which providers ONNX Runtime lists."""

import ctypes
import gc
import os
import signal
import sys
import warnings
import weakref
from pathlib import Path
from threading import Event, Thread

import numpy as np
import onnxruntime as ort
import pytest

from bark_onnx import Bark, BarkError, BarkWarning, DeviceError, GenerationOptions
from bark_onnx.graphs import device as device_module
from bark_onnx.graphs.decoder import CAUSAL_INPUTS, cache_names
from bark_onnx.graphs.device import Device
from bark_onnx.graphs.memory import BFLOAT16, Feed, Memory
from bark_onnx.graphs.networks import Networks
from bark_onnx.graphs.session import Graph
from bark_onnx.graphs.tensorrt import ROWS, EngineProfile, causal_profile, engine_directory, fine_profile
from bark_onnx.graphs.tensorrt_decoder import TensorRTDecoder
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.sizes import TransformerSize
from onnx_files import BFLOAT16 as BFLOAT16_IN_ONNX
from onnx_files import FLOAT, model, node, value_info
from run_command import SAY, assert_fails, run

NO_FLASH = "ORT_GQA_DISABLE_FLASH_ATTENTION"
CUDA = ["CUDAExecutionProvider", "CPUExecutionProvider"]
ALL = ["TensorrtExecutionProvider", *CUDA]
SIZE = TransformerSize(2, 4, 64, 1024, 500, 100)
HAS_GPU = CUDA[0] in ort.get_available_providers() and device_module.why_no_gpu() is None


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """CUDA is built in, but no GPU answers unless the test says so."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: CUDA)
    return monkeypatch


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT and CUDA are built in, and two GPUs answer."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ALL)
    monkeypatch.setattr(device_module, "why_no_gpu", lambda index=0: None if index < 2 else "no such GPU")


@pytest.mark.parametrize(
    ("threads", "setting", "seen"), [(4, None, "1"), (5, None, None), (1, "0", "0"), (5, "1", "1"), (1, "", "")]
)
def test_flash_attention_is_off_while_a_session_with_few_threads_is_created(
    monkeypatch: pytest.MonkeyPatch, threads: int, setting: str | None, seen: str | None
) -> None:
    """ONNX Runtime reads a variable of the environment then. A user's own setting is left alone; nano has 4 heads."""
    found: dict[str, str | None] = {}
    create = ort.InferenceSession

    def note(path: Path, *arguments: object, **options: object) -> ort.InferenceSession:
        found[path.name] = set_for_libraries(NO_FLASH)
        assert os.environ.get(NO_FLASH) == setting  # other threads may read or copy the environment meanwhile
        if path.name == "fine.onnx":
            raise RuntimeError("it does not load")
        return create(path, *arguments, **options)

    monkeypatch.delenv(NO_FLASH, raising=False)
    if setting is not None:
        monkeypatch.setenv(NO_FLASH, setting)
    monkeypatch.setattr(ort, "InferenceSession", note)
    networks = Networks(Bundle.open(), Device("cpu", threads))
    assert networks.coarse.size.heads == 4
    with pytest.raises(BarkError):
        networks.fine  # noqa: B018
    assert found == {"coarse.onnx": seen, "fine.onnx": setting}
    assert os.environ.get(NO_FLASH) == set_for_libraries(NO_FLASH) == setting


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_session_that_a_thread_creates_does_not_stop_a_forked_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child has no such thread, which would release the lock and remove the variable. The codec waits for none."""
    creating, forked = Event(), Event()
    create = ort.InferenceSession

    def wait(*arguments: object, **options: object) -> ort.InferenceSession:
        creating.set()
        forked.wait(10)
        return create(*arguments, **options)

    monkeypatch.delenv(NO_FLASH, raising=False)
    monkeypatch.setattr(ort, "InferenceSession", wait)
    first, second, of_child = (Networks(Bundle.open(), Device("cpu", 1)) for _ in range(3))
    thread = Thread(target=lambda: first.coarse)
    thread.start()
    creating.wait()
    monkeypatch.setattr(ort, "InferenceSession", create)
    second.codec  # noqa: B018
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            of_child.coarse  # noqa: B018
            os._exit(0 if set_for_libraries(NO_FLASH) is None else 1)
        finally:
            os._exit(2)
    assert set_for_libraries(NO_FLASH) == "1"
    forked.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def set_for_libraries(name: str) -> str | None:
    """A variable of the environment as libraries in C see it."""
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    value: bytes | None = getenv(name.encode())
    return None if value is None else value.decode()


@pytest.mark.parametrize(
    ("answers", "auto_gpu", "name"), [(True, True, "cuda"), (True, False, "cpu"), (False, True, "cpu")]
)
def test_auto_is_cuda_if_it_loads_and_is_faster(
    listed: pytest.MonkeyPatch, answers: bool, auto_gpu: bool, name: str
) -> None:
    listed.setattr(device_module, "why_no_gpu", lambda index=0: None if answers else "libcublas: no such file")
    with warnings.catch_warnings(record=True) as caught:
        assert Device.choose("auto", auto_gpu=auto_gpu).name == name
    assert ["libcublas: no such file" in str(one.message) for one in caught] == (
        [] if answers or not auto_gpu else [True]
    )


def test_auto_is_silent_where_cuda_is_not_built_in_or_the_bundle_is_for_cpus(
    bundle: Path, recwarn: pytest.WarningsRecorder
) -> None:
    assert Device.choose("auto").name == ("cuda" if HAS_GPU else "cpu")
    assert Bark.load(bundle).device.name == "cpu"  # fp32, which a GPU's attention does not take
    assert not list(recwarn)


@pytest.mark.skipif(HAS_GPU, reason="this machine has a GPU")
def test_a_device_that_is_listed_but_does_not_answer_is_an_error(listed: pytest.MonkeyPatch) -> None:
    with pytest.raises(DeviceError, match=r"does not load here.*driver"):
        Device.choose("cuda")


@pytest.mark.parametrize("name", ["cuda", "tensorrt", "cuda:1"])
def test_a_device_that_is_not_built_in_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match=r"needs \w+ExecutionProvider.*pip install '\.\[gpu\]'"):
        Device.choose(name)


def test_unknown_devices_and_threads_are_errors() -> None:
    with pytest.raises(DeviceError, match=r"unknown device 'tpu': this ONNX Runtime has auto, cpu"):
        Device.choose("tpu")
    with pytest.raises(DeviceError, match="threads"):
        Device.choose("cpu", 0)


@pytest.mark.parametrize("name", ["gpu", "azure", "AzureExecutionProvider"])
def test_an_unknown_device_lists_what_can_run_here(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Not the provider that sends requests to a service, though it is in every build."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["AzureExecutionProvider", "CPUExecutionProvider"])
    with pytest.raises(DeviceError) as caught:
        Device.choose(name)
    text = str(caught.value)
    assert text.startswith(
        f"unknown device '{name}': this ONNX Runtime has auto, cpu; for cuda and tensorrt, in a checkout"
    )


def test_a_gpu_s_devices_are_listed_where_they_are(gpus: None) -> None:
    with pytest.raises(DeviceError, match=r"'foo': this ONNX Runtime has auto, cpu, cuda, tensorrt$"):
        Device.choose("foo")


@pytest.mark.parametrize("name", ["cuda:", "cuda:x", "cuda:-1", "cuda:99999", "cuda:1:2", "tensorrt:a"])
def test_a_gpu_is_named_by_a_number(gpus: None, name: str) -> None:
    with pytest.raises(DeviceError, match=r":0 is the first GPU"):
        Device.choose(name)


def test_there_is_one_cpu() -> None:
    with pytest.raises(DeviceError, match="one CPU"):
        Device.choose("cpu:1")


def test_one_of_several_gpus(gpus: None) -> None:
    device = Device.choose("cuda:1", options={"gpu_mem_limit": "1000000000", "use_tf32": "1"})
    assert (device.name, device.index, device.memory) == ("cuda", 1, "cuda")
    (provider, options), behind = device.providers(None)
    assert provider == CUDA[0]
    assert (options["device_id"], options["gpu_mem_limit"]) == ("1", "1000000000")
    assert options["use_tf32"] == "1"  # the caller's before ours, which keeps fp32 exact
    assert Device.choose("cuda").providers(None)[0][1]["use_tf32"] == "0"
    assert behind == (CUDA[1], {})
    assert (options["sdpa_kernel"], options["cudnn_conv_algo_search"]) == ("3", "HEURISTIC")
    own = {"sdpa_kernel": "8", "cudnn_conv_algo_search": "EXHAUSTIVE"}
    assert own.items() <= Device.choose("cuda", options=own).providers(None)[0][1].items()
    with pytest.raises(DeviceError, match="does not load here"):
        Device.choose("cuda:2")


@pytest.mark.parametrize("name", ["openvino", "OpenVINO", "OpenVINOExecutionProvider"])
def test_any_provider_by_its_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    provider = "OpenVINOExecutionProvider"
    monkeypatch.setattr(ort, "get_available_providers", lambda: [provider, "CPUExecutionProvider"])
    device = Device.choose(name, options={"device_type": "NPU"})
    assert (device.name, device.memory) == (provider, "cpu")
    assert device.providers(None) == [(provider, {"device_type": "NPU"}), ("CPUExecutionProvider", {})]
    with pytest.raises(DeviceError, match=r"unknown device 'npu': this ONNX Runtime has auto, cpu, openvino"):
        Device.choose("npu")


def test_a_provider_that_is_known_but_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match=r"needs CoreMLExecutionProvider.*does not have; use device 'cpu'"):
        Device.choose("coreml")


def test_the_cpu_by_its_long_name_is_the_cpu() -> None:
    assert Device.choose("CPUExecutionProvider") == Device.choose("cpu")


def test_tensorrt_falls_back_to_cuda_and_the_cpu(gpus: None, tmp_path: Path) -> None:
    device = Device.choose("tensorrt:1", options={"trt_builder_optimization_level": "5"})
    profile = fine_profile("codes", 1024, 8, half=True, engines=tmp_path / "engines")
    names, options = zip(*device.providers(profile), strict=True)
    assert list(names) == ALL
    assert [own.get("device_id") for own in options] == ["1", "1", None]
    assert options[0]["trt_builder_optimization_level"] == "5"
    assert options[0]["trt_fp16_enable"] == "1"
    assert options[0]["trt_engine_cache_path"] == str(tmp_path / "engines")
    assert options[0]["trt_timing_cache_path"] == str(tmp_path)
    assert options[0]["trt_profile_max_shapes"] == f"codes:{ROWS}x1024x8"
    assert [name for name, _ in device.providers(None)] == CUDA  # a graph that is left to CUDA


def test_tensorrt_is_loaded_from_its_package(
    gpus: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tensorrt.py").write_text("print('loaded')")
    monkeypatch.syspath_prepend(tmp_path)
    Device.choose("cuda")
    assert "tensorrt" not in sys.modules
    Device.choose("tensorrt")
    assert "tensorrt" in sys.modules
    monkeypatch.delitem(sys.modules, "tensorrt")
    assert capsys.readouterr().out == ""  # audio may be written there


def test_profiles_hold_every_shape_of_a_causal_graph(tmp_path: Path) -> None:
    *ids, row = CAUSAL_INPUTS[:4]
    cache = cache_names("past", SIZE.layers)
    profile = causal_profile(ids, row, cache, SIZE, (1, 257, 1024), ROWS, half=False, engines=tmp_path)
    options = profile.options()
    for kind, rows, length in (("min", 1, 1), ("opt", 1, 257), ("max", ROWS, 1024)):
        shapes = dict(part.split(":") for part in options[f"trt_profile_{kind}_shapes"].split(","))
        assert shapes == {
            **dict.fromkeys(ids, f"{rows}x{length}"), row: str(rows), **dict.fromkeys(cache, f"{rows}x4x1024x16")
        }  # fmt: skip
    assert options["trt_fp16_enable"] == "0"


def test_engines_of_other_weights_have_another_directory(
    bundle: Path, bundle_with_voice: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime names an engine by its graph, which is the same for all weights."""
    monkeypatch.setenv("BARK_ONNX_CACHE", str(tmp_path))
    places = {
        engine_directory(Bundle.open(directory), stage)
        for directory in (bundle, bundle_with_voice)
        for stage in ("semantic", "coarse")
    }
    assert len(places) == 4
    assert all(place.is_dir() and place.is_relative_to(tmp_path) for place in places)
    monkeypatch.delenv("BARK_ONNX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert engine_directory(Bundle.open(bundle), "fine").is_relative_to(tmp_path / "home" / "bark-onnx")


def test_tensorrt_needs_the_portable_layout(gpus: None, bundle: Path) -> None:
    with pytest.raises(DeviceError, match="export the bundle with --layout portable"):
        Bark.load(bundle, device="tensorrt")


@pytest.mark.filterwarnings("ignore:Specified provider")  # ONNX Runtime's own
@pytest.mark.skipif(HAS_GPU, reason="this machine has a GPU")
def test_a_bundle_that_is_slow_on_a_gpu_causes_a_warning(listed: pytest.MonkeyPatch) -> None:
    """nano, in int8. The warning comes before any graph is loaded. Loading fails then, since there is no GPU."""
    listed.setattr(device_module, "why_no_gpu", lambda index=0: None)
    advice = "export one in fp16"
    with pytest.warns(BarkWarning, match=advice), pytest.raises(DeviceError, match="did not start"):
        Bark.load(device="cuda")


def test_fp32_in_the_static_layout_is_refused_on_a_gpu(bundle: Path, gpus: None) -> None:
    """Its attention would run on the CPU. `auto` takes the CPU for the whole bundle."""
    with pytest.raises(DeviceError, match="no fp32 kernel for GPUs: export the bundle with --layout portable"):
        Bark.load(bundle, device="cuda")
    assert Bark.load(bundle, device="auto").device.name == "cpu"


def test_the_host_of_a_gpu_has_one_thread(gpus: None) -> None:
    assert [Device.choose(name).threads for name in ("cuda", "tensorrt")] == [1, 1]
    assert Device.choose("cuda", 2).threads == 2


def test_provider_options_reach_the_session(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = ort.InferenceSession

    def session(
        path: Path, options: ort.SessionOptions, providers: list[tuple[str, dict[str, str]]], **named: object
    ) -> object:
        seen.append(providers)
        return real(path, options, providers=providers, **named)

    monkeypatch.setattr(ort, "InferenceSession", session)
    Bark.load(bundle, device="cpu", threads=1, provider_options={"anything": "1"})
    assert seen == [[("CPUExecutionProvider", {"anything": "1"})]] * 4


@pytest.mark.parametrize("value", ["", "=", "=x", "key"])
def test_a_provider_option_is_a_pair(value: str) -> None:
    result = run(*SAY, "--provider-option", value)
    assert result.returncode == 2
    assert b"is not KEY=VALUE" in result.stderr


def test_an_unknown_device_is_one_line(bundle: Path) -> None:
    assert_fails(run("say", "hello", "--bundle", bundle, "--device", "tpu"), "unknown device 'tpu'")


def test_push_copies_the_array_to_a_device() -> None:
    """On the CPU both are the same memory."""

    class Elsewhere:
        def update_inplace(self, array: np.ndarray) -> None:
            self.copy = array.copy()

    array = np.zeros(3, np.int64)
    feed = Feed.of(array, Device("cpu"))
    assert feed.memory.pointer == array.ctypes.data
    feed.push()
    there = Elsewhere()
    remote = Feed(array, Memory(0, (3,), np.int64, "cuda", there))
    array[1] = 7
    remote.push()
    assert there.copy.tolist() == [0, 7, 0]


def test_a_provider_that_copies_is_bound_for_every_step(bark: Bark, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a provider reads inputs when they are bound: with one binding, every step would decode the same token."""
    monkeypatch.setattr("bark_onnx.graphs.decoder._BINDING_ONCE", ())
    options = GenerationOptions(max_seconds=0.3)
    expected = bark.generate("hello", options=options, seed=1).tokens.semantic
    binds = []
    real = bark._networks.semantic._bind_own
    monkeypatch.setattr(bark._networks.semantic, "_bind_own", lambda *arguments: binds.append(1) or real(*arguments))
    bark._loops.kept_caches.clear()
    assert np.array_equal(bark.generate("hello", options=options, seed=1).tokens.semantic, expected)
    assert len(binds) == len(expected) - 1  # the first token is sampled after the prefill


def test_bfloat16_is_bound_as_bfloat16(tmp_path: Path) -> None:
    """A CPU can convert it, which shows that the bits are taken as bfloat16."""
    cast = node("Cast", ["narrow"], "wide", to=FLOAT)
    given, made = value_info("narrow", BFLOAT16_IN_ONNX, "n"), value_info("wide", FLOAT, "n")
    (tmp_path / "cast.onnx").write_bytes(model(cast, [given], [made], []))
    inputs, outputs = {"narrow": (BFLOAT16, (None,))}, {"wide": (np.float32, (None,))}
    graph = Graph(tmp_path / "cast.onnx", Device("cpu"), inputs, outputs)
    exact = np.array([1.0, -2.5, 3.0e38], np.float32).view(np.uint32) >> 16 << 16
    narrow, wide = (exact >> 16).astype(np.uint16), np.zeros(3, np.float32)
    graph.run_bound(graph.bind({"narrow": Memory.of(narrow)}, {"wide": Memory.of(wide)}))
    assert np.array_equal(wide, exact.view(np.float32))


@pytest.mark.filterwarnings("ignore:Specified provider")  # ONNX Runtime's own
@pytest.mark.skipif(HAS_GPU, reason="this machine has a GPU")
def test_a_bundle_for_gpus_is_taken_by_auto(gpu_bundle: Path, gpus: None) -> None:
    with pytest.raises(DeviceError, match="did not start"):  # CUDA was tried, without a warning
        Bark.load(gpu_bundle)


def test_tensorrt_has_an_engine_for_each_verb(
    bundle: Path, bark: Bark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run by the CPU in TensorRT's place: the logits are those of one graph."""
    monkeypatch.setenv("BARK_ONNX_CACHE", str(tmp_path))
    profiles: list[EngineProfile] = []

    def providers(device: Device, profile: EngineProfile, *, captures: bool = False) -> object:
        profiles.append(profile)
        return [("CPUExecutionProvider", {})]

    monkeypatch.setattr(Device, "providers", providers)
    monkeypatch.setattr(Device, "memory", "cpu")
    networks = Networks(Bundle.open(bundle), Device("tensorrt", 1))
    assert isinstance(networks.semantic, TensorRTDecoder)
    decoder = networks.coarse
    step = ((1, 1), (1, 1), (ROWS, 1))
    assert [profile.shapes["input_ids"] for profile in profiles] == [
        ((1, 1), (1, 257), (1, 1024)), step,  # prompts of the semantic stage have 257 positions
        ((1, 1), (1, 887), (1, 1024)), step,
    ]  # fmt: skip
    assert [profile.cache.name for profile in profiles] == 2 * ["prefill", "step"]
    logits = []
    for own in (decoder, bark._networks.coarse):
        cache = own.new_cache(2)
        logits.append([own.prefill(cache, np.arange(200), row=1), own.decode_step(cache, [5], [1])[0].copy()])
    np.testing.assert_array_equal(*logits)
    with pytest.raises(DeviceError, match=f"up to {ROWS} sequences together, not {ROWS + 1}"):
        decoder.new_cache(ROWS + 1)


@pytest.mark.parametrize("low_memory", [False, True])
def test_sessions_share_an_arena_unless_memory_is_low(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, low_memory: bool
) -> None:
    seen: list[ort.SessionOptions] = []
    real = ort.InferenceSession

    def session(path: Path, options: ort.SessionOptions, providers: object, **named: object) -> object:
        seen.append(options)
        return real(path, options, providers=providers, **named)

    monkeypatch.setattr(ort, "InferenceSession", session)
    bark = Bark.load(bundle, device="cpu", threads=1, low_memory=low_memory)
    bark.generate("hello", options=GenerationOptions(max_seconds=0.1), seed=1)
    assert len(seen) == 4
    for options in seen:
        assert 0 < int(options.get_session_config_entry("session.intra_op.spin_duration_us")) <= 5000
        if low_memory:
            with pytest.raises(RuntimeError):
                options.get_session_config_entry("session.use_env_allocators")
        else:
            assert options.get_session_config_entry("session.use_env_allocators") == "1"


def test_on_a_cpu_no_kv_cache_outlives_its_stage(bark: Bark) -> None:
    caches = []
    real = bark._networks.semantic.new_cache
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            bark._networks.semantic, "new_cache", lambda *rows: caches.append(weakref.ref(made := real(*rows))) or made
        )
        bark.semantic("hello", options=GenerationOptions(max_seconds=0.1), seed=1)
    gc.collect()
    assert [cache() for cache in caches] == [None]
