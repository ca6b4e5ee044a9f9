"""The checked mode's memory accesses, as LLVM text: bounds, alignment, initialised bits, races in shared
memory (`races` has those in global memory).

A shadow byte stands for every byte of the arena (1 addressable, 2 initialised, 4 read-only); two words
stand for every
four bytes of shared memory, and for every byte of those that were taken apart: last writer and last readers
since the last barrier. A word is
epoch << 32 | warp epoch << 16 | flags | thread + 1; an entry of an earlier epoch is as good as none, so
nothing is ever cleared. `warps` does for whole warps, where all is well, what is done here lane by lane.
An access that is out of bounds is reported and not made: loads give zero. Where its address comes from one
pointer alone (`provenance`), bounds are those of that pointer's buffer.
"""

from __future__ import annotations

from llmptx.engine import races, twin_code
from llmptx.engine.context import SUSPECT
from llmptx.engine.races import word

_REPORT = f"""
define void @san_report(ptr %ctx, i64 %kind, i32 %pc, i32 %thread, i64 %address, i32 %size, i64 %other)
noinline {{
{word("found", "found")}{word("room", "room")}{word("list", "findings")}{word("block", "block")}
  %pc64 = zext i32 %pc to i64
  br label %seen
seen:
  %n = phi i64 [ 0, %0 ], [ %n1, %other.row ]
  %last = icmp uge i64 %n, %found
  br i1 %last, label %new, label %compare
compare:
  %row = mul i64 %n, 64
  %where = add i64 %list, %row
  %rowp = inttoptr i64 %where to ptr
  %kind1 = load i64, ptr %rowp
  %rowp1 = getelementptr i64, ptr %rowp, i64 1
  %pc1 = load i64, ptr %rowp1
  %samekind = icmp eq i64 %kind1, %kind
  %samepc = icmp eq i64 %pc1, %pc64
  %known = and i1 %samekind, %samepc
  br i1 %known, label %out, label %other.row
other.row:
  %n1 = add i64 %n, 1
  br label %seen
new:
  %minor = icmp uge i64 %kind, {SUSPECT}
  %half = lshr i64 %room, 1
  %limit = select i1 %minor, i64 %half, i64 %room
  %full = icmp uge i64 %found, %limit
  br i1 %full, label %out, label %put
put:
  %more = add i64 %found, 1
  store i64 %more, ptr %p.found
  %at = mul i64 %found, 64
  %to = add i64 %list, %at
  %q = inttoptr i64 %to to ptr
  %thread64 = zext i32 %thread to i64
  %size64 = zext i32 %size to i64
  store i64 %kind, ptr %q
  %q1 = getelementptr i64, ptr %q, i64 1
  store i64 %pc64, ptr %q1
  %q2 = getelementptr i64, ptr %q, i64 2
  store i64 %block, ptr %q2
  %q3 = getelementptr i64, ptr %q, i64 3
  store i64 %thread64, ptr %q3
  %q4 = getelementptr i64, ptr %q, i64 4
  store i64 %address, ptr %q4
  %q5 = getelementptr i64, ptr %q, i64 5
  store i64 %size64, ptr %q5
  %q6 = getelementptr i64, ptr %q, i64 6
  store i64 %other, ptr %q6
  br label %out
out:
  ret void
}}
"""

# Is an earlier access, by its entry, neither this thread's nor ordered before it by a barrier?
_CONFLICT = """
define i1 @san_conflict(i64 %entry, i64 %epoch, i64 %warp_epoch, i32 %thread) alwaysinline {
  %e = lshr i64 %entry, 32
  %low = and i64 %epoch, 4294967295
  %same = icmp eq i64 %e, %low
  %whom = and i64 %entry, 4095
  %t64 = zext i32 %thread to i64
  %me = add i64 %t64, 1
  %some = icmp ne i64 %whom, 0
  %other = icmp ne i64 %whom, %me
  %ow = sub i64 %whom, 1
  %owarp = lshr i64 %ow, 5
  %warp = lshr i64 %t64, 5
  %insame = icmp eq i64 %owarp, %warp
  %we = lshr i64 %entry, 16
  %wel = and i64 %we, 65535
  %mine = and i64 %warp_epoch, 65535
  %ordered0 = icmp ne i64 %wel, %mine
  %ordered = and i1 %insame, %ordered0
  %many = and i64 %entry, 8192
  %ismany = icmp ne i64 %many, 0
  %lanes = and i64 %entry, 4096
  %islanes = icmp ne i64 %lanes, 0
  %notme = or i1 %other, %islanes
  %unordered = xor i1 %ordered, true
  %a = and i1 %notme, %unordered
  %b = or i1 %a, %ismany
  %c = and i1 %same, %some
  %r = and i1 %b, %c
  ret i1 %r
}
"""

