"""What the comparisons with transformers share: its logits, the order of its codes, the options for argmax in ours.

A test module imports the fixture under its own name (`as`), by which ruff knows that it is used.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bark_onnx import Vocabulary

Ids = NDArray[np.int64]

GREEDY = {"text_temperature": 0.0, "coarse_temperature": 0.0, "fine_temperature": 0.0}
PUBLISHED = Vocabulary()


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Networks this small run slower on more, and much slower where others use the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def flat_ids(codes: Ids, space: Vocabulary) -> Ids:
    ids = codes + space.semantic_size
    ids[1] += space.codebook_size
    return ids.T.ravel()


def causal_logits(network: torch.nn.Module, ids: Ids, history: Ids | None = None) -> NDArray[np.float32]:
    """Logits [S, V] of transformers at all positions; the embeddings of `history` are added at the first ones."""
    embedded = network.input_embeds_layer(torch.tensor(ids[None]))
    if history is not None:
        embedded[:, : len(history)] += network.input_embeds_layer(torch.tensor(history[None]))
    return network(inputs_embeds=embedded).logits[0].numpy()
