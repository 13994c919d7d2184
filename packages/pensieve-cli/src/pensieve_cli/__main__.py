"""`python -m pensieve_cli`: the same as `pensieve-server`, for who knows the interpreter and not the script."""

import sys

from pensieve_cli.main import main

sys.exit(main())