# kind: 0 load, 1 store, 2 atomic; 3 and 4 a load and a store that are volatile or name an order, which like
# atomics do not race with each other. value: the bytes about to be stored, or null. Returns whether to make
# the access.
_CHECK = f"""
define i1 @san_check(ptr %ctx, i64 %address, i32 %size, i32 %kind, i32 %pc, i32 %thread, ptr %value)
noinline {{
{word("arena", "arena")}{word("bytes", "arena_size")}{word("shadow", "shadow")}
  %rel = sub i64 %address, %arena
  %size64 = zext i32 %size to i64
  %last = add i64 %rel, %size64
  %in0 = icmp ule i64 %last, %bytes
  %in1 = icmp ult i64 %rel, %bytes
  %in = and i1 %in0, %in1
  br i1 %in, label %align, label %oob
oob:
  call void @san_report(ptr %ctx, i64 1, i32 %pc, i32 %thread, i64 %address, i32 %size, i64 0)
  ret i1 false
align:
  %less = sub i64 %size64, 1
  %off = and i64 %address, %less
  %ok = icmp eq i64 %off, 0
  br i1 %ok, label %start, label %bad
bad:
  call void @san_report(ptr %ctx, i64 2, i32 %pc, i32 %thread, i64 %address, i32 %size, i64 0)
  ret i1 false
start:
  %sh = add i64 %shadow, %rel
  %s = inttoptr i64 %sh to ptr
  br label %loop
loop:
  %i = phi i64 [ 0, %start ], [ %i1, %loop ]
  %all = phi i8 [ -1, %start ], [ %all1, %loop ]
  %any = phi i8 [ 0, %start ], [ %any1, %loop ]
  %sp = getelementptr i8, ptr %s, i64 %i
  %b = load i8, ptr %sp
  %all1 = and i8 %all, %b
  %any1 = or i8 %any, %b
  %i1 = add i64 %i, 1
  %again = icmp ult i64 %i1, %size64
  br i1 %again, label %loop, label %states
states:
  %addr8 = and i8 %all1, 1
  %addressable = icmp ne i8 %addr8, 0
  br i1 %addressable, label %inside, label %oob
inside:
{word("homes", "homes")}
  %pc64 = zext i32 %pc to i64
  %hoff = mul i64 %pc64, 16
  %hat = add i64 %homes, %hoff
  %hp = inttoptr i64 %hat to ptr
  %hstart = load i64, ptr %hp
  %hp1 = getelementptr i64, ptr %hp, i64 1
  %hsize = load i64, ptr %hp1
  %hrel = sub i64 %address, %hstart
  %athome = icmp ult i64 %hrel, %hsize
  br i1 %athome, label %home, label %foreign
foreign:
  call void @san_report(ptr %ctx, i64 1, i32 %pc, i32 %thread, i64 %address, i32 %size, i64 1)
  ret i1 false
home:
  %strong = icmp uge i32 %kind, 2
  %plainload = icmp eq i32 %kind, 0
  %strongload = icmp eq i32 %kind, 3
  %loads = or i1 %plainload, %strongload
  %stores = xor i1 %loads, true
  br i1 %stores, label %writes, label %reads
reads:
  %init8 = and i8 %all1, 2
  %init = icmp ne i8 %init8, 0
  br i1 %init, label %race, label %uninit
uninit:
  call void @san_report(ptr %ctx, i64 3, i32 %pc, i32 %thread, i64 %address, i32 %size, i64 0)
  br label %race
writes:
  %ro8 = and i8 %any1, 4
  %ro = icmp ne i8 %ro8, 0
  br i1 %ro, label %readonly, label %atomic
readonly:
  call void @san_report(ptr %ctx, i64 5, i32 %pc, i32 %thread, i64 %address, i32 %size, i64 0)
  ret i1 false
atomic:
  %isatomic = icmp eq i32 %kind, 2
  %ainit8 = and i8 %all1, 2
  %ainit = icmp ne i8 %ainit8, 0
  %aun0 = xor i1 %ainit, true
  %aun = and i1 %isatomic, %aun0
  br i1 %aun, label %auninit, label %mark
auninit:
  call void @san_report(ptr %ctx, i64 3, i32 %pc, i32 %thread, i64 %address, i32 %size, i64 0)
  br label %mark
mark:
  br label %marks
marks:
  %j = phi i64 [ 0, %mark ], [ %j1, %marks ]
  %mp = getelementptr i8, ptr %s, i64 %j
  %mb = load i8, ptr %mp
  %mb1 = or i8 %mb, 2
  store i8 %mb1, ptr %mp
  %j1 = add i64 %j, 1
  %mmore = icmp ult i64 %j1, %size64
  br i1 %mmore, label %marks, label %race
race:
{word("shared", "shared")}{word("ssize", "shared_size")}
  %srel = sub i64 %address, %shared
  %isshared = icmp ult i64 %srel, %ssize
  br i1 %isshared, label %racing, label %elsewhere
elsewhere:
  %fixed8 = and i8 %all1, 4
  %fixed = icmp ne i8 %fixed8, 0
  br i1 %fixed, label %yes, label %global
global:
  call void @san_global(ptr %ctx, i64 %address, i64 %rel, i32 %size, i32 %kind, i32 %pc, i32 %thread, ptr
  %value)
  ret i1 true
yes:
  ret i1 true
racing:
  br i1 %strong, label %hand, label %racing.weak
hand:
  call void @san_hand(ptr %ctx)
  br label %racing.weak
racing.weak:
{word("races", "races")}{word("epoch", "epoch")}{word("wes", "warp_epochs")}
  %warp = lshr i32 %thread, 5
  %warp64 = zext i32 %warp to i64
  %wep0 = inttoptr i64 %wes to ptr
  %wep = getelementptr i64, ptr %wep0, i64 %warp64
  %we = load i64, ptr %wep
  %we16 = and i64 %we, 65535
  %wesh = shl i64 %we16, 16
  %esh = shl i64 %epoch, 32
  %t64 = zext i32 %thread to i64
  %me = add i64 %t64, 1
  %mine0 = or i64 %esh, %wesh
  %mine1 = or i64 %mine0, %me
  %aflag = select i1 %strong, i64 16384, i64 0
  %keepflag = select i1 %strong, i64 -1, i64 -16385
  %mine = or i64 %mine1, %aflag
{word("wtable", "writers")}{word("rtable", "readers")}
  br label %bytes.loop
bytes.loop:
  %k = phi i64 [ 0, %racing.weak ], [ %k1, %next ]
  %bad0 = phi i64 [ 0, %racing.weak ], [ %bad2, %next ]
  %kat = add i64 %srel, %k
  %kleft = sub i64 %size64, %k
  %unit = call {{ ptr, ptr, i64 }} @san_unit(i64 %wtable, i64 %rtable, i64 %races, i64 %kat, i64 %kleft,
  i64 %epoch, i64 %epoch)
  %wp = extractvalue {{ ptr, ptr, i64 }} %unit, 0
  %rp = extractvalue {{ ptr, ptr, i64 }} %unit, 1
  %wide = extractvalue {{ ptr, ptr, i64 }} %unit, 2
  %w = load i64, ptr %wp
  %wc0 = call i1 @san_conflict(i64 %w, i64 %epoch, i64 %we, i32 %thread)
  %wat = and i64 %w, 16384
  %wasatomic = icmp ne i64 %wat, 0
  %both = and i1 %wasatomic, %strong
  %notboth = xor i1 %both, true
  %wc1 = and i1 %wc0, %notboth
  br i1 %wc1, label %maybe, label %nowrite
maybe:
  %hasvalue = icmp ne ptr %value, null
  br i1 %hasvalue, label %compare, label %yeswrite
compare:
  %vp = getelementptr i8, ptr %value, i64 %k
  %ka = add i64 %address, %k
  %op = inttoptr i64 %ka to ptr
  %equal = call i1 @san_equal(ptr %vp, ptr %op, i64 %wide)
  br i1 %equal, label %nowrite, label %yeswrite
yeswrite:
  %whom = and i64 %w, 4095
  br label %readers
nowrite:
  br label %readers
readers:
  %bad1 = phi i64 [ %whom, %yeswrite ], [ %bad0, %nowrite ]
  %rd = load i64, ptr %rp
  br i1 %stores, label %wr, label %rdr
wr:
  %rc0 = call i1 @san_conflict(i64 %rd, i64 %epoch, i64 %we, i32 %thread)
  %rat = and i64 %rd, 16384
  %rwasatomic = icmp ne i64 %rat, 0
  %rboth = and i1 %rwasatomic, %strong
  %rnotboth = xor i1 %rboth, true
  %rc = and i1 %rc0, %rnotboth
  %rwhom = and i64 %rd, 4095
  %wbad = select i1 %rc, i64 %rwhom, i64 %bad1
  store i64 %mine, ptr %wp
  br label %next
rdr:
  %re = lshr i64 %rd, 32
  %elow = and i64 %epoch, 4294967295
  %rsame = icmp eq i64 %re, %elow
  %rd12 = and i64 %rd, 4095
  %rsome = icmp ne i64 %rd12, 0
  %fresh0 = and i1 %rsame, %rsome
  br i1 %fresh0, label %known, label %setreader
known:
  %isme = icmp eq i64 %rd12, %me
  %rw0 = sub i64 %rd12, 1
  %rw = lshr i64 %rw0, 5
  %mw = lshr i64 %t64, 5
  %samewarp = icmp eq i64 %rw, %mw
  %rwe0 = lshr i64 %rd, 16
  %rwe = and i64 %rwe0, 65535
  %samewe = icmp eq i64 %rwe, %we16
  br i1 %samewarp, label %inwarp, label %setmany
setmany:
  %many0 = or i64 %rd, 8192
  %many = and i64 %many0, %keepflag
  store i64 %many, ptr %rp
  br label %next
inwarp:
  br i1 %samewe, label %samee, label %later
later:
  %oldmany = and i64 %rd, 8192
  %kept0 = or i64 %mine, %oldmany
  %oldweak0 = and i64 %rd, 16384
  %oldweak1 = icmp eq i64 %oldweak0, 0
  %wasmany = icmp ne i64 %oldmany, 0
  %oldweak = and i1 %oldweak1, %wasmany
  %keepold = select i1 %oldweak, i64 -16385, i64 -1
  %kept = and i64 %kept0, %keepold
  store i64 %kept, ptr %rp
  br label %next
samee:
  %weaker = and i64 %rd, %keepflag
  store i64 %weaker, ptr %rp
  br i1 %isme, label %next, label %setlanes
setlanes:
  %lanes = or i64 %weaker, 4096
  store i64 %lanes, ptr %rp
  br label %next
setreader:
  store i64 %mine, ptr %rp
  br label %next
next:
  %bad2 = phi i64 [ %wbad, %wr ], [ %bad1, %setmany ], [ %bad1, %later ], [ %bad1, %samee ], [ %bad1,
  %setlanes ], [ %bad1, %setreader ]
  %k1 = add i64 %k, %wide
  %kmore = icmp ult i64 %k1, %size64
  br i1 %kmore, label %bytes.loop, label %done
done:
  %raced = icmp ne i64 %bad2, 0
  br i1 %raced, label %report, label %yes2
report:
  call void @san_report(ptr %ctx, i64 4, i32 %pc, i32 %thread, i64 %address, i32 %size, i64 %bad2)
  ret i1 true
yes2:
  ret i1 true
}}
"""

