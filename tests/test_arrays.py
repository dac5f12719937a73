"""Token arrays from callers: integers of the right shape and range, or an error in one line."""

from typing import Any

import numpy as np
import pytest

from bark_onnx import BarkError
from bark_onnx.arrays import check_tokens


@pytest.mark.parametrize("values", [[0, 9], (0, 9), np.array([0, 9], np.uint8), np.array([0, 9], ">i2")], ids=repr)
def test_tokens_become_int64(values: Any) -> None:
    tokens = check_tokens("tokens", values, (None,), 10)
    assert tokens.dtype == np.int64
    assert tokens.tolist() == [0, 9]


@pytest.mark.parametrize(
    "values",
    [5, [], [0.0], [1.5], ["1"], [True], None, "12", [[1], [1, 2]], [2**70], {}, [None], [[1]], [-1], [10]],
    ids=repr,
)
def test_other_values_are_one_error(values: Any) -> None:
    with pytest.raises(BarkError, match=r"^tokens must be "):
        check_tokens("tokens", values, (None,), 10)


@pytest.mark.parametrize("shape", [(1, 9), (5, 9), (2, 0), (2,)])
def test_an_error_names_the_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(BarkError, match=r"shape \[2\.\.4, n\], not int64 of shape"):
        check_tokens("codes", np.zeros(shape, np.int64), (range(2, 5), None), 10)
