"""What leaves the warehouse: the serving generation that BI reads."""
