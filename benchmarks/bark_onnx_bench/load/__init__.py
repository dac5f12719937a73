"""Load on a server with OpenAI's speech API, and what its listeners notice."""
