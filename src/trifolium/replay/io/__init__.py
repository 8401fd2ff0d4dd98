"""Import and export of a buffer's rows."""
