-- A column is added at once. But the transaction keeps its lock to the end, while every row is written anew.
alter table orders add column total_cents bigint;
update orders set total_cents = orders.quantity * price_cents from products where products.id = product_id;
