"""The suite of buffers that trifolium.testing exports, run on the backend of this run."""

from trifolium.testing import BufferSuite


class TestBuffer(BufferSuite):
    pass
