"""Run the whole recipe in order. Every step keeps its result in the working directory and is not repeated.

    python -m bark_onnx_nano OUT [--work DIRECTORY] [--only STEP]

OUT becomes a checkpoint in Hugging Face's layout. The recipe can be stopped at any time; it continues from the last
result it kept.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bark_onnx_export.checkpoint import open_checkpoint
from bark_onnx_export.convert import ExportOptions, export_bundle

from . import units
from .checkpoint.write import write
from .corpus import codebooks, shards, tokens, utterances
from .corpus.codebooks import Codebooks
from .corpus.tokens import Tokens
from .judging import presets
from .speech import mel
from .text import tokenizer
from .training import coarse, codec, fine, semantic
from .training.loop import Plan, load, train
from .training.transformer import SIZES, Fine

SEED = 11
SPOKEN, TIMED = 48, 400  # shards of 500 utterances
CODEC_SHARDS = 12
CODEC_VALIDATION = 200  # utterances of the codec's shards that it is not trained on

PLANS = {
    "semantic": Plan(steps=54600, rate=3e-3, matrix_rate=3e-3, decay=0.65),
    "coarse": Plan(steps=34500, rate=3e-3, matrix_rate=3e-3, warmup=40, decay=0.5),
    "fine": Plan(steps=11500, rate=3e-3, matrix_rate=3e-3, warmup=40, decay=0.5),
    "codec": Plan(steps=24600, rate=1e-3, weight_decay=0.0, decay=0.5),
}
UNPADDED = 0.3  # share of the semantic model's steps without padding


class Recipe:
    """The steps of the recipe. Each is a method that writes its result to the working directory.

    Args:
        work: the working directory.
        out: the checkpoint.
    """

    def __init__(self, work: Path, out: Path) -> None:
        self.work, self.out = work, out
        self.corpus, self.codes, self.tokenizer = work / "corpus", work / "codes", work / "tokenizer.json"

    def make_corpus(self) -> None:
        tokenizer.write(self.tokenizer)
        utterances.make(self.corpus, spoken=SPOKEN, timed=TIMED, seed=SEED, processes=os.cpu_count() or 1)

    def train_codebooks(self) -> None:
        if not (self.work / codebooks.FILE).exists():
            samples = utterances.speech(self.corpus, CODEC_SHARDS)[::14]
            frames = torch.cat([mel.frames(torch.from_numpy(s) / 32768.0) for s in samples])
            codebooks.train(frames, SEED).save(self.work / codebooks.FILE)

    def encode_corpus(self) -> None:
        tokens.encode(self.corpus, SPOKEN, self._codebooks(), self.codes, os.cpu_count() or 1)

    def train_semantic(self) -> None:
        sentences = semantic.Sentences(self.corpus, self.tokenizer)
        plan = PLANS["semantic"]
        task = semantic.task(sentences, SEED, int(plan.steps * UNPADDED))
        train(task, plan, self.work / "semantic.pt", seed=SEED)

    def train_coarse(self) -> None:
        task = coarse.task(tokens.load(self.codes), self._codebooks(), SEED)
        train(task, PLANS["coarse"], self.work / "coarse.pt", seed=SEED)

    def train_fine(self) -> None:
        task = fine.task(tokens.load(self.codes), self._codebooks(), SEED)
        train(task, PLANS["fine"], self.work / "fine.pt", seed=SEED)

    def train_codec(self) -> None:
        true = tokens.load(self.codes)
        samples = utterances.speech(self.corpus, CODEC_SHARDS)
        predicted = self._predictions(true, len(samples))
        voices = [units.voice_of(semantic) for semantic in true.semantic]
        held_out, excerpts = (
            codec.Excerpts(samples[part], true.codes[part], predicted.codes[part], voices[part], SEED)
            for part in (slice(CODEC_VALIDATION), slice(CODEC_VALIDATION, len(samples)))
        )
        task = codec.task(excerpts, held_out, self._codebooks(), SEED)
        train(task, PLANS["codec"], self.work / "codec.pt", seed=SEED)

    def write_checkpoint(self) -> None:
        corpus = tokens.load(self.codes)
        write(self.work, self.out, corpus, presets.chosen(self.work) or presets.first(corpus))

    def choose_presets(self) -> None:
        if presets.chosen(self.work) is None:
            bundle = self.work / "bundle"
            export_bundle(open_checkpoint(str(self.out)), bundle, ExportOptions("int8", over_limit=True, force=True))
            presets.choose(bundle, self.work)
            self.write_checkpoint()

    def _predictions(self, true: Tokens, count: int) -> Tokens:
        """Return the first `count` utterances with the fine model's codes. They are computed once."""
        directory = self.work / "predictions"
        path = shards.shard(directory, 0)
        if not path.exists():
            directory.mkdir(exist_ok=True)
            model = load(Fine(SIZES["fine"]), self.work / "fine.pt")
            tokens.save(fine.predictions(model, true, count, SEED), path)
        return tokens.load(directory)

    def _codebooks(self) -> Codebooks:
        return Codebooks.load(self.work / codebooks.FILE)


STEPS: dict[str, Callable[[Recipe], None]] = {
    "corpus": Recipe.make_corpus,
    "codebooks": Recipe.train_codebooks,
    "codes": Recipe.encode_corpus,
    "semantic": Recipe.train_semantic,
    "coarse": Recipe.train_coarse,
    "fine": Recipe.train_fine,
    "codec": Recipe.train_codec,
    "checkpoint": Recipe.write_checkpoint,
    "presets": Recipe.choose_presets,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--work", type=Path, default=Path("out/nano"), help="where the steps keep their results")
    parser.add_argument("--only", choices=STEPS, help="run one step instead of all")
    arguments = parser.parse_args()
    recipe = Recipe(arguments.work, arguments.out)
    np.seterr(all="raise", under="ignore")
    for name, step in STEPS.items():
        if arguments.only in (None, name):
            step(recipe)


if __name__ == "__main__":
    main()
