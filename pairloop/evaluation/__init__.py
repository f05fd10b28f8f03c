"""How good a model's answers are: win rates with intervals, constraints, refusals, lengths and faults.

Who judges is in `rankers`; what people see of it is in `report`.
"""
