SELECT id, name, cents AS price_cents, origin, sold FROM products ORDER BY id
