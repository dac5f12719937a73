"""`bark-onnx export`, `verify` and `push`. PyTorch is imported only when a command needs it."""

import json
import math
import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from bark_onnx.checks.compare import check_graphs
from bark_onnx.checks.excerpts import find_voices, voice_names
from bark_onnx.checks.quality import FIGURES, HEADER, TOKENS, Source, StageQuality, check_same_model, measure
from bark_onnx.command.group import bundle_argument, check_writable
from bark_onnx.errors import BarkError, how_to_install
from bark_onnx.files import replacing
from bark_onnx.graphs.device import Device
from bark_onnx.hub.repository import Repository
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.manifest import EXPERIMENTAL_ON_GPU, GPU_PRECISIONS, KV_LAYOUTS, MANIFEST, PRECISIONS, Manifest


def _checkpoint_options(command: Any) -> Any:
    """Add the options that say what to read of a checkpoint."""
    command = click.option(
        "--revision", help="Revision of a repository on the hub: a branch, a tag, refs/pr/N or a commit."
    )(command)
    command = click.option(
        "--codec",
        help="Take EnCodec from here: Meta's .th file, a directory, or facebook/encodec_24khz on the hub.",
    )(command)
    return click.option(
        "--model-size",
        type=click.Choice(["small", "large"]),
        help="Read Suno's own files (.pt), and this one of the two models.",
    )(command)


def _open_checkpoint(name: str, **options: Any) -> Any:
    """Open a checkpoint. Raises BarkError, also if PyTorch or another package of the extra is not installed."""
    try:
        from .checkpoint import open_checkpoint
    except ImportError as error:
        raise BarkError(f"reading a checkpoint needs {error.name}: {how_to_install('export')}") from None
    return open_checkpoint(name, **options)


@click.command()
@click.argument("checkpoint")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--precision", type=click.Choice(PRECISIONS), default="fp32", show_default=True,
    help="Number formats of the bundle. int8, int4 and mixed are for CPUs; "
    f"{', '.join(GPU_PRECISIONS)} are for GPUs. These have not run on a GPU yet, and are experimental: "
    f"{', '.join(EXPERIMENTAL_ON_GPU)}.",
)  # fmt: skip
@click.option(
    "--layout", type=click.Choice(KV_LAYOUTS), default="static", show_default=True,
    help="static: ONNX Runtime's attention. portable: standard operators only, for TensorRT and other runtimes.",
)  # fmt: skip
@click.option("--tokenizer", type=click.Path(path_type=Path), help="tokenizer.json or BERT's vocab.txt.")
@click.option("--voices", type=click.Path(path_type=Path), help="Directory of voice presets (.npz, or .npy triples).")
@_checkpoint_options
@click.option("--no-verify", is_flag=True, help="Do not measure what the precision costs.")
@click.option("--over-limit", is_flag=True, help="Write the bundle even if its precision costs too much.")
@click.option("--force", is_flag=True, help="Overwrite a bundle of the same name.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but warnings.")
def export(
    checkpoint: str, out: Path, precision: str, layout: str, tokenizer: Path | None, voices: Path | None,
    revision: str | None, codec: str | None, model_size: str | None, no_verify: bool, over_limit: bool,
    force: bool, quiet: bool,
) -> None:  # fmt: skip
    """Convert CHECKPOINT to the bundle OUT.

    CHECKPOINT is a directory, or a model on the Hugging Face hub: ORG/NAME or ORG/NAME@REVISION.
    """
    from .bundle.write import refuse_to_overwrite

    start = time.monotonic()
    refuse_to_overwrite(out, force=force)  # before PyTorch is imported and anything is downloaded
    wanted = [name for name, given in (("tokenizer", tokenizer), ("voices", voices)) if given is None]
    opened = _open_checkpoint(
        checkpoint, revision=revision, codec=codec, model_size=model_size, assets=wanted, quiet=quiet
    )
    from .convert import ExportOptions, export_bundle

    options = ExportOptions(
        precision, layout, tokenizer, voices,
        verify=not no_verify, over_limit=over_limit, progress=not quiet, force=force,
    )  # fmt: skip
    export_bundle(opened, out, options, (lambda line: None) if quiet else click.echo)
    if not quiet:
        for line in _summary(out, time.monotonic() - start):
            click.echo(line)


