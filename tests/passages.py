"""What tests of long texts speak: a text and its passages, and a script. SPACE is the token space of `short`."""

from bark_onnx.long.guards import Problem
from tiny import SHORT_WINDOWS

SPACE = SHORT_WINDOWS
TEXT = "Hello world. The dog is music!\n\nOf the world, and music: is the laughter of the dogs. Hello"
SAID = ["Hello world. The dog is music!", "Of the world, and music:", "is the laughter of the dogs.", "Hello"]
SCRIPT = "HOST: Hello world.\nGUEST: The dog.\nHOST: Is it music?\n\nGUEST: Laughter.\nHOST: Hello."


def names(found: tuple[Problem, ...]) -> list[str]:
    return [problem.name for problem in found]
