"""Texts whose order in sets changes, as it does from one start of Python to the next."""

import zlib


class Salted(str):
    """A str whose hash, and so its place in a set, depends on its salt."""

    def __new__(cls, text, salt=0):
        self = super().__new__(cls, text)
        self.salt = salt
        return self

    def __hash__(self):
        return zlib.crc32(f"{self.salt} {self}".encode())
