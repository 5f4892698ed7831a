SELECT id, name, price_cents, sold FROM products ORDER BY id
