rows: rows.c ../check.h rows.h
../check.h:
rows.h:
