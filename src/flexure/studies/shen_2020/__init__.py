"""Shen, Chen & Wang 2020: weights go to the ends of their intervals, which is to make networks more robust."""
