"""A page about a run: one HTML file that needs nothing else."""

from trifolium.experiment.report.page import write_report

__all__ = ["write_report"]
