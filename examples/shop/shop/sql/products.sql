SELECT id, name, price_cents FROM products ORDER BY id
