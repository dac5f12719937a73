"""`bark-onnx serve`: OpenAI's speech API over HTTP, on one engine for all requests.

Read service.py first, then speech/answer.py. The package imports the runtime, never the reverse.
"""
