"""The tokenizer: texts that say nothing are refused by one rule, everywhere; the others become ids."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bark_onnx import Bark, BarkError, GenerationOptions, Request
from bark_onnx.model.bundle import Bundle
from bark_onnx.model.tokenizer import Tokenizer, require_something_to_say, says_something
from linear import is_linear

NANO_HAS = ["a", "1", "¿é?", "[laughs]", "[", "²", "\u200bx", "Привет, 5!", "ﬁ", "Ａ"]
NANO_LACKS = ["我", "か", "가", "है", "ı", "♪", "... ♪ ...", "१", "[Привет]", "Привет, мир!"]
SAYS_NOTHING = ["\u200b", "...", "?!", "* * *", "—", "😀", "\u0301", "\x00", "]", "_", "。", "\ufeff", "€"]
EMPTY = ["", " ", "\n\t", "\u3000", "\u2029\x1c"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """nano's."""
    bundle = Bundle.open(None)
    return Tokenizer(bundle.tokenizer, bundle.manifest.vocabulary)


@pytest.mark.filterwarnings("ignore::bark_onnx.BarkWarning")
@pytest.mark.parametrize("text", NANO_HAS)
def test_letters_digits_and_marks_say_something(tokenizer: Tokenizer, text: str) -> None:
    assert says_something(text)
    assert tokenizer.encode(text).shape == (256,)


@pytest.mark.parametrize("text", NANO_LACKS)
def test_a_text_says_nothing_to_a_model_whose_vocabulary_lacks_all_of_it(tokenizer: Tokenizer, text: str) -> None:
    assert says_something(text)
    with pytest.raises(BarkError, match="there is nothing to say: the model's vocabulary lacks all words"):
        tokenizer.encode(text)


@pytest.mark.parametrize("text", SAYS_NOTHING)
def test_other_texts_say_nothing(tokenizer: Tokenizer, text: str) -> None:
    assert not says_something(text)
    with pytest.raises(BarkError, match="there is nothing to say: the text has no letter"):
        tokenizer.encode(text)


@pytest.mark.parametrize("text", EMPTY, ids=ascii)
def test_white_space_is_an_empty_text(tokenizer: Tokenizer, text: str) -> None:
    with pytest.raises(BarkError, match="the text is empty: there is nothing to say"):
        tokenizer.encode(text)


@pytest.mark.parametrize("text", [None, b"hello", 5, ["hello"]], ids=repr)
def test_a_text_is_a_string(tokenizer: Tokenizer, text: Any) -> None:
    with pytest.raises(BarkError, match="the text must be a string, not"):
        tokenizer.encode(text)


def every_call(bark: Bark, text: Any) -> list[Callable[[], object]]:
    options = GenerationOptions(max_seconds=0.2)
    return [
        lambda: bark.generate(text, options=options),
        lambda: list(bark.stream(text, options=options)),
        lambda: bark.semantic(text, options=options),
        lambda: bark.generate_batch([Request(text, options=options)]),
        lambda: list(bark.generate_long(text, options=options)),
    ]


@pytest.mark.parametrize("text", ["\u200b", " ... ", ""], ids=ascii)
def test_every_call_refuses_a_text_that_says_nothing(bark: Bark, text: str) -> None:
    for call in every_call(bark, text):
        with pytest.raises(BarkError, match="there is nothing to say"):
            call()


def test_every_call_refuses_a_text_in_a_script_that_the_model_lacks(bark: Bark) -> None:
    for call in every_call(bark, "Γειά σου, Κόσμε!"):
        with pytest.raises(BarkError, match=r"lacks all words of the text: Γειά, σου, Κόσμε \(it covers Latin\)"):
            call()


@pytest.mark.parametrize("text", [None, b"hello", 5], ids=repr)
def test_every_call_refuses_a_text_that_is_not_a_string(bark: Bark, text: Any) -> None:
    for call in every_call(bark, text):
        with pytest.raises(BarkError, match="the text must be a string"):
            call()
    with pytest.raises(BarkError, match="the script must be a string"):
        bark.generate_long(text, cast={})


def test_any_text_can_be_counted(tokenizer: Tokenizer) -> None:
    assert [tokenizer.count(text) for text in EMPTY] == [0] * len(EMPTY)
    assert tokenizer.count("...") == 3


@given(st.text(max_size=100))
def test_the_check_and_the_predicate_agree(text: str) -> None:
    try:
        require_something_to_say(text)
    except BarkError:
        assert not says_something(text)
    else:
        assert says_something(text)


@pytest.mark.parametrize("unit", ["a", ".", "[", "我", "가", "\u0301\u0323", "\u200b", '"', "[a] ", "_"], ids=ascii)
def test_counting_takes_linear_time(tokenizer: Tokenizer, unit: str) -> None:
    assert is_linear(tokenizer.count, unit)
