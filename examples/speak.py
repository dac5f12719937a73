"""Speak a sentence to a file, save its voice, and speak again with the same voice.

python examples/speak.py
"""

from bark_onnx import Bark, GenerationOptions

bark = Bark.load()  # nano; for your own bundle: Bark.load("bundles/bark-small-int8")
options = GenerationOptions(text_temperature=0.6)

speech = bark.generate("Good morning! This is the first sentence.", voice="en_female", options=options, seed=7)
speech.save("first.wav")
speech.tokens.save("my_voice.npz")
print(f"{speech.duration:.2f} s of audio, real-time factor {speech.real_time_factor:.2f}, seed {speech.seed}")

again = bark.generate("And this is the second one.", voice="my_voice.npz", options=options, seed=8)
again.save("second.flac")
