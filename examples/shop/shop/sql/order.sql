INSERT INTO orders (product_id, quantity)
SELECT id, :quantity FROM products WHERE id = :product
RETURNING id, product_id, quantity
