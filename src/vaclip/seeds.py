"""Seeds for draws that must not depend on what was drawn before."""

from __future__ import annotations

import hashlib


def mix_seed(*parts: int) -> int:
    """Returns a seed in [0, 2**63) that depends on all parts and their order."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
