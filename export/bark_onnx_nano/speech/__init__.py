"""Speech: the synthesizer that is the teacher, and log-mel frames."""
