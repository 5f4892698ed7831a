-- slipway: irreversible
-- A shop from before there were migrations made these tables by itself: on its database this changes nothing.
create table if not exists products (
    id integer primary key,
    name text not null,
    price_cents integer not null check (price_cents >= 0)
);
create table if not exists orders (
    id bigint generated always as identity primary key,
    product_id integer not null references products (id),
    quantity integer not null check (quantity between 1 and 99),
    ordered_at timestamptz not null default now()
);
create index if not exists orders_by_product on orders (product_id);
insert into products (id, name, price_cents)
select * from (values
    (1, 'Keel bolt', 1290),
    (2, 'Mooring line, 20 m', 3450),
    (3, 'Brass lantern', 8900),
    (4, 'Signal flag set', 5600),
    (5, 'Deck brush', 1150)
) as assortment where not exists (select from products);
