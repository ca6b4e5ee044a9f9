"""What checked mode calls where a value and its twin differ, as LLVM text for the sanitizer (see `unset`).

Needs @san_report.
"""

from __future__ import annotations

from llmptx.engine.context import DIVISION, LEFT, SUSPECT, UNSET
from llmptx.engine.races import word

# lanes: at least one. The lowest of them is named.
TEXT = f"""
declare i32 @llvm.cttz.i32(i32, i1)

define void @san_unset(ptr %ctx, i32 %lanes, i32 %pc, i32 %first) noinline {{
  %lane = call i32 @llvm.cttz.i32(i32 %lanes, i1 true)
  %thread = add i32 %first, %lane
  call void @san_report(ptr %ctx, i64 {UNSET}, i32 %pc, i32 %thread, i64 0, i32 0, i64 0)
  ret void
}}

define void @san_suspect(ptr %ctx, i32 %lanes, i32 %pc, i32 %first, ptr %sources) noinline {{
  %lane = call i32 @llvm.cttz.i32(i32 %lanes, i1 true)
  %thread = add i32 %first, %lane
  %sp = getelementptr i32, ptr %sources, i32 %lane
  %source = load i32, ptr %sp
  %other = zext i32 %source to i64
  call void @san_report(ptr %ctx, i64 {SUSPECT}, i32 %pc, i32 %thread, i64 0, i32 0, i64 %other)
  ret void
}}

define void @san_divided(ptr %ctx, i32 %lanes, i32 %pc, i32 %first) noinline {{
  %lane = call i32 @llvm.cttz.i32(i32 %lanes, i1 true)
  %thread = add i32 %first, %lane
  call void @san_report(ptr %ctx, i64 {DIVISION}, i32 %pc, i32 %thread, i64 0, i32 0, i64 0)
  ret void
}}

define void @san_unset_store(ptr %ctx, ptr %addresses, i32 %mask, i32 %pc, i32 %first, i32 %offset, i32 %size,
i32 %width) noinline {{
entry:
{word("shared", "shared")}{word("ssize", "shared_size")}{word("local", "local")}{word("lsize", "local_size")}
{word("arena", "arena")}{word("shadow", "shadow")}
  %offset64 = zext i32 %offset to i64
  %size64 = zext i32 %size to i64
  br label %lanes
lanes:
  %lane = phi i32 [ 0, %entry ], [ %lane1, %next ]
  %bit = lshr i32 %mask, %lane
  %on = trunc i32 %bit to i1
  br i1 %on, label %where, label %next
where:
  %ap = getelementptr i64, ptr %addresses, i32 %lane
  %a0 = load i64, ptr %ap
  %a = add i64 %a0, %offset64
  %srel = sub i64 %a, %shared
  %isshared = icmp ult i64 %srel, %ssize
  %lrel = sub i64 %a, %local
  %islocal = icmp ult i64 %lrel, %lsize
  %private = or i1 %isshared, %islocal
  br i1 %private, label %forget, label %report
report:
  %thread = add i32 %first, %lane
  call void @san_report(ptr %ctx, i64 {UNSET}, i32 %pc, i32 %thread, i64 %a, i32 %size, i64 0)
  br label %next
forget:
  %who = add i32 %first, %lane
  call void @san_report(ptr %ctx, i64 {LEFT}, i32 %pc, i32 %who, i64 %a, i32 %size, i64 0)
  %rel = sub i64 %a, %arena
  %sh = add i64 %shadow, %rel
  br label %bytes
bytes:
  %i = phi i64 [ 0, %forget ], [ %i1, %bytes ]
  %at = add i64 %sh, %i
  %p = inttoptr i64 %at to ptr
  %b = load i8, ptr %p
  %less = and i8 %b, -3
  store i8 %less, ptr %p
  %i1 = add i64 %i, 1
  %more.bytes = icmp ult i64 %i1, %size64
  br i1 %more.bytes, label %bytes, label %next
next:
  %lane1 = add i32 %lane, 1
  %more = icmp ult i32 %lane1, %width
  br i1 %more, label %lanes, label %out
out:
  ret void
}}
"""
