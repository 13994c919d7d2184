"""Claude Code beside the server: the launcher, its status line, and the doctor.

`launch` decides and `status_line` words; both are pure, and need no library. `launcher` and `doctor` are the shells.
"""
