"""`python -m pensieve_gguf.worker FD`."""

import sys

import pensieve_gguf.llama  # noqa: F401 - first: see there
from pensieve_gguf.worker.host import main

main(sys.argv[1:])
