"""What a model is: manifest and hashes, sizes, token space, tokenizer, voices."""
