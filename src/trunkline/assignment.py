"""Which arm a unit is on: a hash decides, so no state is kept and every gateway says the same.

A unit's position is u = (XXH64(first 8 bytes of SHA-256(unit), seed of the salt) mod 2^53) / 2^53, in [0, 1),
and the unit is on the canary exactly if u < weight: the ramp is nested, and who is in stays in. XXH64 with a
seed is published (the xxHash fast digest algorithm) and built into proxies such as HAProxy.

A placebo canary is what another salt would have chosen. Its seed comes from a salt by the very function that
gives the real seed, so before the rollout every one of the salts could as well have been the real one: if the
version changes nothing, the real arm is exchangeable with the placebos whatever the units and outcomes are,
and however well or badly XXH64 mixes. This asks for a real salt that is drawn at random for each rollout,
and is known to nobody who can choose unit ids.
"""

import hashlib
from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Arm = Literal["stable", "canary"]
Words = NDArray[np.uint64]
Flags = NDArray[np.bool_]

POSITIONS = 2**53  # every one is a float
# Positions that are computed at once: few enough to stay in a core's cache, which is ten times as fast as memory.
_BLOCK = 16_384
_PRIME_1, _PRIME_2, _PRIME_3, _PRIME_4, _PRIME_5 = (
    np.uint64(prime)
    for prime in (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
)


def seed_of(salt: str) -> int:
    """The seed of a salt: 63 bits, as a proxy's configuration takes a signed integer."""
    return _word(salt) & (2**63 - 1)


def digest_of(unit: str) -> int:
    """What is hashed of a unit, whatever the salt: 64 bits."""
    return _word(unit)


def position(salt: str, unit: str) -> float:
    """Where a unit stands in [0, 1)."""
    return float(positions(salt, digests_of([unit]))[0])


def positions(salt: str, digests: Words) -> NDArray[np.float64]:
    """(n,) where units stand, from `digests_of`."""
    places: NDArray[np.float64] = _places(seeds_of([salt]), _scrambled(digests))[0] / POSITIONS
    return places


def arm_of(salt: str, unit: str, weight: float) -> Arm:
    """The arm that answers a unit's requests.

    Args:
        salt: of the rollout.
        unit: what is randomised, such as a conversation's id.
        weight: share of the units on the canary now, 0 to 1.
    """
    return "canary" if position(salt, unit) < weight else "stable"


def placebo_salts(salt: str, count: int) -> list[str]:
    """Salts of canaries that were not deployed, fixed by the real one: nobody chooses them after the fact."""
    return [f"{salt}/placebo/{number}" for number in range(1, count + 1)]


def seeds_of(salts: Iterable[str]) -> Words:
    """(m,) the seeds of several salts."""
    return np.array([seed_of(salt) for salt in salts], dtype=np.uint64)


def digests_of(units: Iterable[str]) -> Words:
    """(n,) what is hashed of several units; each different one is hashed once."""
    known: dict[str, int] = {}
    return np.array([known.get(unit) or known.setdefault(unit, digest_of(unit)) for unit in units], dtype=np.uint64)


def canaries(seeds: Words, digests: Words, weights: NDArray[np.float64]) -> Flags:
    """Who is on the canary under each salt; row by row what `arm_of` says.

    Args:
        seeds: (m,) from `seeds_of`.
        digests: (n,) from `digests_of`.
        weights: (n,) the weight when each was assigned.

    Returns:
        (m, n).
    """
    # For whole numbers h: h / 2^53 < weight exactly if h < ceil(weight * 2^53), and scaling by 2^53 is exact.
    limits = np.ceil(weights * POSITIONS).astype(np.uint64)
    scrambled = _scrambled(digests)
    flags: Flags = np.empty((seeds.size, digests.size), dtype=np.bool_)
    rows = max(1, _BLOCK // max(1, digests.size))
    for first in range(0, seeds.size, rows):
        block = slice(first, first + rows)
        flags[block] = _places(seeds[block], scrambled) < limits
    return flags


def _word(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def _places(seeds: Words, scrambled: Words) -> Words:
    """(m, n) positions in units of 2^-53."""
    return _xxh64(scrambled, seeds[:, None]) & np.uint64(POSITIONS - 1)


def _scrambled(digests: Words) -> Words:
    """The part of XXH64 of 8 bytes that does not depend on the seed; arithmetic on words is modulo 2^64."""
    return _rotated(digests * _PRIME_2, 31) * _PRIME_1


def _xxh64(scrambled: Words, seeds: Words) -> Words:
    """XXH64 of 8 bytes."""
    mixed = (seeds + (_PRIME_5 + np.uint64(8))) ^ scrambled
    mixed = _rotated(mixed, 27) * _PRIME_1 + _PRIME_4
    mixed = (mixed ^ (mixed >> np.uint64(33))) * _PRIME_2
    mixed = (mixed ^ (mixed >> np.uint64(29))) * _PRIME_3
    return mixed ^ (mixed >> np.uint64(32))


def _rotated(words: Words, bits: int) -> Words:
    return (words << np.uint64(bits)) | (words >> np.uint64(64 - bits))
