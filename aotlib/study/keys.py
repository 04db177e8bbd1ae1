r"""What follows from the secret of a plan, and can be computed by nobody who has it not: names and random draws.

A seed is no secret: whoever guesses it could compute the names of all pictures, and from a page who made which.

Taught in notebook 09.
"""

import hashlib
import hmac
import json

import numpy as np


def digest(secret: str, *about: str | int) -> bytes:
    r"""32 bytes: the HMAC of `about` with SHA-256, keyed by `secret` (RFC 2104).

    Taught in notebook 09.
    """
    return hmac.digest(secret.encode(), json.dumps(about).encode(), hashlib.sha256)


def name(secret: str, *about: str | int) -> str:
    r"""16 hexadecimal digits that stand for `about`.

    >>> name("a", "truth", "image 1") == name("a", "truth", "image 1") != name("b", "truth", "image 1")
    True

    Taught in notebook 09.
    """
    return digest(secret, *about).hex()[:16]


def generator(secret: str, *about: str | int) -> np.random.Generator:
    r"""Random numbers that are the same for the same secret and `about`.

    Taught in notebook 09.
    """
    return np.random.default_rng(int.from_bytes(digest(secret, *about)))
