alter table products add column origin text not null default '';
update products set origin = (array['Gdańsk', 'Bergen', 'Lisboa', 'Rotterdam', 'Hull'])[id] where id between 1 and 5;
