"""The rules of the memory as pure functions, which the host and compiled code share."""
