SELECT product_id FROM stock LIMIT 1