# addresses: W x i64; values: count x W elements of `size` bytes. first: thread number of lane 0.
_MOVES = """
define void @san_LOAD(ptr %ctx, ptr %addresses, i32 %mask, i32 %pc, i32 %first, ptr %values, i32 %size, i32
%count, i32 %width) noinline {
entry:
  %total = mul i32 %size, %count
  br label %lanes
lanes:
  %lane = phi i32 [ 0, %entry ], [ %lane1, %next ]
  %bit = lshr i32 %mask, %lane
  %on0 = and i32 %bit, 1
  %on = icmp ne i32 %on0, 0
  br i1 %on, label %check, label %next
check:
  %ap = getelementptr i64, ptr %addresses, i32 %lane
  %a = load i64, ptr %ap
  %thread = add i32 %first, %lane
  %ok = call i1 @san_check(ptr %ctx, i64 %a, i32 %total, i32 LKIND, i32 %pc, i32 %thread, ptr null)
  br label %elements
elements:
  %e = phi i32 [ 0, %check ], [ %e1, %moved ]
  %row = mul i32 %e, %width
  %at = add i32 %row, %lane
  %byte = mul i32 %at, %size
  %to = getelementptr i8, ptr %values, i32 %byte
  %size64 = zext i32 %size to i64
  br i1 %ok, label %copy, label %zero
copy:
  %eo = mul i32 %e, %size
  %eo64 = zext i32 %eo to i64
  %ea = add i64 %a, %eo64
  %from = inttoptr i64 %ea to ptr
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %size64, i1 false)
  br label %moved
zero:
  call void @llvm.memset.p0.i64(ptr %to, i8 0, i64 %size64, i1 false)
  br label %moved
moved:
  %e1 = add i32 %e, 1
  %emore = icmp ult i32 %e1, %count
  br i1 %emore, label %elements, label %next
next:
  %lane1 = add i32 %lane, 1
  %more = icmp ult i32 %lane1, %width
  br i1 %more, label %lanes, label %out
out:
  ret void
}

define void @san_STORE(ptr %ctx, ptr %addresses, i32 %mask, i32 %pc, i32 %first, ptr %values, i32 %size, i32
%count, i32 %width) noinline {
entry:
  %total = mul i32 %size, %count
  %staged = alloca [64 x i8], align 16
  br label %lanes
lanes:
  %lane = phi i32 [ 0, %entry ], [ %lane1, %next ]
  %bit = lshr i32 %mask, %lane
  %on0 = and i32 %bit, 1
  %on = icmp ne i32 %on0, 0
  br i1 %on, label %gather, label %next
gather:
  %ap = getelementptr i64, ptr %addresses, i32 %lane
  %a = load i64, ptr %ap
  br label %elements
elements:
  %e = phi i32 [ 0, %gather ], [ %e1, %elements ]
  %row = mul i32 %e, %width
  %at = add i32 %row, %lane
  %byte = mul i32 %at, %size
  %from = getelementptr i8, ptr %values, i32 %byte
  %eo = mul i32 %e, %size
  %to = getelementptr i8, ptr %staged, i32 %eo
  %size64 = zext i32 %size to i64
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %size64, i1 false)
  %e1 = add i32 %e, 1
  %emore = icmp ult i32 %e1, %count
  br i1 %emore, label %elements, label %check
check:
  %thread = add i32 %first, %lane
  %ok = call i1 @san_check(ptr %ctx, i64 %a, i32 %total, i32 SKIND, i32 %pc, i32 %thread, ptr %staged)
  br i1 %ok, label %put, label %next
put:
  %target = inttoptr i64 %a to ptr
  %total64 = zext i32 %total to i64
  call void @llvm.memcpy.p0.p0.i64(ptr %target, ptr %staged, i64 %total64, i1 false)
  br label %next
next:
  %lane1 = add i32 %lane, 1
  %more = icmp ult i32 %lane1, %width
  br i1 %more, label %lanes, label %out
out:
  ret void
}
"""

