"""Races in global memory within a launch, as LLVM text for the sanitizer.

Two words stand for every four bytes of the arena, or for every byte of those that were taken apart, as for
shared memory (`sanitizer`): last writer, last readers. In place of the
barrier epoch they hold a time, which passes at every block, barrier and strong access (an atomic, or one
that is volatile or names an order). Blocks run one after the other, and accesses of two of them are ordered
only where the first made a strong access of global memory afterwards and the second one before: by which
of them is not asked, so that every way to hand data on is right. Any strong access orders its block's own.
A store of the value that is there races with nobody, nor does a plain read with a strong write: loops around
a compare-and-swap begin with one.
"""

from __future__ import annotations

from llmptx.engine.context import INDEX


def word(register: str, name: str) -> str:
    """A word of the context in a register, and its place in `p.` register."""
    return (
        f"  %p.{register} = getelementptr i64, ptr %ctx, i64 {INDEX[name]}\n"
        f"  %{register} = load i64, ptr %p.{register}\n"
    )


# Who made an earlier access that nothing orders before this one: thread + 1, and (block + 1) << 16 where it
# is another block; 0 where all is well. A row of the table of blocks: its first time, its last strong one,
# its number.
_UNORDERED = f"""
define i64 @san_unordered(ptr %ctx, i64 %entry, i1 %strong, i32 %thread) {{
  %whom = and i64 %entry, 4095
  %nobody = icmp eq i64 %whom, 0
  %flag = and i64 %entry, 16384
  %wasstrong = icmp ne i64 %flag, 0
  %both = and i1 %wasstrong, %strong
  %time = lshr i64 %entry, 32
{word("launch", "launch_time")}
  %before = icmp ult i64 %time, %launch
  %well0 = or i1 %nobody, %both
  %well = or i1 %well0, %before
  br i1 %well, label %none, label %whose
none:
  ret i64 0
whose:
{word("start", "block_time")}{word("row", "block_row")}
  %mine = icmp uge i64 %time, %start
  br i1 %mine, label %inside, label %search
inside:
{word("barrier", "barrier_time")}{word("met", "strong_time")}{word("wes", "warp_epochs")}
  %waited = icmp ult i64 %time, %barrier
  %handed = icmp ult i64 %time, %met
  %ordered = or i1 %waited, %handed
  br i1 %ordered, label %none, label %threads
threads:
  %warp = lshr i32 %thread, 5
  %warp64 = zext i32 %warp to i64
  %wes.p = inttoptr i64 %wes to ptr
  %we.p = getelementptr i64, ptr %wes.p, i64 %warp64
  %we = load i64, ptr %we.p
  %clash = call i1 @san_conflict(i64 %entry, i64 %time, i64 %we, i32 %thread)
  br i1 %clash, label %other, label %none
other:
  ret i64 %whom
search:
{word("rows", "block_rows")}
  br label %halve
halve:
  %lo = phi i64 [ %rows, %search ], [ %lo1, %step ]
  %hi = phi i64 [ %row, %search ], [ %hi1, %step ]
  %apart = sub i64 %hi, %lo
  %more = icmp ugt i64 %apart, 24
  br i1 %more, label %step, label %found
step:
  %half = udiv i64 %apart, 48
  %bytes = mul i64 %half, 24
  %mid = add i64 %lo, %bytes
  %mid.p = inttoptr i64 %mid to ptr
  %midtime = load i64, ptr %mid.p
  %low = icmp ule i64 %midtime, %time
  %lo1 = select i1 %low, i64 %mid, i64 %lo
  %hi1 = select i1 %low, i64 %hi, i64 %mid
  br label %halve
found:
  %theirs = inttoptr i64 %lo to ptr
  %gave.p = getelementptr i64, ptr %theirs, i64 1
  %gave = load i64, ptr %gave.p
  %ours = inttoptr i64 %row to ptr
  %took.p = getelementptr i64, ptr %ours, i64 1
  %took = load i64, ptr %took.p
  %released = icmp ugt i64 %gave, %time
  %acquired = icmp ne i64 %took, 0
  %handover = and i1 %released, %acquired
  br i1 %handover, label %none, label %block
block:
  %number.p = getelementptr i64, ptr %theirs, i64 2
  %number = load i64, ptr %number.p
  %number1 = add i64 %number, 1
  %high = shl i64 %number1, 16
  %name = or i64 %high, %whom
  ret i64 %name
}}
"""

