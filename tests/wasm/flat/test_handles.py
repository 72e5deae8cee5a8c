"""Handle tables: owning, borrowing, lending, and every way of getting it wrong."""

import pytest

from edgesim.errors import GuestMemoryError, GuestTrapError
from edgesim.wasm.flat.handles import MAX_HANDLES, HandleTable, Scope, give_back
from edgesim.wasm.flat.plan import Resource

RESOURCES = (Resource(name="fields", interface="test:t/i"), Resource(name="thing"))


@pytest.fixture
def table():
    """An empty table."""
    return HandleTable(RESOURCES)


def test_an_owned_handle_is_used_and_given_away(table):
    """What was put comes back, and the number is free again."""
    thing = object()
    number = table.put(0, thing)

    assert number == 1
    assert table.rep(number, 0) is thing
    assert table.take(number, 0) is thing
    assert table.put(1, 7) == number


@pytest.mark.parametrize("use", ["rep", "take", "drop"])
@pytest.mark.parametrize("number", [0, 1, 2, 5, 1 << 31, (1 << 32) - 1])
def test_a_number_that_is_no_handle_traps(table, use, number):
    """Zero, dropped ones, and numbers beyond the table."""
    table.drop(table.put(0, "gone"), 0)

    with pytest.raises(GuestTrapError, match="no handle"):
        getattr(table, use)(number, 0)


@pytest.mark.parametrize("use", ["rep", "take", "drop"])
def test_the_wrong_type_traps(table, use):
    """A handle of one resource is not one of another."""
    number = table.put(0, "x")

    with pytest.raises(GuestTrapError, match="as a thing handle, but it is a fields"):
        getattr(table, use)(number, 1)


def test_a_borrowed_handle_cannot_be_given_away(table):
    """Only its owner can."""
    scope = Scope()
    scope.borrows = 1
    number = table.put(0, "x", scope)

    with pytest.raises(GuestTrapError, match="only borrows"):
        table.take(number, 0)


def test_a_call_must_drop_what_it_borrowed(table):
    """Returning with a borrowed handle traps; having dropped it does not."""
    scope = Scope()
    scope.borrows = 1
    number = table.put(0, "x", scope)
    with pytest.raises(GuestTrapError, match="still held 1 borrowed"):
        scope.leave()
    table.drop(number, 0)

    scope.leave()


@pytest.mark.parametrize("use", ["take", "drop"])
def test_a_lent_handle_stays(table, use):
    """It cannot be dropped or given away until the call that it was lent to is over."""
    number, lenders = table.put(0, "x"), []
    assert table.lend(number, 0, lenders) == "x"
    with pytest.raises(GuestTrapError, match="while it was lent"):
        getattr(table, use)(number, 0)
    give_back(lenders)

    getattr(table, use)(number, 0)


def test_a_table_has_a_limit(table):
    """And dropping makes room."""
    for _ in range(MAX_HANDLES):
        table.put(0, None)
    with pytest.raises(GuestMemoryError, match=f"more than {MAX_HANDLES}"):
        table.put(0, None)
    table.drop(5, 0)

    assert table.put(0, None) == 5
