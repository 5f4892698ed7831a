SELECT id, name, price_cents, origin,
    (SELECT coalesce(sum(quantity), 0) FROM orders WHERE product_id = products.id) AS sold
FROM products ORDER BY id