_READER = f"""
define i64 @san_reader(ptr %ctx, i64 %old, i64 %mine, i64 %me, i64 %keepflag) {{
{word("launch", "launch_time")}{word("start", "block_time")}{word("barrier", "barrier_time")}
  %time = lshr i64 %old, 32
  %whom = and i64 %old, 4095
  %nobody = icmp eq i64 %whom, 0
  %before = icmp ult i64 %time, %launch
  %fresh = or i1 %nobody, %before
  br i1 %fresh, label %replace, label %known
replace:
  ret i64 %mine
known:
  %another = icmp ult i64 %time, %start
  br i1 %another, label %keep, label %inside
keep:
  ret i64 %old
inside:
  %waited = icmp ult i64 %time, %barrier
  br i1 %waited, label %replace, label %beside
beside:
  %w0 = sub i64 %whom, 1
  %w = lshr i64 %w0, 5
  %m0 = sub i64 %me, 1
  %m = lshr i64 %m0, 5
  %samewarp = icmp eq i64 %w, %m
  %weaker = and i64 %old, %keepflag
  br i1 %samewarp, label %warp, label %several
several:
  %many = or i64 %weaker, 8192
  ret i64 %many
warp:
  %differ = xor i64 %old, %mine
  %meetings = and i64 %differ, 4294901760
  %met = icmp ne i64 %meetings, 0
  br i1 %met, label %later, label %now
later:
  %oldmany = and i64 %old, 8192
  %with = or i64 %mine, %oldmany
  ret i64 %with
now:
  %isme = icmp eq i64 %whom, %me
  %lanes = or i64 %weaker, 4096
  %r = select i1 %isme, i64 %weaker, i64 %lanes
  ret i64 %r
}}
"""

# A strong write over this block's weak one leaves it weak: blocks to come see that somebody wrote without.
_WRITER = f"""
define i64 @san_writer(ptr %ctx, i64 %old, i64 %mine) {{
{word("start", "block_time")}
  %time = lshr i64 %old, 32
  %whom = and i64 %old, 4095
  %some = icmp ne i64 %whom, 0
  %inside = icmp uge i64 %time, %start
  %flag = and i64 %old, 16384
  %weak = icmp eq i64 %flag, 0
  %here = and i1 %some, %inside
  %stays = and i1 %here, %weak
  %less = and i64 %mine, -16385
  %r = select i1 %stays, i64 %less, i64 %mine
  ret i64 %r
}}
"""

