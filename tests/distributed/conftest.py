"""Tests that start Ray are collected in a network of loopback alone: ``nox -s distributed``."""

from tests.loopback import is_inside

collect_ignore = (
    []
    if is_inside()
    else ["test_ray.py", "test_ray_driver.py", "test_ray_examples.py", "test_ray_nodes.py"]
)
