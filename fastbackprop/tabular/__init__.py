"""From files and frames to columns of numbers, categories and dates; :mod:`fastbackprop.tables` puts them together."""