_ATOMIC = """
define i32 @san_atomic(ptr %ctx, ptr %addresses, i32 %mask, i32 %pc, i32 %first, i32 %size, i32 %width)
noinline {
entry:
  br label %lanes
lanes:
  %lane = phi i32 [ 0, %entry ], [ %lane1, %next ]
  %good = phi i32 [ 0, %entry ], [ %good1, %next ]
  %bit = lshr i32 %mask, %lane
  %on0 = and i32 %bit, 1
  %on = icmp ne i32 %on0, 0
  br i1 %on, label %check, label %next
check:
  %ap = getelementptr i64, ptr %addresses, i32 %lane
  %a = load i64, ptr %ap
  %thread = add i32 %first, %lane
  %ok = call i1 @san_check(ptr %ctx, i64 %a, i32 %size, i32 2, i32 %pc, i32 %thread, ptr null)
  %ok32 = zext i1 %ok to i32
  %shifted = shl i32 %ok32, %lane
  %with = or i32 %good, %shifted
  br label %next
next:
  %good1 = phi i32 [ %good, %lanes ], [ %with, %check ]
  %lane1 = add i32 %lane, 1
  %more = icmp ult i32 %lane1, %width
  br i1 %more, label %lanes, label %out
out:
  ret i32 %good1
}
"""

