"""What a precision costs."""
