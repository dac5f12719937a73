"""Write a checkpoint with random weights in Hugging Face's layout, with a small tokenizer.

    python -m bark_onnx_bench.checkpoints DIRECTORY [tiny|small|large]

Its speech is noise, but exporting and running it costs what the published weights cost. DIRECTORY appears when it is
complete.
"""

import argparse
from pathlib import Path

from bark_onnx.files import replacing_directory

from .bark import make_bark
from .configuration import SIZES
from .huggingface import save_huggingface
from .tokenizer import write_tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("size", choices=SIZES, nargs="?", default="tiny")
    arguments = parser.parse_args()
    if arguments.directory.exists():
        parser.error(f"{arguments.directory} exists already: delete it, or choose another name")
    size = SIZES[arguments.size]
    model = make_bark(
        layers=size.layers,
        heads=size.heads,
        width=size.width,
        filters=size.codec_filters,
        codec_width=size.codec_width,
    )
    with replacing_directory(arguments.directory) as directory:
        save_huggingface(model, directory)
        write_tokenizer(directory)


if __name__ == "__main__":
    main()