# Who acquires through shared memory comes after all that was done before, whoever did it: a handshake of some
# warps by flags is an order, as a barrier is.
_ACQUIRE = f"""
define void @san_acquire(ptr %ctx, ptr %addresses, i32 %mask, i32 %width) noinline {{
entry:
{word("shared", "shared")}{word("size", "shared_size")}{word("epoch", "epoch")}
  br label %lanes
lanes:
  %lane = phi i32 [ 0, %entry ], [ %lane1, %next ]
  %bit = lshr i32 %mask, %lane
  %on = trunc i32 %bit to i1
  br i1 %on, label %ask, label %next
ask:
  %ap = getelementptr i64, ptr %addresses, i32 %lane
  %a = load i64, ptr %ap
  %rel = sub i64 %a, %shared
  %within = icmp ult i64 %rel, %size
  br i1 %within, label %pass, label %next
pass:
  %later = add i64 %epoch, 1
  store i64 %later, ptr %p.epoch
  ret void
next:
  %lane1 = add i32 %lane, 1
  %more = icmp ult i32 %lane1, %width
  br i1 %more, label %lanes, label %out
out:
  ret void
}}
"""

# A new block: its shared memory is uninitialised again, and whatever came before is ordered before it.
_BLOCK = f"""
define void @san_block(ptr %ctx) noinline {{
{word("epoch", "epoch")}
  %e = add i64 %epoch, 1
  store i64 %e, ptr %p.epoch
  call void @san_begin(ptr %ctx)
{word("arena", "arena")}{word("shadow", "shadow")}{word("shared", "shared")}{word("size", "shared_size")}
  %rel = sub i64 %shared, %arena
  %at = add i64 %shadow, %rel
  %p = inttoptr i64 %at to ptr
  call void @llvm.memset.p0.i64(ptr %p, i8 1, i64 %size, i1 false)
{word("system", "reserved")}{word("ssize", "reserved_size")}
  %srel = sub i64 %system, %arena
  %sat = add i64 %shadow, %srel
  %sp = inttoptr i64 %sat to ptr
  call void @llvm.memset.p0.i64(ptr %sp, i8 3, i64 %ssize, i1 false)
  ret void
}}
"""

