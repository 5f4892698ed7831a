"""The example's database on a real PostgreSQL: what a page costs must not grow with every order."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator

import pytest
import yaml
from testinfra.host import Host

from tests.hosts.backups import sql
from tests.hosts.conftest import PROJECT

On = Callable[[str], Host]
SHOP = PROJECT / "examples" / "shop"
OLD, NEW = SHOP / "shop" / "sql", SHOP / "versions" / "1.1.0" / "shop" / "sql"
FIRST = (SHOP / "db" / "001_shop.up.sql").read_text(encoding="utf-8")
ADDS = (SHOP / "versions" / "1.1.0" / "db" / "002_origin_and_sold.up.sql").read_text(encoding="utf-8")
BACK = (SHOP / "versions" / "1.1.0" / "db" / "002_origin_and_sold.down.sql").read_text(encoding="utf-8")
NAME = "shop_orders"
ORDERS = 100_000
FEW = 20  # blocks of 8 KB; all orders have some 600


@pytest.fixture(scope="module")
def database(on: On) -> Iterator[Callable[[str], str]]:
    """A database of 1.0.0 that has taken many orders."""
    on("db1").check_output("systemctl start postgresql@15-main")
    sql(on, f"drop database if exists {NAME}")
    sql(on, f"create database {NAME}")

    def ask(statement: str) -> str:
        return sql(on, statement, NAME)

    ask(FIRST)
    ask(f"insert into orders (product_id, quantity) select 1 + i % 5, 1 + i % 9 from generate_series(1, {ORDERS}) i")  # noqa: S608
    ask("vacuum analyze")
    yield ask
    sql(on, f"drop database {NAME} with (force)")


def order(product: int, quantity: int) -> str:
    """1.0.0's own statement; 1.1.0 has it from there."""
    text = (OLD / "order.sql").read_text(encoding="utf-8")
    return text.replace(":quantity", str(quantity)).replace(":product", str(product))


def test_a_page_reads_a_few_blocks_however_many_orders_there_are(database: Callable[[str], str]) -> None:
    """After 30,000 orders three hosts drowned at 80 requests a second, and a bench measured PostgreSQL."""
    going = threading.Event()
    failed: list[str] = []

    def take_orders() -> None:
        try:
            while not going.is_set():
                database(order(2, 3))
        except AssertionError as error:
            failed.append(str(error))

    users = [threading.Thread(target=take_orders) for _ in range(2)]
    for user in users:
        user.start()
    try:
        database(f"begin; {ADDS}; commit")
    finally:
        going.set()
        for user in users:
            user.join()
    assert not failed, "an order of 1.0.0 failed beside the migration"
    database(order(4, 7) + ";" + order(5, 1))
    counted = "select sum(quantity) from orders where product_id = products.id"
    wrong = database(f"select id, sold, ({counted}) from products where sold <> ({counted})")  # noqa: S608
    assert wrong == "", "orders were counted twice, or not at all"
    page = (NEW / "products.sql").read_text(encoding="utf-8")
    (plan,) = json.loads(database(f"explain (analyze, buffers, format json) {page}"))
    read = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    assert read <= FEW, plan
    assert "orders" not in json.dumps(plan)


def test_migrations_are_harmless_where_an_older_shop_made_the_tables_and_are_taken_back(
    database: Callable[[str], str],
) -> None:
    """Shops from before there were migrations have all of it already."""
    everything = "select md5(string_agg(p::text, ',' order by id)) from products p"
    columns = "select string_agg(attname, ',' order by attnum) from pg_attribute where attrelid = 'products'::regclass"
    before = database(everything), database("select count(*) from orders")
    database(f"begin; {FIRST}; {ADDS}; commit")
    assert before == (database(everything), database("select count(*) from orders"))
    database(f"begin; {BACK}; commit")
    assert "sold" not in database(f"{columns} and attnum > 0 and not attisdropped")
    database(order(2, 3))
    database(f"begin; {ADDS}; commit")
    assert (
        database("select sold = (select sum(quantity) from orders where product_id = 2) from products where id = 2")
        == "t"
    )
    taken_out = f"delete from orders; delete from products where id = 5; {FIRST}; select count(*) from products"  # noqa: S608
    assert database(f"begin; {taken_out}; rollback") == "4", "what the owner has taken out comes back"


def test_the_stated_checks_of_a_backup_fit_the_tables(database: Callable[[str], str]) -> None:
    """A check with a column that is not there fails each drill of whoever begins with the example's settings."""
    text = (PROJECT / "inventory/production/group_vars/all/settings.yml").read_text(encoding="utf-8")
    (shop,) = yaml.safe_load(text)["slipway_databases"]
    for check in shop["checks"]:
        assert database(check) == "t", check
