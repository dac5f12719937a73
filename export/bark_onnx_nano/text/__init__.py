"""Text: the sentences that the synthesizer speaks, and the tokenizer."""
