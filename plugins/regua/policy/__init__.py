"""Who is contacted, how, when and why, as people write it down: policy files, and the tables SQL reads them from."""
