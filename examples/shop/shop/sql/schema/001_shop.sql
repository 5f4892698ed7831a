CREATE TABLE products (
    id integer PRIMARY KEY,
    name text NOT NULL,
    price_cents integer NOT NULL CHECK (price_cents >= 0)
);
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product_id integer NOT NULL REFERENCES products (id),
    quantity integer NOT NULL CHECK (quantity BETWEEN 1 AND 99),
    ordered_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX orders_by_product ON orders (product_id);
INSERT INTO products (id, name, price_cents) VALUES
    (1, 'Keel bolt', 1290),
    (2, 'Mooring line, 20 m', 3450),
    (3, 'Brass lantern', 8900),
    (4, 'Signal flag set', 5600),
    (5, 'Deck brush', 1150);
