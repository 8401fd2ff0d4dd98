"""A person whose keys are known beforehand."""

import io

import trifolium as tri


def person(typed, backend="numpy", input_size=4, action_space=3, **options):
    streams = {"input": io.StringIO(typed), "output": io.StringIO()}
    return tri.HumanModel(input_size, action_space, 100, backend=backend, **streams | options)


def said(model):
    return model._output.getvalue()