DECLARATIONS = """
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""


def _moves(load: str, load_kind: int, store: str, store_kind: int) -> str:
    names = {"san_LOAD": load, "LKIND": str(load_kind), "san_STORE": store, "SKIND": str(store_kind)}
    text = _MOVES
    for name, value in names.items():
        text = text.replace(name, value)
    return text


_ACCESS = (
    _moves("san_load", 0, "san_store", 1) + _moves("san_load_strong", 3, "san_store_strong", 4) + _ATOMIC
)
# As @san_atomic, for a load that is made afterwards.
_GRANTED = "".join(
    _ATOMIC.replace("san_atomic", name).replace("i32 %size, i32 2,", f"i32 %size, i32 {kind},")
    for name, kind in (("san_granted", 0), ("san_granted_strong", 3))
)
TEXT = (
    DECLARATIONS
    + _REPORT
    + twin_code.TEXT
    + _CONFLICT
    + races.UNIT
    + races.TEXT
    + _CHECK
    + _ACCESS
    + _GRANTED
    + _ACQUIRE
    + _BLOCK
)
ENTRIES = (
    "san_report",
    "san_unset",
    "san_suspect",
    "san_divided",
    "san_unset_store",
    "san_load",
    "san_store",
    "san_load_strong",
    "san_store_strong",
    "san_atomic",
    "san_granted",
    "san_granted_strong",
    "san_acquire",
    "san_block",
)
