-- Only adds, so that 1.0.0 goes on beside it.
-- Orders first, as whoever takes an order locks them: the other way round, both would wait for each other.
LOCK TABLE orders IN SHARE ROW EXCLUSIVE MODE;
ALTER TABLE products ADD COLUMN origin text NOT NULL DEFAULT '';
UPDATE products SET origin = (ARRAY['Gdańsk', 'Bergen', 'Lisboa', 'Rotterdam', 'Hull'])[id] WHERE id BETWEEN 1 AND 5;
