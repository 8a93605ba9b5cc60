"""Files that are given by mistake where a manifest or a file of rows is expected. Pure."""

from __future__ import annotations

_SAVE_AS_CSV = "save it as CSV (in Excel: File, Save As, CSV UTF-8)"
_ZIP = b"PK\x03\x04"
_ZIPPED = (
    # Parts of an archive, in the names of its files.
    (b"xl/", f"is an Excel workbook: {_SAVE_AS_CSV}"),
    (b"Index/", "is a Numbers document: save it as CSV (in Numbers: File, Export To, CSV)"),
    (b"opendocument.spreadsheet", "is an OpenDocument spreadsheet: save it as CSV (in Calc: File, Save As, Text CSV)"),
    (b"word/", "is a Word document: save the table as CSV"),
)
_BINARY = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", f"is an old Excel workbook, or another Office file: {_SAVE_AS_CSV}"),
    (b"\x1f\x8b", "is compressed: unpack it"),
    (b"%PDF-", "is a PDF: save the table as CSV"),
    (b"{\\rtf", "is a text document (RTF): save it as plain text"),
)
_MARKUP = (b"<!doctype", b"<html", b"<head", b"<body", b"<meta", b"<table", b"<?xml")
_HEAD_BYTES = 4096


def foreign_format(data: bytes) -> str:
    """Return what a file is that is no text of rows or of a manifest, with what to do; '' if nothing is known."""
    if data.startswith(_ZIP):
        # The names of the files in an archive are at its end, too.
        names = data[:_HEAD_BYTES] + data[-16 * _HEAD_BYTES :]
        return next((message for part, message in _ZIPPED if part in names), "is a ZIP archive: unpack it")
    if message := next((message for start, message in _BINARY if data.startswith(start)), ""):
        return message
    text = data[:_HEAD_BYTES].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").lower()
    if text.startswith(_MARKUP):
        return "is a web page or XML, perhaps the page of a sign-in: download the file again, or save it as CSV"
    return ""
