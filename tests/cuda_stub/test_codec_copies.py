"""What a run of the codec copies, over the stub libraries: its state stays in the GPU's memory.

The graph has the codec's inputs and outputs, but no convolutions, which the stub of cuDNN cannot run.
"""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save_model

from bark_onnx.graphs.causal_graph import PAST, PRESENT
from bark_onnx.graphs.codec import CODEC_INPUTS, RUN_FRAMES, WAVEFORM, CodecDecoder, codec_state_names
from bark_onnx.graphs.device import Device
from bark_onnx.model.sizes import CodecSize, codec_state
from bark_onnx.stages.codec import WaveformStream
from stub_cuda import Stub, needs_stub

pytestmark = needs_stub


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> CodecDecoder:
    """A decoder of the published size; the sums of the codes are its samples, and it negates its state."""
    size, path = CodecSize(), tmp_path_factory.mktemp("codec") / "codec.onnx"
    past, present = (codec_state_names(prefix, size) for prefix in (PAST, PRESENT))
    codes, fresh = CODEC_INPUTS
    nodes = [
        helper.make_node("Cast", [codes], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["numbers", "codebooks"], ["sums"], keepdims=0),
        helper.make_node("Cast", [fresh], ["begins"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["sums", "begins"], ["frames"]),
        helper.make_node("Tile", ["frames", "repeats"], [WAVEFORM]),
        *(helper.make_node("Neg", [name], [after]) for name, after in zip(past, present, strict=True)),
    ]
    constants = {"codebooks": [1], "repeats": [1, size.frame_samples]}
    shapes = [["rows", *shape] for shape in codec_state(size).values()]
    state = [
        [helper.make_tensor_value_info(*named, shape) for named, shape in zip(names, shapes, strict=True)]
        for names in ([(name, TensorProto.FLOAT) for name in part] for part in (past, present))
    ]
    inputs = [
        helper.make_tensor_value_info(codes, TensorProto.INT64, ["rows", size.codebooks, "frames"]),
        helper.make_tensor_value_info(fresh, TensorProto.BOOL, ["rows"]),
        *state[0],
    ]
    outputs = [helper.make_tensor_value_info(WAVEFORM, TensorProto.FLOAT, ["rows", "samples"]), *state[1]]
    values = [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "codec", inputs, outputs, values)
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return CodecDecoder(path, size, Device.choose("cuda").with_stream())


def test_codes_go_up_and_the_waveform_comes_down(codec: CodecDecoder) -> None:
    stub, codes = Stub(), np.zeros((8, 3 * RUN_FRAMES), np.int64)
    codec.decode(codes)  # the arena grows
    stub.reset()
    codec.decode(codes)
    copies = {what.partition(" stream=")[0]: count for what, count in stub.calls.items() if "cudaMemcpy" in what}
    assert copies == {"cudaMemcpyAsync H2D": 3 * 2, "cudaMemcpyAsync D2H": 3}  # codes and `fresh` of each run
    assert not [what for what in stub.calls if "Malloc" in what]


def test_a_stream_takes_no_memory_of_the_gpu_until_it_decodes(codec: CodecDecoder) -> None:
    """Requests are prepared in the callers' threads, which must not allocate while another thread records runs."""
    stub = Stub()
    with stub.in_order() as order:
        stream = WaveformStream(codec)
        assert not len(stream.push(np.zeros((8, codec.size.first_frames - 1), np.int64)))
    assert order == []
    assert len(stream.push(np.zeros((8, 1), np.int64))) == codec.size.first_frames * codec.size.frame_samples
