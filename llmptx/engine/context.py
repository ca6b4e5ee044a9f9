"""The launch context: what compiled code and the host share, an array of 64-bit words. Word numbers, and
nothing else.
"""

from __future__ import annotations

WORDS = (
    "params",  # address of the parameter buffer
    "shared",  # address of the shared window
    "shared_size",  # bytes of it, dynamic part included
    "local",  # address of the first thread's local window
    "frames",  # address of the first unit's frame
    "resume",  # address of the i32 resume points, one a unit
    "mail",  # address of the mailboxes, one a unit (threads one at a time)
    "grid_x",
    "grid_y",
    "grid_z",
    "symbols",  # address of the table of module variables' addresses
    "dynamic",  # bytes of dynamic shared memory
    "budget",  # loop iterations a unit may make
    "blocks",  # address of a permutation of block numbers (i64), or 0
    "units",  # address of a permutation of unit numbers (i32), or 0
    "dummy",  # address where accesses of no lane go
    "fail_kind",
    "fail_pc",
    "fail_block",
    "fail_unit",
    "fail_mask",
    "block",  # the linear block number now running
    # sanitizers
    "arena",
    "arena_size",
    "shadow",  # one byte a byte: 1 addressable, 2 initialised, 4 read-only
    "races",  # 16 bytes a byte of shared memory: last writer, last readers
    "writers",  # 8 bytes for every 4 of shared memory: last writer of them all, and in the next table
    "readers",  # last readers
    "findings",
    "found",
    "room",
    "epoch",  # counts barriers and blocks
    "reserved",  # address of initialised shared memory: the system's own, if the code asks for it
    "reserved_size",
    "warp_epochs",  # address of an i64 for every warp
    "local_stride",
    "local_size",
    "homes",  # address of (start, bytes) for every pc: where its address must lie, all the arena if need be
    "copies",  # address of the rings of copies in flight, one a thread
    # races in global memory: 16 bytes a byte of the arena, or 0; and times, which count blocks, barriers and
    # strong accesses
    "global_races",
    "global_writers",
    "global_readers",
    "time",
    "launch_time",
    "block_time",
    "barrier_time",
    "strong_time",  # of the block's last strong access
    "seen_epoch",  # the epoch that barrier_time knows of
    "block_rows",  # three words for every block that has run: first time, last strong time, number
    "block_row",
    "printer",  # address of the host's function for vprintf
    # profiles
    "counts",  # address of two i64 for every pc: lanes, warps
    "log",  # address of the next record of an access
    "log_end",
    "log_full",  # address of the host's function that empties the log
    # traces: the block and thread that is listened to, the address of the host's function that listens
    "trace_block",
    "trace_unit",
    "tracer",
)
INDEX = {name: i for i, name in enumerate(WORDS)}
SIZE = 8 * len(WORDS)

FAIL_TIMEOUT, FAIL_TRAP, FAIL_DIVERGENT, FAIL_DEADLOCK = 1, 2, 3, 4
FAIL_STACK, FAIL_CALL = 11, 12
# Of a thread whose program calls on a stack or uses alloca.
STACK_BYTES = 1 << 18

# A finding of the sanitizers: kind, pc, block, thread, address, size, other thread, spare; all i64.
FINDING_WORDS = 8
FINDING_KINDS = {
    1: "out-of-bounds",
    2: "misaligned",
    3: "uninitialized-read",
    4: "data-race",
    5: "input-modified",
    6: "barrier-divergence",
    7: "unset-register",
    # Below here: no findings by themselves. A suspect is a lane that took a value from one that is not there;
    # it becomes a finding where that value is used. Notes tell what is not wrong.
    8: "invalid-shuffle",
    9: "division-by-zero",
}
# 10: shared or local memory that was left unwritten, as what was stored there hangs on nothing.
UNSET, SUSPECT, DIVISION, LEFT = 7, 8, 9, 10
UNWRITTEN = 3
# Operands and results of one operation: the most are a matrix product's.
MAIL_WORDS = 40
# Copies in flight that a thread's ring has room for, and the ring's words.
COPIES = 64
COPY_WORDS = 3 + 2 * COPIES
