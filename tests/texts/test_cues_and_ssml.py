"""Subtitles and SSML: the words without numbers, times and tags."""

import pytest

from bark_onnx.subtitles.formats import Cue, to_srt
from bark_onnx.texts.cues import read_cues
from bark_onnx.texts.ssml import read_ssml

TIMES = "00:00:01,000 --> 00:00:02,000"


@pytest.mark.parametrize(
    ("subtitles", "text"),
    [
        (f"1\n{TIMES}\nHello\n\n2\n00:00:02,500 --> 00:00:03,000\nthere.\n", "Hello\nthere."),
        (f"1\n{TIMES}\nHello.\n\n2\n00:00:04,000 --> 00:00:05,000\nLater.", "Hello.\n\nLater."),
        (f"1\n{TIMES} X1:10 Y1:20\n<i>Hi</i> {{\\an8}}<font color='x'>you</font>", "Hi you"),
        (f"1\n{TIMES}\n- Hi.\n- You!\n–No\n-5 degrees", "Hi.\nYou!\nNo\n5 degrees"),
        (f"1\n{TIMES}\n42\n\n2\n{TIMES}\n1984\n\n3\n{TIMES}\nThree", "42\n1984\nThree"),
        (f"1\n{TIMES}\nA\n2\n{TIMES}\nB", "A\nB"),  # no blank line between them
        (f"1\n{TIMES}\nA\n\nB\n", "A\n\nB".replace("\n\n", "\n")),  # a blank line inside
        (f"{TIMES}\nno number &amp; a\\Nline", "no number & a line"),
        (f"1\n{TIMES}\n♪ la ♪ [laughs] (sighs)", "♪ la ♪ [laughs] (sighs)"),
        ("WEBVTT - x\nKind: captions\n\nNOTE a\nb\n\nSTYLE\n::cue {}\n\nintro\n00:01.000 --> 00:02.000 align:start\n"
         "<v Bob>Hi <00:00:01.500><c.red>you</c>", "Hi you"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\none\n\n00:02.000 --> 00:03.000\none\ntwo\n", "one\ntwo"),
        ("WEBVTT\n\n01:00:00.000 --> 01:00:01.000\nNOTE is a word here\n", "NOTE is a word here"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_words_of_subtitles(subtitles: str, text: str) -> None:
    assert read_cues(subtitles).text == text


def test_our_own_subtitles_are_read_back() -> None:
    cues = [Cue(0, 1, "Hello there."), Cue(1.2, 2, "1 2 3"), Cue(9, 10, "The end.")]
    assert read_cues(to_srt(cues)).text == "Hello there.\n1 2 3\n\nThe end."


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("<speak>Hello &amp; <emphasis>you</emphasis></speak>", "Hello & you"),
        ("<speak><p><s>One.</s> <s>Two.</s></p><p>Three</p></speak>", "One. Two.\n\nThree"),
        ("a<break time='500ms'/>b<break time=\"2s\"/>c<break strength='strong'/>d", "a\n\nb\n\nc\n\nd"),
        ("a<break time='0.2s'/>b<break/>c<break time='soon'/>d<break time='.'/>e", "a b c d e"),
        ("a<break strength='weak'/>b", "a b"),
        ("<sub alias='World Wide Web'>WWW</sub> <sub>x</sub> <sub alias='open'> y", "World Wide Web x open y"),
        ("<say-as interpret-as='date'>2020</say-as> <phoneme ph='x'>tomato</phoneme>", "2020 tomato"),
        ("<audio src='x'><desc>no</desc>instead</audio><metadata>no</metadata><!-- no -->", "instead"),
        ("<![CDATA[a < b]]> &lt; c", "a < b < c"),
        ("<?xml version='1.0'?><ssml:speak xmlns:ssml='x'><ssml:p>a</ssml:p>b</ssml:speak>", "a\n\nb"),
    ],
)  # fmt: skip
def test_the_words_of_ssml(document: str, text: str) -> None:
    assert read_ssml(document).text.replace("  ", " ") == text


def test_breaks_that_are_left_out_are_counted() -> None:
    assert read_ssml("a<break/>b<break time='1s'/>").left_out["short breaks"] == 1
