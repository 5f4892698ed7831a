-- Only adds, so that 1.0.0 goes on beside it.
ALTER TABLE products ADD COLUMN origin text NOT NULL DEFAULT '';
UPDATE products SET origin = (ARRAY['Gdańsk', 'Bergen', 'Lisboa', 'Rotterdam', 'Hull'])[id] WHERE id BETWEEN 1 AND 5;
