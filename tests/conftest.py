"""What holds for all tests: how many threads NumPy's own products take."""

import os

# Before NumPy is imported, here and in the processes that tests start. BLAS threads that wait spin: on two cores they
# double the processor time of the tests, and on many cores they take it from the engine's threads.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
