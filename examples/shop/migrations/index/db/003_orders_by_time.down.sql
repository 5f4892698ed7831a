-- slipway: no-transaction
drop index concurrently if exists orders_by_time;
