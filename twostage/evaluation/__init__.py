"""How good is the number?"""
