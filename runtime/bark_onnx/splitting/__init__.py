"""Where a text is split: passages that one utterance can say, lines of a script, text that comes piece by piece."""
