"""One test for each rule: the test's docstring is the rule."""
