"""Which side of the split a customer is on: decided by a hash, so it never changes as data grow."""

import hashlib

_BITS = 64


def in_holdout(customer: str, salt: str, share: float) -> bool:
    """Whether a customer belongs to the holdout.

    A customer once held out stays held out for the same salt and any larger share, so a release
    was never trained on a customer that a later holdout contains.

    Args:
        customer: the customer's id.
        salt: fixed for the life of the project.
        share: expected share of customers in the holdout, 0 to 1.
    """
    digest = hashlib.sha256(f"{salt}\0{customer}".encode()).digest()
    position: float = int.from_bytes(digest[: _BITS // 8], "big") / 2**_BITS
    return position < share
