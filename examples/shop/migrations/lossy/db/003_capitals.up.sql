update products set name = upper(name);
