"""The corpus: utterances with semantic tokens and speech, and the same utterances as codes."""
