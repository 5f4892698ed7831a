-- 1.1.0, which runs while this is applied, asks for price_cents.
alter table products rename column price_cents to cents;
