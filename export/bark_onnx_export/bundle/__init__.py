"""What a bundle holds beside its graphs, and how it is written: tokenizer, voices, the directory."""
