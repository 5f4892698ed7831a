INSERT INTO orders (product_id, quantity, ordered_at)
SELECT id, 1 + n % 9, now() - n * interval '1 second'
FROM generate_series(1, CAST(:rows AS integer)) AS n
JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place, count(*) OVER () AS products FROM products) AS assortment
ON place = n % products
