"""Models from the terminal: find, show, load, measure, talk to, rename and remove them.

    commands     what can be asked for (values), and the words for it
    doing        from such a value to an exit code
    …_report     what is printed: values and their text, pure
    the rest     finds out, and acts

Everything that `--json` prints is an attrs class of a `…_report` module; keys may be added, never changed. The tests
hold each against its JSON schema.
"""
