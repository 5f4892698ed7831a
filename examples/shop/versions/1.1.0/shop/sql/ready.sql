SELECT products.id, name, price_cents, origin, sold, orders.id, product_id, quantity
FROM products LEFT JOIN orders ON false LIMIT 1
