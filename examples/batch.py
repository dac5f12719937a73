"""Speak several texts together, each with its own voice, seed and options.

python examples/batch.py
"""

from bark_onnx import Bark, BatchError, GenerationOptions, Request

bark = Bark.load()
lively = GenerationOptions(text_temperature=0.9)
requests = [
    Request("Good morning.", voice="en_female", seed=1),
    Request("Good morning to you!", voice="en_male", seed=2, options=lively),
    Request("How are you?", voice="en_female", seed=3),
]
try:
    speeches = bark.generate_batch(requests, slots=8)
except BatchError as error:  # some failed; the others are in error.speeches
    raise SystemExit(str(error)) from None
for number, (request, speech) in enumerate(zip(requests, speeches, strict=True), 1):
    speech.save(f"{number}.wav")
    print(f"{number}.wav: {request.text} ({speech.duration:.2f} s)")
