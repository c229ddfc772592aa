"""Texts in sets whose order changes, as it does from one start of Python to the next."""

import zlib


class Salted(str):
    """A text like any other, but its hash, and so its place in a set, depends on its salt."""

    def __new__(cls, text, salt=0):
        self = super().__new__(cls, text)
        self.salt = salt
        return self

    def __hash__(self):
        return zlib.crc32(f"{self.salt} {self}".encode())
