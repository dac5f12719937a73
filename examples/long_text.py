"""Speak a dialogue of any length to one file, with subtitles. After an interruption, run it again: it continues.

python examples/long_text.py
"""

from pathlib import Path

import soundfile

from bark_onnx import Bark, Journal
from bark_onnx.subtitles.formats import to_srt

SCRIPT = """HOST: Welcome back to the show.

GUEST: Thank you for having me.
It is good to be here.
"""
CAST = {"HOST": "en_male", "GUEST": "en_female"}
JOURNAL = Path("dialogue.partial")

bark = Bark.load()
cues = []
with soundfile.SoundFile("dialogue.wav", "w", bark.sample_rate, channels=1) as file:
    for passage in bark.generate_long(SCRIPT, cast=CAST, seed=3, journal=JOURNAL):
        file.write(passage.waveform)
        cues += passage.cues
        print(f"{passage.start:6.2f} s  {passage.speaker}: {passage.text}", *passage.problems)
Path("dialogue.srt").write_text(to_srt(cues), encoding="utf-8")
Journal.remove(JOURNAL)
