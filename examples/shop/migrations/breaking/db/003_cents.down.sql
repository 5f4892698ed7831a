alter table products rename column cents to price_cents;
