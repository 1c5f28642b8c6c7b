"""A worker's own classes between a broker and a ClickHouse that are simulated in memory, and fail when told to.

Whatever a worker asks of the two waits until a test lets it succeed or fail, and time passes when the test says so:
what happens between any two steps is the test's choice, and happens the same way each time.
"""
