"""Documents that a request brings in a form that no model reads: PDFs become text before the request is translated.

Above: the intake. Below: pypdf, in a process of its own that may be ended at any time; `pensieve_protocol` knows where
documents stand in a request.
"""

from pensieve_http.documents._documents import Documents, PdfTexts, UnreadablePdfError
from pensieve_http.documents._pdf_process import PdfProcess, pdf_process

__all__ = ["Documents", "PdfProcess", "PdfTexts", "UnreadablePdfError", "pdf_process"]
