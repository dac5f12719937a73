"""The whole recipe, in order; every step is kept in the working directory, and not done again.

    python -m bark_onnx_nano OUT [--work DIRECTORY] [--only STEP]

OUT becomes a checkpoint in Hugging Face's layout. Stopped at any time, it goes on from its last checkpoint.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch

from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle

from . import checkpoint, coarse, codebooks, codec, codes, corpus, fine, mel, presets, semantic, spelling, units
from .training import Plan, load, train
from .transformer import Fine, build

SEED = 11
SPOKEN, TIMED = 48, 400  # shards of 500 utterances
CODEC_SHARDS = 12

PLANS = {
    "semantic": Plan(steps=54600, rate=3e-3, matrix_rate=3e-3, decay=0.65),
    "coarse": Plan(steps=34500, rate=3e-3, matrix_rate=3e-3, warmup=40, decay=0.5),
    "fine": Plan(steps=11500, rate=3e-3, matrix_rate=3e-3, warmup=40, decay=0.5),
    "codec": Plan(steps=24600, rate=1e-3, weight_decay=0.0, decay=0.5),
}
UNPADDED = 0.3  # of the semantic model's steps are done when padding begins


class Recipe:
    """The steps, each a method that leaves its result in the working directory."""

    def __init__(self, work: Path, out: Path) -> None:
        self.work, self.out = work, out
        self.tokenizer, self.codes = work / "tokenizer.json", work / "codes"

    def step_corpus(self) -> None:
        spelling.write(self.tokenizer)
        corpus.make(self.work / "corpus", spoken=SPOKEN, timed=TIMED, seed=SEED, processes=os.cpu_count() or 1)

    def step_codebooks(self) -> None:
        if not (self.work / codebooks.FILE).exists():
            samples = codec.speech(self.work / "corpus", 0, CODEC_SHARDS)[::14]
            frames = torch.cat([mel.frames(torch.from_numpy(s) / 32768.0) for s in samples])
            codebooks.train(frames, SEED).save(self.work / codebooks.FILE)

    def step_codes(self) -> None:
        codes.encode(self.work / "corpus", SPOKEN, self._codebooks(), self.codes, os.cpu_count() or 1)

    def step_semantic(self) -> None:
        sentences = semantic.Sentences(self.work / "corpus", self.tokenizer)
        plan = PLANS["semantic"]
        task = semantic.task(sentences, SEED, int(plan.steps * UNPADDED))
        train(task, plan, self.work / "semantic.pt", seed=SEED)

    def step_coarse(self) -> None:
        tokens = codes.load(self.codes)
        train(coarse.task(tokens, self._codebooks(), SEED), PLANS["coarse"], self.work / "coarse.pt", seed=SEED)

    def step_fine(self) -> None:
        tokens = codes.load(self.codes)
        train(fine.task(tokens, self._codebooks(), SEED), PLANS["fine"], self.work / "fine.pt", seed=SEED)

    def step_codec(self) -> None:
        tokens = codes.load(self.codes)
        samples = codec.speech(self.work / "corpus", 0, CODEC_SHARDS)
        guessed = self._guesses(tokens, len(samples))
        voices = [units.voice_of(semantic) for semantic in tokens.semantic]
        held_out, excerpts = (
            codec.Excerpts(samples[part], tokens.codes[part], guessed.codes[part], voices[part], SEED)
            for part in (slice(200), slice(200, len(samples)))
        )
        task = codec.task(excerpts, held_out, self._codebooks(), SEED)
        train(task, PLANS["codec"], self.work / "codec.pt", seed=SEED)

    def _guesses(self, tokens: codes.Tokens, count: int) -> codes.Tokens:
        """The first utterances with the fine model's codes, made once."""
        directory = self.work / "guesses"
        path = corpus.shard(directory, 0)
        if not path.exists():
            directory.mkdir(exist_ok=True)
            model = cast(Fine, load(build("fine"), self.work / "fine.pt"))
            codes.save(fine.guesses(model, tokens, count, SEED), path)
        return codes.load(directory)

    def step_checkpoint(self) -> None:
        tokens = codes.load(self.codes)
        chosen = presets.chosen(self.work) or presets.first(tokens)
        checkpoint.write(self.work, self.out, tokens, chosen)

    def step_presets(self) -> None:
        if presets.chosen(self.work) is None:
            bundle = self.work / "bundle"
            export_bundle(open_checkpoint(str(self.out)), bundle, ExportOptions("int8", force=True))
            presets.choose(bundle, self.work)
            self.step_checkpoint()

    def _codebooks(self) -> codebooks.Codebooks:
        return codebooks.Codebooks.load(self.work / codebooks.FILE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--work", type=Path, default=Path("out/nano"), help="where the steps are kept")
    steps = ["corpus", "codebooks", "codes", "semantic", "coarse", "fine", "codec", "checkpoint", "presets"]
    parser.add_argument("--only", choices=steps, help="one step instead of all")
    arguments = parser.parse_args()
    recipe = Recipe(arguments.work, arguments.out)
    np.seterr(all="raise", under="ignore")
    for step in steps:
        if arguments.only in (None, step):
            run: Callable[[], None] = getattr(recipe, f"step_{step}")
            run()


if __name__ == "__main__":
    main()