# rel: the address from the arena's start. kind and value as in @san_check.
_GLOBAL = f"""
define void @san_global(ptr %ctx, i64 %address, i64 %rel, i32 %size, i32 %kind, i32 %pc, i32 %thread,
ptr %value) noinline {{
{word("globals", "global_races")}
  %given = icmp ne i64 %globals, 0
  br i1 %given, label %begin, label %out
out:
  ret void
begin:
{word("local", "local")}{word("lsize", "local_size")}
  %lrel = sub i64 %address, %local
  %islocal = icmp ult i64 %lrel, %lsize
  br i1 %islocal, label %out, label %clock
clock:
{word("epoch", "epoch")}{word("seen", "seen_epoch")}{word("time0", "time")}{word("barrier", "barrier_time")}
  %same = icmp eq i64 %epoch, %seen
  br i1 %same, label %timed, label %passed
passed:
  %later = add i64 %time0, 1
  store i64 %later, ptr %p.time0
  store i64 %later, ptr %p.barrier
  store i64 %epoch, ptr %p.seen
  br label %timed
timed:
  %time = phi i64 [ %time0, %clock ], [ %later, %passed ]
{word("row", "block_row")}{word("block", "block")}{word("wes", "warp_epochs")}
  %row.p = inttoptr i64 %row to ptr
  %number.p = getelementptr i64, ptr %row.p, i64 2
  store i64 %block, ptr %number.p
  %strong = icmp uge i32 %kind, 2
  %plainload = icmp eq i32 %kind, 0
  %strongload = icmp eq i32 %kind, 3
  %loads = or i1 %plainload, %strongload
  %warp = lshr i32 %thread, 5
  %warp64 = zext i32 %warp to i64
  %wes.p = inttoptr i64 %wes to ptr
  %we.p = getelementptr i64, ptr %wes.p, i64 %warp64
  %we = load i64, ptr %we.p
  %we16 = and i64 %we, 65535
  %we.sh = shl i64 %we16, 16
  %time.sh = shl i64 %time, 32
  %t64 = zext i32 %thread to i64
  %me = add i64 %t64, 1
  %flag = select i1 %strong, i64 16384, i64 0
  %keepflag = select i1 %strong, i64 -1, i64 -16385
  %mine0 = or i64 %time.sh, %we.sh
  %mine1 = or i64 %mine0, %me
  %mine = or i64 %mine1, %flag
  %size64 = zext i32 %size to i64
  %hasvalue = icmp ne ptr %value, null
{word("launched", "launch_time")}{word("writers", "global_writers")}{word("readers", "global_readers")}
  br label %bytes
bytes:
  %k = phi i64 [ 0, %timed ], [ %k1, %next ]
  %bad = phi i64 [ 0, %timed ], [ %bad1, %next ]
  %kat = add i64 %rel, %k
  %kleft = sub i64 %size64, %k
  %unit = call {{ ptr, ptr, i64 }} @san_unit(i64 %writers, i64 %readers, i64 %globals, i64 %kat, i64 %kleft,
  i64 %launched, i64 %time)
  %wp = extractvalue {{ ptr, ptr, i64 }} %unit, 0
  %rp = extractvalue {{ ptr, ptr, i64 }} %unit, 1
  %wide = extractvalue {{ ptr, ptr, i64 }} %unit, 2
  %w = load i64, ptr %wp
  %r = load i64, ptr %rp
  br i1 %loads, label %reads, label %writes
reads:
  %rbad = call i64 @san_unordered(ptr %ctx, i64 %w, i1 true, i32 %thread)
  %reader = call i64 @san_reader(ptr %ctx, i64 %r, i64 %mine, i64 %me, i64 %keepflag)
  store i64 %reader, ptr %rp
  br label %next
writes:
  %writer = call i64 @san_writer(ptr %ctx, i64 %w, i64 %mine)
  store i64 %writer, ptr %wp
  br i1 %hasvalue, label %compare, label %ask
compare:
  %vp = getelementptr i8, ptr %value, i64 %k
  %oa = add i64 %address, %k
  %op = inttoptr i64 %oa to ptr
  %equal = call i1 @san_equal(ptr %vp, ptr %op, i64 %wide)
  br i1 %equal, label %next, label %ask
ask:
  %wbad0 = call i64 @san_unordered(ptr %ctx, i64 %w, i1 %strong, i32 %thread)
  %wbad2 = call i64 @san_unordered(ptr %ctx, i64 %r, i1 false, i32 %thread)
  %wbad1 = select i1 %strong, i64 0, i64 %wbad2
  %wfine = icmp eq i64 %wbad0, 0
  %wbad = select i1 %wfine, i64 %wbad1, i64 %wbad0
  br label %next
next:
  %now = phi i64 [ %rbad, %reads ], [ 0, %compare ], [ %wbad, %ask ]
  %none = icmp eq i64 %bad, 0
  %bad1 = select i1 %none, i64 %now, i64 %bad
  %k1 = add i64 %k, %wide
  %more = icmp ult i64 %k1, %size64
  br i1 %more, label %bytes, label %done
done:
  br i1 %strong, label %hand, label %judge
hand:
  %handed = add i64 %time, 1
  %p.met = getelementptr i64, ptr %ctx, i64 {INDEX["strong_time"]}
  %gave.p = getelementptr i64, ptr %row.p, i64 1
  store i64 %handed, ptr %p.time0
  store i64 %handed, ptr %p.met
  store i64 %handed, ptr %gave.p
  br label %judge
judge:
  %raced = icmp ne i64 %bad1, 0
  br i1 %raced, label %report, label %out
report:
  call void @san_report(ptr %ctx, i64 4, i32 %pc, i32 %thread, i64 %address, i32 %size, i64 %bad1)
  ret void
}}
"""

# A strong access of shared memory orders what its block does in global memory.
_HAND = f"""
define void @san_hand(ptr %ctx) {{
{word("time", "time")}{word("met", "strong_time")}
  %t = add i64 %time, 1
  store i64 %t, ptr %p.time
  store i64 %t, ptr %p.met
  ret void
}}
"""

