"""What a caller can do something about, as one line: what is wrong, where, and what to do next."""


class BarkError(Exception):
    """An error that a user can cause. Its text is one line; the command line prints it as it is."""


class BundleError(BarkError):
    """A bundle that cannot be read: missing, incomplete, changed, or of another format revision."""


class VoiceError(BarkError):
    """A voice preset that cannot be found, read, or used with this model."""


class DeviceError(BarkError):
    """An execution provider that was asked for and cannot be had."""


class BarkWarning(UserWarning):
    """Something that works, but not as the caller may expect: text that is cut, a voice whose lengths do not fit."""
