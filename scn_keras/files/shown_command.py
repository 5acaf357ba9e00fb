import shlex


def shown_command(*words: object) -> str:
    """Returns a command of this package for a message, which can be pasted in a shell.

    Args:
        *words: Objects, the words after `scn-keras`. Those with spaces and other signs
            of the shell are quoted.

    Example:

    >>> shown_command("evaluate", "runs/my knees")
    "`scn-keras evaluate 'runs/my knees'`"
    """
    return f"`scn-keras {shlex.join(map(str, words))}`"
