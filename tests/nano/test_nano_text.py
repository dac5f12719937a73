"""The texts of the corpus: they depend on the seed, and leave out the sentences of the evaluation."""

from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest

from bark_onnx.model.manifest import TOKENIZER
from bark_onnx.model.place import EMBEDDED
from bark_onnx_nano.text import phrases, sentences, tokenizer, wordnet
from bark_onnx_nano.text.words import words_of

CHECKPOINT = Path(__file__).parents[2] / "export" / "bark_onnx_nano" / "bark-nano"


def test_phrases_depend_on_the_seed_and_have_only_characters_of_the_tokenizer() -> None:
    def some(seed: int) -> list[str]:
        random = Random(seed)
        return [phrases.phrase(random) for _ in range(300)]

    assert some(1) == some(1) != some(2)
    assert all(set(phrase) <= {*tokenizer.CHARACTERS, " "} for phrase in some(1) + list(phrases.EVERYDAY))
    held_out = sentences.held_out()
    assert len(held_out) == len(set(held_out)) >= 100
    assert all(4 <= len(words_of(sentence)) <= 14 for sentence in held_out)


def test_the_tokenizer_of_the_recipe_is_the_one_in_the_package(tmp_path: Path) -> None:
    """It lowers capitals, which the networks have hardly seen."""
    written = tokenizer.write(tmp_path / TOKENIZER)
    assert written.read_bytes() == (EMBEDDED / TOKENIZER).read_bytes() == (CHECKPOINT / TOKENIZER).read_bytes()
    encoder = tokenizer.encoder(written)
    assert encoder.read("ERROR: THE SERVER IS DOWN.") == encoder.read("error: the server is down.")


@pytest.mark.skipif(not wordnet.WORDNET.exists(), reason="needs the package wordnet-base")
def test_held_out_sentences_occur_in_no_training_text() -> None:
    forbidden = [" ".join(words_of(sentence)) for sentence in sentences.held_out()]
    said = "\n".join(" ".join(words_of(spoken)) for _, spoken in sentences.training_texts(3000, 5, sentences.SPOKEN))
    assert not [sentence for sentence in forbidden if sentence in said]


@pytest.mark.skipif(not wordnet.WORDNET.exists(), reason="needs the package wordnet-base")
def test_exchanged_words_teach_more_rare_words() -> None:
    """Of the words that occur only once in the examples, more occur in exchanged examples than in plain ones."""
    examples = Counter(word for sentence in wordnet.examples() for word in words_of(sentence))
    rare = [word for word in wordnet.vocabulary() if examples[word] == 1]
    shares = []
    for mixture in (sentences.Mixture(1, 0, 0, 0, 0), sentences.Mixture(0, 0, 0, 0, 0, exchanged=1)):
        said = [spoken for _, spoken in sentences.training_texts(4000, 5, mixture)]
        assert said == [spoken for _, spoken in sentences.training_texts(4000, 5, mixture)]
        words = {word for sentence in said for word in words_of(sentence)}
        shares.append(np.mean([word in words for word in rare]))
    assert shares[1] > 3 * shares[0] > 0


def test_marks_are_removed_wherever_they_were_added() -> None:
    words = "good morning to you".split()
    for mark in sentences.MARKS:
        for place in range(len(words) + 1):
            assert sentences.without_marks(" ".join([*words[:place], mark, *words[place:]])) == " ".join(words)
    assert sentences.without_marks("no [mark] here") == "no [mark] here"
