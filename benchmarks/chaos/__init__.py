"""A load of many streams under kills and network faults, and proof afterwards that nothing was lost or learned twice.

``make chaos`` runs it; ``CHAOS="--kills 20 --items 20000"`` gives it arguments.

====================  ================================================================================
``workload``          the models, their streams, and every item as a function of its place
``load``              the writers: many clients that send, resend and never give an item up
``ledger``            what was acknowledged, byte for byte
``wire``              writes into the ledger whatever answers reach a client
``processes``         the service and an external store as processes that can be killed
``proxy``             a connection between two of them on which faults are forced
``setup``             what is wired together: service, store, proxies
``faults``            which faults there are, and in what order they come
``torment``           forces them, and takes the time until items are acknowledged again
``replay``            learns what was acknowledged once more, in this process, and compares
``run``               one setup from start to verdict
``report``            the verdict, for people and as JSON
====================  ================================================================================
"""
