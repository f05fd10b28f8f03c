"""How good a model's answers are: win rates with intervals, constraints, lengths and faults.

Who judges is in `rankers`; what people see of it is in `report`; the numbers that other nouns need too are
in `measures`.
"""
