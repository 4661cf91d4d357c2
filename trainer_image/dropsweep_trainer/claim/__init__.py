"""Holding a trial: for as long as nobody else has it, and nobody asks for its end.

heartbeat     keeps claim and message alive; hears of cancellation
interruption  what asks for the attempt's end
fence         whether the attempt may write now
"""
