"""The library inside web frameworks, each with its extra.

===================  =====================================================================================
module               is for
===================  =====================================================================================
``django``           a package: the Django app; ``pip install basix-cti[django]``
``flask``            the Flask extension; ``pip install basix-cti[flask]``
``bridge``           from events to any number of functions, each event in a context: for both
``site_settings``    where a site's settings come from, and the client that they make: for both
``one_client``       one client for a process: for both
``foreground``       that client in the foreground, as their commands run it: for both
===================  =====================================================================================
"""
