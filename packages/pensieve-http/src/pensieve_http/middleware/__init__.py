"""What every request passes, from the outside in; `pensieve_http.app` puts them into order.

Pure ASGI, all of it: Starlette's `BaseHTTPMiddleware` doubles the cost of a stream and breaks context variables.
Those that only refuse are checks behind one `Guard`; a check is a plain function of the scope.
"""
