"""Files with a text in them: which format they have, and the words to speak."""
