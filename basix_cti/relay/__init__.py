"""One connection to the PBX for any number of processes: the relay over Redis. ``pip install basix-cti[redis]``

==============  ==================================================================================================
module          holds
==============  ==================================================================================================
``client``      ``RelayClient``: what a program uses in place of ``CTIClient``
``holder``      ``Relay``: the lease, and what its holder does; ``basix-cti relay`` runs it
``publisher``   what a holder writes for each event
``probes``      what a relay answers to those who watch over it
``follower``    how a client reads that: joining, following, gaps, commands
``keys``        the names of what stands in Redis, and the scripts
``codec``       events and elements as they stand there
``link``        one connection to Redis
==============  ==================================================================================================
"""

from __future__ import annotations

from .client import RelayClient
from .holder import HeldClient, Relay, RelayError

__all__ = ["HeldClient", "Relay", "RelayClient", "RelayError"]
