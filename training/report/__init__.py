"""The report page of a run and contact sheets of data sets."""

from typing import TYPE_CHECKING

from scn_keras._lazy import lazy_names

if TYPE_CHECKING:
    from scn_keras.training.report.page import write_report as write_report

__getattr__, __dir__ = lazy_names(__name__, {"write_report": "page"})