_BEGIN = f"""
define void @san_begin(ptr %ctx) {{
{word("globals", "global_races")}
  %given = icmp ne i64 %globals, 0
  br i1 %given, label %begin, label %out
out:
  ret void
begin:
{word("epoch", "epoch")}{word("seen", "seen_epoch")}{word("time", "time")}{word("start", "block_time")}
{word("barrier", "barrier_time")}{word("met", "strong_time")}{word("row", "block_row")}
  %t = add i64 %time, 1
  store i64 %t, ptr %p.time
  store i64 %t, ptr %p.start
  store i64 %t, ptr %p.barrier
  store i64 %epoch, ptr %p.seen
  store i64 0, ptr %p.met
  %next = add i64 %row, 24
  store i64 %next, ptr %p.row
  %row.p = inttoptr i64 %next to ptr
  store i64 %t, ptr %row.p
  ret void
}}
"""

SPLIT = 1 << 15  # in a writer's word: its four bytes have words of their own, since the time it names

# The words of the memory at `at`, and how many bytes they stand for: of four bytes where the access has them
# all and they were not taken apart, else of one. since: the time from which entries count.
UNIT = f"""
define {{ ptr, ptr, i64 }} @san_unit(i64 %writers, i64 %readers, i64 %bytes, i64 %at, i64 %left, i64 %since,
i64 %now) {{
  %four = and i64 %at, -4
  %words = shl i64 %four, 1
  %wa = add i64 %writers, %words
  %wp = inttoptr i64 %wa to ptr
  %ra = add i64 %readers, %words
  %rp = inttoptr i64 %ra to ptr
  %w = load i64, ptr %wp
  %flag = and i64 %w, {SPLIT}
  %was = icmp ne i64 %flag, 0
  %time = lshr i64 %w, 32
  %low = and i64 %since, 4294967295
  %recent = icmp uge i64 %time, %low
  %split = and i1 %was, %recent
  %place = shl i64 %at, 4
  %ba = add i64 %bytes, %place
  %bp = inttoptr i64 %ba to ptr
  %bp1 = getelementptr i64, ptr %bp, i64 1
  %own0 = insertvalue {{ ptr, ptr, i64 }} undef, ptr %bp, 0
  %own1 = insertvalue {{ ptr, ptr, i64 }} %own0, ptr %bp1, 1
  %own = insertvalue {{ ptr, ptr, i64 }} %own1, i64 1, 2
  br i1 %split, label %single, label %together
single:
  ret {{ ptr, ptr, i64 }} %own
together:
  %odd = and i64 %at, 3
  %aligned = icmp eq i64 %odd, 0
  %enough = icmp uge i64 %left, 4
  %whole = and i1 %aligned, %enough
  br i1 %whole, label %all, label %part
all:
  %all0 = insertvalue {{ ptr, ptr, i64 }} undef, ptr %wp, 0
  %all1 = insertvalue {{ ptr, ptr, i64 }} %all0, ptr %rp, 1
  %all2 = insertvalue {{ ptr, ptr, i64 }} %all1, i64 4, 2
  ret {{ ptr, ptr, i64 }} %all2
part:
  %r = load i64, ptr %rp
  %kept = select i1 %was, i64 0, i64 %w
  %pairs = shl i64 %four, 4
  %fa = add i64 %bytes, %pairs
  %fp = inttoptr i64 %fa to ptr
  br label %copy
copy:
  %i = phi i64 [ 0, %part ], [ %i2, %copy ]
  %i1 = or i64 %i, 1
  %to.w = getelementptr i64, ptr %fp, i64 %i
  %to.r = getelementptr i64, ptr %fp, i64 %i1
  store i64 %kept, ptr %to.w
  store i64 %r, ptr %to.r
  %i2 = add i64 %i, 2
  %more = icmp ult i64 %i2, 8
  br i1 %more, label %copy, label %mark
mark:
  %stamp = shl i64 %now, 32
  %entry = or i64 %stamp, {SPLIT + 1}
  store i64 %entry, ptr %wp
  ret {{ ptr, ptr, i64 }} %own
}}

define i1 @san_equal(ptr %a, ptr %b, i64 %size) {{
  %wide = icmp eq i64 %size, 4
  br i1 %wide, label %four, label %one
four:
  %a4 = load i32, ptr %a, align 1
  %b4 = load i32, ptr %b, align 1
  %same4 = icmp eq i32 %a4, %b4
  ret i1 %same4
one:
  %a1 = load i8, ptr %a
  %b1 = load i8, ptr %b
  %same1 = icmp eq i8 %a1, %b1
  ret i1 %same1
}}
"""

# Needs @san_report, @san_conflict and UNIT.
TEXT = _UNORDERED + _READER + _WRITER + _GLOBAL + _HAND + _BEGIN
