"""The conformance manifest, what is made from it, and the server that its tests talk to.

    _requirements     every behaviour of the Messages API, as data
    markers           which tests name which record
    report            docs/divergences.md and the README's table
    scripted_server   the real server over an engine that plays scripts, and a client that checks what it gets

On the path of pytest and mypy (`pyproject.toml`), so that the tests of this folder can share it.
"""

from conformance._requirements import NOT_BUILT, REQUIREMENTS, Requirement

__all__ = ["NOT_BUILT", "REQUIREMENTS", "Requirement"]
