"""What :class:`trifolium.Buffer` keeps on the host: rows, cursors, samplers."""
