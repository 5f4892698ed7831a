SELECT id, name, price_cents, origin, sold FROM products ORDER BY id
