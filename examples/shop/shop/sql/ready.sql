SELECT id FROM products LIMIT 1
