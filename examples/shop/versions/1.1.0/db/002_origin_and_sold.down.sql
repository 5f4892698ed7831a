lock table orders in share row exclusive mode;
drop trigger count_sold on orders;
drop function count_sold();
alter table products drop column sold, drop column origin;
