"""The group of Ed25519 with nothing but integers (RFC 8032 section 5.1), for making forgeries."""

from hashlib import sha512

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)

Point = tuple[int, int]
ZERO: Point = (0, 1)


def add(a: Point, b: Point) -> Point:
    (x1, y1), (x2, y2) = a, b
    t = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + t, -1, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - t, -1, P) % P
    return x, y


def times(n: int, a: Point) -> Point:
    result = ZERO
    while n:
        if n & 1:
            result = add(result, a)
        a = add(a, a)
        n >>= 1
    return result


def point(y: int, *, odd: bool) -> Point | None:
    """The point of this y whose x is odd, or even; None where the curve has none."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - square) % P or (x == 0 and odd):
        return None
    return (x if x % 2 == odd else P - x), y


_BASE = point(4 * pow(5, -1, P) % P, odd=False)
assert _BASE is not None
BASE = _BASE


def encode(a: Point) -> bytes:
    return encode_as(a[1], odd=bool(a[0] & 1))


def encode_as(y: int, *, odd: bool) -> bytes:
    """Any y below 2²⁵⁵ with any sign: also what is not canonical."""
    return (y | odd << 255).to_bytes(32, "little")


def challenge(r: bytes, public: bytes, message: bytes) -> int:
    return int.from_bytes(sha512(r + public + message).digest(), "little") % L


def low_order_points() -> list[Point]:
    """The eight points whose order divides 8: L times any point lies among them, and some point
    of the curve leads to one of order 8, which gives all."""
    for y in range(2, 100):
        found = point(y, odd=False)
        if found is not None:
            generator = times(L, found)
            if times(4, generator) != ZERO:
                return [times(n, generator) for n in range(8)]
    raise AssertionError