def _summary(out: Path, seconds: float) -> Iterator[str]:
    """What was written, and what to do next."""
    bundle = Bundle(out, Manifest.from_json((out / MANIFEST).read_text(encoding="utf-8")))
    megabytes = sum(entry.bytes for entry in bundle.manifest.files.values()) / 1e6
    voices = list(bundle.voices)
    number = "1 voice" if len(voices) == 1 else f"{len(voices)} voices"
    yield f"wrote {out}: {megabytes:.1f} MB, {number}, in {seconds:.0f} s"
    if not voices:
        yield "to add voices, export again with --voices DIR, a directory of .npz files or .npy triples"
    voice = ["--voice", voices[0]] if voices else []
    yield f"try it: {shlex.join(['bark-onnx', 'say', 'Hello.', '--bundle', str(out), *voice])}"


def _limit(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """Parse each NAME=VALUE. Raises BadParameter."""
    limits = {}
    for value in values:
        name, _, number = value.partition("=")
        if name not in FIGURES:
            raise click.BadParameter(f"{value!r} is not NAME=VALUE with one of {', '.join(FIGURES)}")
        try:
            limits[name] = float(number)
        except ValueError:
            limits[name] = math.nan
        if not math.isfinite(limits[name]):
            raise click.BadParameter(f"{number!r} in {value!r} is not a number")
    return limits


@click.command()
@bundle_argument
@click.option("--checkpoint", help="Compare with PyTorch and this checkpoint: a directory, or a name on the hub.")
@_checkpoint_options
@click.option("--against", type=click.Path(path_type=Path), help="Compare with this bundle, on the tokens of voices.")
@click.option("--voice", "voices", multiple=True, help="Compare on this voice of BUNDLE, or .npz file; repeatable.")
@click.option("--tokens", type=click.IntRange(1), help=f"Semantic tokens of all voices together.  [default: {TOKENS}]")
@click.option(
    "--limit", "limits", multiple=True, metavar="NAME=VALUE", callback=_limit,
    help=f"Fail if a figure is worse; NAME is one of {', '.join(FIGURES)}; repeatable.",
)  # fmt: skip
@click.option("--device", help="With --against: the device of both bundles, as for `say`.  [default: cpu]")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures to this file too.")
def verify(
    bundle: Path, checkpoint: str | None, revision: str | None, codec: str | None, model_size: str | None,
    against: Path | None,
    voices: tuple[str, ...], tokens: int | None, limits: dict[str, float], device: str | None,
    json_file: Path | None,
) -> None:  # fmt: skip
    """Check BUNDLE, or compare it with a checkpoint or a bundle.

    The hash of every file is checked. Without options, every graph then runs once. With --checkpoint or --against, both
    models predict each next token of voices from the true tokens before it. The predictions are compared by negative
    log-likelihood, KL divergence, and top-1 and top-5 agreement; the codecs are compared by their waveforms.

    Without BUNDLE, this checks nano, the small demonstration model that comes with bark-onnx.
    """
    if checkpoint and against:
        raise click.UsageError("--checkpoint and --against exclude each other")
    if not (checkpoint or against) and (voices or tokens or limits or json_file):
        raise click.UsageError("--voice, --tokens, --limit and --json go with --against or --checkpoint")
    if not checkpoint and (revision or codec or model_size):
        raise click.UsageError("--revision, --codec and --model-size go with --checkpoint")
    if not against and device:
        raise click.UsageError("--device goes with --against; everything else is checked on the CPU")
    if json_file is not None:
        check_writable(json_file, "--json", [".json"])
    opened, count = Bundle.open(bundle, progress=True), tokens or TOKENS
    if against:
        reference, chosen = Bundle.open(against, progress=True), Device.choose(device or "cpu")
        check_same_model(reference, opened)
        found = find_voices(reference, voices, count)
        sources = Source.of(reference, chosen), Source.of(opened, chosen)
        stages = measure(*sources, opened.manifest, list(found.values()), count, limits, progress=True)
        _show(stages, opened, reference.manifest.model, reference.manifest.precision, list(found), count, json_file)
    elif checkpoint:
        source = _open_checkpoint(checkpoint, revision=revision, codec=codec, model_size=model_size, assets=())
        from .verify import verify as verify_checkpoint

        stages = verify_checkpoint(source, opened, voices, count, limits, progress=True)
        names = list(voices) or voice_names(opened)
        _show(stages, opened, source.source, "torch", names, count, json_file)
    else:
        check_graphs(opened)
        click.echo(f"{bundle}: {len(opened.manifest.files)} files have the right hashes, and every graph runs")


def _show(
    measured: Iterator[StageQuality], candidate: Bundle, model: str, precision: str, voices: list[str], tokens: int,
    json_file: Path | None,
) -> None:  # fmt: skip
    """Print the table row by row, because a row can take half a minute, and write the figures to a file."""
    manifest = candidate.manifest
    click.echo(f"{manifest.precision} against {precision}; {tokens} tokens; voice: {', '.join(voices)}")
    click.echo(HEADER)
    stages = []
    for stage in measured:
        stages.append(stage)
        click.echo(stage)
    if json_file is not None:
        figures = {
            "reference": {"model": model, "precision": precision},
            "candidate": {"model": manifest.model, "precision": manifest.precision},
            "tokens": tokens,
            "voices": voices,
            "stages": [asdict(stage) | {"over": stage.over} for stage in stages],
        }
        with replacing(json_file) as temporary:
            temporary.write_text(json.dumps(figures, indent=2) + "\n")
    failed = [f"{stage.stage}: {', '.join(stage.over)}" for stage in stages if stage.over]
    if failed:
        raise BarkError(f"further from the reference than the limits allow: {'; '.join(failed)}")


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("repository", metavar="ORG/NAME")
@click.option("--private", is_flag=True, help="Create the repository as a private one.")
@click.option("--revision", help="Branch to upload to, which is created if it does not exist, or refs/pr/N.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but warnings.")
def push(bundle: Path, repository: str, private: bool, revision: str | None, quiet: bool) -> None:
    """Upload BUNDLE to the Hugging Face hub as the model ORG/NAME.

    Only the files of the manifest are uploaded, with a model card that is made from it, in one commit. The bundle is
    checked first, as by `verify`. A repository that holds something else is refused.
    """
    target = Repository.parse(repository, revision)
    if target is None:
        raise click.BadParameter(f"{repository!r} is not a name such as suno/bark-small", param_hint="ORG/NAME")
    try:
        from .publish.push import push as upload
    except ImportError:
        raise BarkError(f"push needs a current huggingface_hub: {how_to_install('hub')}") from None
    opened = Bundle.open(bundle, progress=not quiet)
    if opened.manifest.precision != "bf16":  # CPUs cannot run it
        check_graphs(opened)
    done = upload(opened, target, private=private, quiet=quiet)
    if quiet:
        return
    entries = opened.manifest.files
    click.echo(f"wrote {done.url}: {len(entries)} files, {sum(entry.bytes for entry in entries.values()) / 1e6:.1f} MB")
    if done.deleted:
        click.echo(f"deleted there: {', '.join(done.deleted)}")
    if done.licence is None:
        click.echo("the card names no licence: add the base model's on the page")
    click.echo(f"try it: {shlex.join(['bark-onnx', 'say', 'Hello.', '--bundle', str(target)])}")
