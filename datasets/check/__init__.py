"""Checks of a folder of images with landmarks, before a data set is prepared.

`check_folder` returns a `CheckResult` with one `Finding` for each problem: errors,
which make results wrong, and notes, which a person should look at.
"""

from scn_keras.datasets.check.check_cases import check_cases as check_cases
from scn_keras.datasets.check.check_folder import check_folder as check_folder
from scn_keras.datasets.check.check_result import CheckResult as CheckResult
from scn_keras.datasets.check.finding import Finding as Finding
from scn_keras.datasets.check.print_result import print_result as print_result
from scn_keras.datasets.check.write_page import write_page as write_page
