-- How often a product was sold, beside the product: a page that adds up all orders gets slower with every one of them.
-- Only adds: orders that 1.0.0 takes meanwhile are counted by the trigger too. Orders first, as in 002.
LOCK TABLE orders IN SHARE ROW EXCLUSIVE MODE;
ALTER TABLE products ADD COLUMN sold bigint NOT NULL DEFAULT 0;
CREATE FUNCTION count_sold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE products SET sold = sold + ordered.quantity
    FROM (SELECT product_id, sum(quantity) AS quantity FROM added GROUP BY product_id) AS ordered
    WHERE products.id = ordered.product_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_sold AFTER INSERT ON orders REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION count_sold();
UPDATE products SET sold = before.quantity
FROM (SELECT product_id, sum(quantity) AS quantity FROM orders GROUP BY product_id) AS before
WHERE products.id = before.product_id;
