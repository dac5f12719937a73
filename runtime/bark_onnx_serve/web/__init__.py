"""HTTP: errors in OpenAI's form, keys, limits, request ids, disconnects."""
