"""What a night costs, beside the least it could cost: `make bench N=1000000`. Not part of the package."""
