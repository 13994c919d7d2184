"""`python -m pensieve_gguf.worker FD`."""

import sys

from pensieve_gguf.worker.host import main

main(sys.argv[1:])
