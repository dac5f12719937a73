"""The Wyoming protocol, with which Home Assistant asks for speech. Read connection.py first, then answer.py."""
