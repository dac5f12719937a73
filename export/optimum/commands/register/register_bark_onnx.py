"""`optimum-cli export bark-onnx`: what `bark-onnx export` does, as a command of Hugging Face's optimum.

optimum imports the files in this folder whenever it starts, so what is heavy is imported when the command runs. The
folders `optimum`, `commands` and `register` belong to optimum's namespace, and have no `__init__.py` (PEP 420).
"""

from argparse import ArgumentParser
from typing import Any

import click
from optimum.commands.base import BaseOptimumCLICommand, CommandInfo
from optimum.commands.export.base import ExportCommand


class BarkOnnxExportCommand(BaseOptimumCLICommand):
    """`bark-onnx export` with its options, and with `--model` in place of CHECKPOINT."""

    COMMAND = CommandInfo("bark-onnx", help="Export a Bark checkpoint to a bundle for bark-onnx.")

    @staticmethod
    def parse_args(parser: ArgumentParser) -> None:
        """Declare the options of `bark-onnx export`."""
        parser.description = "Export a Bark checkpoint to a bundle, with which bark-onnx speaks on ONNX Runtime."
        model = "A directory, or a model on the Hugging Face hub, such as suno/bark-small."
        parser.add_argument("-m", "--model", required=True, metavar="CHECKPOINT", help=model)
        parser.add_argument("output", metavar="OUT", help="The directory of the bundle.")
        for option in _options():
            about: dict[str, Any] = {"dest": option.name, "help": (option.help or "").replace("%", "%%")}
            if option.is_flag:
                about["action"] = "store_true"
            elif isinstance(option.type, click.Choice):
                about["choices"] = list(option.type.choices)
            parser.add_argument(*option.opts, **about)

    def run(self) -> None:
        """Run `bark-onnx export`, which ends the process with its exit status."""
        from bark_onnx.command.cli import main
        from bark_onnx.command.signals import clean_up_on_signals

        arguments = ["export"]
        for option in _options():
            value = getattr(self.args, str(option.name))
            if value not in (None, False):
                arguments += [option.opts[-1]] if option.is_flag else [option.opts[-1], value]
        clean_up_on_signals()
        main.main([*arguments, "--", self.args.model, self.args.output], prog_name="bark-onnx")


def _options() -> list[click.Option]:
    from bark_onnx_export.cli import export

    return [parameter for parameter in export.params if isinstance(parameter, click.Option)]


def _commands() -> list[tuple[type[BaseOptimumCLICommand], type[BaseOptimumCLICommand]]]:
    """Return no command where ONNX Runtime is not installed: optimum's other commands must work there all the same."""
    try:
        _options()
    except ImportError:
        return []
    return [(BarkOnnxExportCommand, ExportCommand)]


REGISTER_COMMANDS = _commands()
