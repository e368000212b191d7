from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.example.conftest import EXAMPLE, Example

# The example has a database of its own, whichever the others run on.
pytestmark = pytest.mark.only_on("sqlite")

READ = """
import json, sys
import django
django.setup()
from catalogue.feed import Problem, read_feed
rows = [
    [row.line, row.reason, row.content] if isinstance(row, Problem) else row
    for row in read_feed(sys.stdin)
]
print(json.dumps(rows, default=str))
"""

GOOD = 'A-1,"Kettle, copper",19.95,EUR,4'
BAD = {
    "A-2,Kettle,,EUR,4": "price: This field is required.",
    "A-3,Kettle,twelve,EUR,4": "price: Enter a number.",
    "A-4,Kettle,NaN,EUR,4": "price: Enter a number.",
    "A-5,Kettle,-1,EUR,4": "price: Ensure this value is greater than or equal to 0.",
    "A-6,Kettle,1.234,EUR,4": "price: Ensure that there are no more than 2 decimal places.",
    "A-7,Kettle,12345678.00,EUR,4": "price: Ensure that there are no more than 9 digits in total.",
    "A-8,Kettle,1.00,EURO,4": "currency: Select a valid choice.",
    "A-9,Kettle,1.00,EUR,-4": "stock: Ensure this value is greater than or equal to 0.",
    "A-10,Kettle,1.00,EUR,many": "stock: Enter a whole number.",
    "A-11,,1.00,EUR,4": "name: This field is required.",
    ",Kettle,1.00,EUR,4": "sku: This field is required.",
    "A-1,Kettle,1.00,EUR,4": "SKU A-1 is already used further up",
    "A-12,Kettle,1.00": "3 columns instead of 5",
    "A-13,Kettle,1.00,EUR,4,extra": "6 columns instead of 5",
    "A-14,Ket\0tle,1.00,EUR,4": "name: Null characters are not allowed.",
}


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> list:
    """What the feed of one good line and all the bad ones is read as."""
    text = "\n".join(["sku,name,price,currency,stock", GOOD, *BAD, "", "B-1,Pot,5,EUR,0"])
    example = Example(tmp_path_factory.mktemp("feed"))
    done = subprocess.run(
        [sys.executable, "-c", READ], input=text, env=example.env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_good_line_is_a_product(read: list) -> None:
    assert read[0] == {
        "sku": "A-1", "name": "Kettle, copper", "price": "19.95", "currency": "EUR", "stock": 4,
    }  # fmt: skip


@pytest.mark.parametrize(("number", "reason"), list(enumerate(BAD.values(), start=1)))
def test_a_bad_line_is_reported_with_its_number_and_reason(
    read: list, number: int, reason: str
) -> None:
    line, said, _ = read[number]

    assert line == number + 2
    assert said.startswith(reason)


def test_what_a_bad_line_holds_can_be_stored_anywhere(read: list) -> None:
    assert all("\0" not in content for _, _, content in read[1 : len(BAD) + 1])


def test_reading_goes_on_after_the_bad_lines(read: list) -> None:
    assert read[-1]["sku"] == "B-1"


@pytest.mark.parametrize(
    "path", sorted((EXAMPLE / "catalogue/data").glob("*.csv")), ids=lambda path: path.stem
)
def test_a_shipped_feed_is_a_table_in_utf_8(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("sku,name,price,currency,stock\n")
