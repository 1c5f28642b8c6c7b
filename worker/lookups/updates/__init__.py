"""Updaters of look-up files: public spam lists (also from within a worker) and geo databases (`hitline geo`)."""
