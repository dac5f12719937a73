"""The steps of the report for GPUs, those that say most first. Each step is a command in a process of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

BUNDLES = {  # from a bundle's name to its precision and KV layout
    "fp16": ("fp16", "static"),
    "w4a16": ("w4a16", "static"),
    "fp32-portable": ("fp32", "portable"),
    "fp16-portable": ("fp16", "portable"),
    "bf16": ("bf16", "static"),
    "w8a16": ("w8a16", "static"),
}
REFERENCE = "fp32-portable"
TESTS = "tests/export/test_cuda.py"
CLI = ("-m", "bark_onnx")


@dataclass(frozen=True)
class Step:
    """One command of the report.

    Args:
        name: as it is shown and recorded, such as `small fp16: bench`.
        command: the arguments of this Python.
        makes: the file or the folder that it writes.
        place: where the report has the figures that it writes: keys below `sizes`. Empty for a step without figures.
        needs: files and folders that steps before it make.
    """

    name: str
    command: tuple[str | Path, ...]
    makes: Path | None = None
    place: tuple[str, ...] = ()
    needs: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Args:
        directory: for everything that the steps write.
        device: as for `say`; on `cpu` the tests for GPUs are left out.
        sizes: of the model, such as `small`.
        batch: rows of the largest batch.
        bundles: a directory with bundles that were exported before, and with their checkpoints if there are any; None
            makes both in `directory`.
    """

    directory: Path
    device: str
    sizes: Sequence[str]
    batch: int
    bundles: Path | None = None

    @property
    def voice(self) -> Path:
        """The voice that fills every history."""
        return self.directory / "full-voice.npz"

    def steps(self) -> Iterator[Step]:
        """All steps in their order."""
        if self.device != "cpu":
            yield Step("tests on the GPU", ("-m", "pytest", TESTS, "-v", "-ra"))
        for name in BUNDLES:
            for size in self.sizes:
                yield from self._exports(size, name)
                yield self._bench(size, name)
                yield self._choices(size, name)
        for size in self.sizes:
            for name in BUNDLES:
                if name != REFERENCE:
                    yield self._verify(size, name)
            yield self._peers(size)

    def _checkpoint(self, size: str) -> Path:
        return (self.bundles or self.directory) / f"bark-{size}"

    def _bundle(self, size: str, name: str) -> Path:
        return (self.bundles or self.directory) / f"bark-{size}-{name}"

    def _exports(self, size: str, name: str) -> Iterator[Step]:
        if self.bundles is not None:
            return
        checkpoint, bundle, (precision, layout) = self._checkpoint(size), self._bundle(size, name), BUNDLES[name]
        if not checkpoint.is_dir():  # it is made once, for the first bundle
            yield Step(f"{size}: checkpoint", ("-m", "bark_onnx_bench.checkpoints", checkpoint, size), checkpoint)
        way = ("--precision", precision, "--layout", layout, "--force", "--no-verify")
        yield Step(f"{size} {name}: export", (*CLI, "export", checkpoint, bundle, *way), bundle, needs=(checkpoint,))

    def _bench(self, size: str, name: str) -> Step:
        options = (
            "--device",
            self.device,
            "--voice",
            self.voice,
            "--batch",
            str(self.batch),
            "--batch-sweep",
            "--fast",
        )
        return self._measured(size, name, "bench", (*CLI, "bench"), options)

    def _choices(self, size: str, name: str) -> Step:
        command = ("-m", "bark_onnx_bench.choices")
        return self._measured(size, name, "choices", command, ("--device", self.device))

    def _verify(self, size: str, name: str) -> Step:
        reference = self._bundle(size, REFERENCE)
        options = ("--against", reference, "--voice", self.voice, "--device", self.device)
        return self._measured(size, name, "verify", (*CLI, "verify"), options, reference)

    def _measured(
        self, size: str, name: str, what: str, command: Sequence[str], options: Sequence[str | Path], *needs: Path
    ) -> Step:
        """A step that measures a bundle and writes its figures."""
        bundle, out = self._bundle(size, name), self.directory / f"bark-{size}-{name}-{what}.json"
        words = (*command, bundle, *options, "--json", out)
        return Step(f"{size} {name}: {what}", words, out, (size, name, what), (bundle, *needs))

    def _peers(self, size: str) -> Step:
        checkpoint, bundle = self._checkpoint(size), self._bundle(size, next(iter(BUNDLES)))
        out = self.directory / f"bark-{size}-peers.json"
        options = ("--device", self.device, "--static", "--repeats", "3", "--json", out)
        command = ("-m", "bark_onnx_bench.peers", checkpoint, bundle, *options)
        return Step(f"{size}: peers", command, out, (size, "peers"), (checkpoint, bundle))
