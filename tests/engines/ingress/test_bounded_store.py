"""What is kept has bounds: in bytes and in age."""

from mulo_sd.engines.ingress.bounded_store import BoundedStore


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_oldest_goes_first() -> None:
    store = BoundedStore[str, int](10, 60)
    assert [store.put(name, number, 4) for number, name in enumerate("abc")] == [True] * 3
    assert (store.get("a"), store.get("b"), store.get("c")) == (None, 1, 2)
    assert (len(store), store.size_bytes) == (2, 8)


def test_what_is_too_large_is_not_kept() -> None:
    store = BoundedStore[str, int](10, 60)
    store.put("a", 1, 4)
    assert not store.put("a", 2, 11)
    assert store.get("a") is None
    assert store.size_bytes == 0


def test_what_is_too_old_is_not_kept() -> None:
    clock = Clock()
    store = BoundedStore[str, int](10, 60, clock)
    store.put("a", 1, 4)
    clock.now = 30
    store.put("b", 2, 4)
    assert store.get("a") == 1
    clock.now = 60
    assert (store.get("a"), store.get("b"), store.size_bytes) == (None, 2, 4)


def test_a_key_is_kept_once() -> None:
    store = BoundedStore[str, int](10, 60)
    for number in range(5):
        store.put("a", number, 6)
    assert (store.get("a"), len(store), store.size_bytes) == (4, 1, 6)
