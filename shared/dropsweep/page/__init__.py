"""A job's report: one HTML file that needs no network, no server and no script to be whole."""

from dropsweep.page.data import Curve, Goal, JsonValue, ReportData, TrialRow, flatten
from dropsweep.page.html import render

__all__ = ["Curve", "Goal", "JsonValue", "ReportData", "TrialRow", "flatten", "render"]
