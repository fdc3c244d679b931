"""A client under load and faults for as long as one likes: ``make soak MINUTES=10``.

==============  ==========================================================================================
module          holds
==============  ==========================================================================================
``__main__``    the run: a client in this process, what is measured, and the verdict
``ledger``      what the client was told of each channel, and what may not be in it
``pbx``         the other process: the simulator, its traffic at a fixed rate, and the proxy before it
``proxy``       a TCP proxy that cuts, resets, stalls, splits, falls silent and refuses
``relay``       the same for a relay: its holders, its Redis and its clients, ``make soak-relay SECONDS=60``
==============  ==========================================================================================
"""
