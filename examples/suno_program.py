"""The example of suno-ai/bark's README. Only the import of bark and the names of the voice and the files differ.

python examples/suno_program.py
"""

import soundfile

from bark_onnx.compat import SAMPLE_RATE, generate_audio, preload_models, save_as_prompt

preload_models()  # or preload_models(bundle="bundles/bark-small-int8")

text_prompt = "Hello, my name is Nano. And I like pizza."
full_generation, audio_array = generate_audio(text_prompt, history_prompt="en_male", output_full=True)
soundfile.write("bark_generation.wav", audio_array, SAMPLE_RATE)
save_as_prompt("bark_generation.npz", full_generation)
