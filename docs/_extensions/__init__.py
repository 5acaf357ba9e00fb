"""Extensions of Sphinx that build pages from the code; see `conf.py`."""
