"""Fuzzing what reads bytes from a peer: ``make fuzz SECONDS=60``.

==============  ==========================================================================================
module          holds
==============  ==========================================================================================
``__main__``    ``python -m fuzz``: the rounds one after the other, and the report
``targets``     ``etf``: one term. ``session``: what a PBX sends in a session. What must hold of each
``guided``      one target under atheris, which keeps what reaches code that nothing reached before
``again``       ``python -m fuzz.again FILE``: one input once more, with its traceback
``compared``    the same bytes to Erlang's own ``binary_to_term``, and what it may see otherwise
``mutate``      changes bytes, terms and sessions
``seed``        ``python -m fuzz.seed``: makes ``corpus/`` anew, with real Erlang
``corpus/``     inputs that are kept: each round begins with them, and the tests read all of them
==============  ==========================================================================================

What is found is written to ``.fuzz/``. Mend it, and put the input into ``corpus/`` under a name that tells.
"""
