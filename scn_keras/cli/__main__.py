"""Runs the command line as `python -m scn_keras.cli`."""

from scn_keras.cli import main

if __name__ == "__main__":
    main()
