-- It looks like a way back. But "Mooring line, 20 m" becomes "Mooring Line, 20 M".
update products set name = initcap(name);
