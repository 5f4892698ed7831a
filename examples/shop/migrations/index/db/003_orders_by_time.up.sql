-- slipway: no-transaction
-- Without "concurrently" no order could be taken until the index is whole.
create index concurrently if not exists orders_by_time on orders (ordered_at);
