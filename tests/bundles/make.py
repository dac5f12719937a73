"""Makes the bundle of this folder, on which most tests of the runtime run. Needs torch and the exporter.

    python tests/bundles/make.py

Writes beside itself:

    tiny/       an fp32 bundle: random weights, two layers, a small token space, the published windows and rates
    samplers/   the graphs that sample tokens, which a bundle for GPUs has besides

Its utterances end by themselves, after up to two seconds: where one token would have been sampled, END_LIKE, the end
token is as likely. tests/export/test_committed_bundle.py checks that the committed files are what this program writes.
"""

import shutil
import tempfile
from pathlib import Path

from bark_onnx.model.manifest import CAUSAL_STAGES, SAMPLER, TOP_K_TOP_P, graph_file
from bark_onnx_bench.checkpoints import SMALL_VOCABULARY, make_bark, save_huggingface, write_tokenizer
from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle
from bark_onnx_export.graphs.networks import fine_sampler_graph, sampler_graph

HERE = Path(__file__).parent
END_LIKE = 45


def make(directory: Path) -> None:
    """Write `tiny` and `samplers` into a directory that has neither."""
    model = make_bark(vocabulary=SMALL_VOCABULARY, layers=2, heads=2, width=16, seed=13, filters=2, codec_width=8)
    head = model.semantic.lm_head.weight
    head[SMALL_VOCABULARY.semantic_pad] = 1.01 * head[END_LIKE]
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = save_huggingface(model, Path(scratch) / "bark-test")
        write_tokenizer(checkpoint)
        export_bundle(open_checkpoint(str(checkpoint)), directory / "tiny", ExportOptions())
    samplers = directory / "samplers"
    samplers.mkdir()
    for stage in CAUSAL_STAGES:
        choices, first_id = SMALL_VOCABULARY.choices(stage), SMALL_VOCABULARY.first_id(stage)
        for part in (SAMPLER, TOP_K_TOP_P):
            graph = sampler_graph(choices, first_id, top_k_top_p=part == TOP_K_TOP_P)
            (samplers / graph_file(stage, part)).write_bytes(graph)
    fine = fine_sampler_graph(SMALL_VOCABULARY.fine_codebooks, SMALL_VOCABULARY.codebook_size)
    (samplers / graph_file("fine", SAMPLER)).write_bytes(fine)


if __name__ == "__main__":
    for name in ("tiny", "samplers"):
        shutil.rmtree(HERE / name, ignore_errors=True)
    make(HERE)
