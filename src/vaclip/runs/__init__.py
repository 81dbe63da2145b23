"""One arm: prepared, trained, tested, its folder, prediction."""
