"""Errors of TensorFlow graphs as sentences."""

import re

import tensorflow as tf


def sentence_of(error: tf.errors.OpError | str) -> str:
    """Returns an error without nodes, source files and the frames of Python.

    Args:
        error: `tf.errors.OpError`, or its message.

    Example:

    >>> sentence_of("Graph execution error:\\n\\nassertion failed: [Too large:] [7]")
    'Too large: 7'
    """
    message = error if isinstance(error, str) else error.message
    assertion = re.search(r"assertion failed: (.*?)(?:\n\s*\[\[|$)", message, re.DOTALL)
    if assertion:
        # Of a list of tensors, each has its own brackets.
        return re.sub(r"\]\s*\[", " ", assertion[1].strip())[1:-1].strip()
    eager = re.search(r"Summarized data: (.*)", message, re.DOTALL)
    if eager:
        return re.sub(r"b'(.*?)'\n?", r"\1 ", eager[1]).strip()
    message = re.sub(r"\{\{.*?\}\}\s*", "", message)
    message = re.sub(r"\s*\[\[.*|\s*\[Op:.*", "", message, flags=re.DOTALL)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    # The frames of a model that was built in this process precede the reason.
    return lines[-1][:500] if lines else ""
