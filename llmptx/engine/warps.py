"""The checked mode's accesses of whole warps, in vectors: nothing is done lane by lane where all is well.

Each function here answers for one form of access: may it be made, by which lanes. It reads and writes the
shadows that `sanitizer` and `races` describe, as they do; where a lane is at fault, or may be,
it leaves the access to them. Knows addresses and shadows; no registers, no instructions.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir

from llmptx.engine.context import INDEX
from llmptx.engine.emit import I1, I32, I64, IR, PTR, suffix
from llmptx.engine.library import LIBRARY
from llmptx.engine.memory import ADDRESSABLE, INITIALISED, READ_ONLY
from llmptx.engine.races import SPLIT

LANES = 32
TOTALS = (4, 8, 16)
GROUP = 8  # lanes, or pieces of four bytes, that are looked at together
WHO, SEVERAL_LANES, SEVERAL_WARPS, STRONG = 4095, 4096, 8192, 16384
_WIDE = ir.VectorType(I64, GROUP)
_FLAGS = ir.VectorType(I1, GROUP)
_EACH = 0x01010101


def check_name(form: str, stores: bool, total: int) -> str:
    """form: `one` address for all lanes, `row` where lanes are neighbours, `any`. total: bytes of a lane."""
    return f"{LIBRARY}check.{form}.{'store' if stores else 'load'}.{total}"


@cache
def check_text(form: str, stores: bool, total: int) -> str:
    """The function of that name: i32 (ctx, address of lane 0, addresses, mask, pc, thread of lane 0, values,
    bytes of an element, elements); addresses and values are those of `sanitizer`.

    Returns the lanes that make the access. A store it could not answer for is made already: no lanes.
    """
    return _Check(form, stores, total).build()


class _Check:
    """Builds one function. Pieces of four bytes are the grain: `pieces` of them a lane."""

    def __init__(self, form: str, stores: bool, total: int) -> None:
        self.form, self.stores, self.total = form, stores, total
        self.pieces = total // 4
        self.module = ir.Module()
        types = [PTR, I64, PTR, I32, I32, I32, PTR, I32, I32]
        name = check_name(form, stores, total)
        self.function = ir.Function(self.module, ir.FunctionType(I32, types), name)
        self.ctx, self.base, self.addresses, self.mask, self.pc, self.first, *self.data = self.function.args
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))

    def build(self) -> str:
        b = self.b
        self.slow = self.function.append_basic_block("slow")
        self.fine = self.function.append_basic_block("fine")
        some = self.function.append_basic_block("some")
        b.cbranch(b.icmp_unsigned("==", self.mask, _i32(0)), self.fine, some)
        b.position_at_end(some)
        self.spilled = self._memory(ir.ArrayType(I64, LANES))
        self.arena, self.shadow = self._word("arena"), self._word("shadow")
        place = self._pointers(b.add(self._word("homes"), b.shl(b.zext(self.pc, I64), _i64(4))))
        self.home = b.load(place, typ=I64)
        room = b.sub(b.load(b.gep(place, [_i64(1)], source_etype=I64), typ=I64), _i64(self.total))
        self.room = b.select(b.icmp_signed("<", room, _i64(0)), _i64(0), room)
        self.low = self._count("cttz")
        self.high = b.sub(_i32(LANES - 1), self._count("ctlz"))
        everything, anything = getattr(self, f"_states_{self.form}")()
        self._judge(everything, anything)
        self._races()
        b.position_at_end(self.slow)
        self._leave_it()
        b.position_at_end(self.fine)
        b.ret(self.mask)
        return str(self.module)

    # small things

    def _memory(self, type: ir.Type) -> IR:
        """On the stack; an opaque pointer, since vectors are stored there too."""
        memory = self.b.alloca(type)
        memory.type = PTR
        return memory

    def _word(self, name: str) -> IR:
        return self.b.load(self._place(name), typ=I64)

    def _place(self, name: str) -> IR:
        return self.b.gep(self.ctx, [_i64(INDEX[name])], source_etype=I64)

    def _call(self, name: str, result: ir.Type, arguments: list[Any]) -> IR:
        function = self.module.globals.get(name)
        if function is None:
            function = ir.Function(self.module, ir.FunctionType(result, [a.type for a in arguments]), name)
        return self.b.call(function, arguments)

    def _count(self, name: str) -> IR:
        return self._call(f"llvm.{name}.i32", I32, [self.mask, ir.Constant(I1, 0)])

    def _splat(self, x: IR, count: int = GROUP) -> IR:
        b, vector = self.b, ir.VectorType(x.type, count)
        one = b.insert_element(ir.Constant(vector, ir.Undefined), x, _i32(0))
        zeros = ir.Constant(ir.VectorType(I32, count), [0] * count)
        return b.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)

    def _like(self, x: IR | int, vector: IR) -> IR:
        """A scalar, or a number, as what `vector` is."""
        if isinstance(x, int):
            x = ir.Constant(I64, x)
        return self._splat(x) if isinstance(vector.type, ir.VectorType) else x

    def _some(self, flags: IR) -> IR:
        if flags.type == I1:
            return flags
        bits = ir.IntType(flags.type.count)
        return self.b.icmp_unsigned("!=", self.b.bitcast(flags, bits), ir.Constant(bits, 0))

    def _unless(self, wrong: IR) -> None:
        """Goes on where it is not so; else lane by lane."""
        on = self.function.append_basic_block("on")
        self.b.cbranch(wrong, self.slow, on)
        self.b.position_at_end(on)

    def _moved(self, verb: str, type: ir.Type, arguments: list[Any]) -> IR:
        where = {"load": "p0", "store": "p0"}.get(verb, f"v{type.count}p0")
        result = type if verb in ("load", "gather") else ir.VoidType()
        return self._call(f"llvm.masked.{verb}.{suffix(type)}.{where}", result, arguments)

    def _pointers(self, addresses: IR) -> IR:
        vector = isinstance(addresses.type, ir.VectorType)
        return self.b.inttoptr(addresses, ir.VectorType(PTR, addresses.type.count) if vector else PTR)

    def _loop(self, count: int) -> tuple[IR, ir.Block, IR]:
        """Opens a loop: (its number, its head, what `_again` closes it with)."""
        b = self.b
        before, head = b.block, self.function.append_basic_block("head")
        b.branch(head)
        b.position_at_end(head)
        number = b.phi(I32)
        number.add_incoming(_i32(0), before)
        return number, head, _i32(count)

    def _again(self, number: IR, head: ir.Block, count: IR) -> None:
        b = self.b
        following = b.add(number, _i32(1))
        number.add_incoming(following, b.block)
        after = self.function.append_basic_block("after")
        b.cbranch(b.icmp_unsigned("<", following, count), head, after)
        b.position_at_end(after)

    def _lanes(self, group: IR, pieces: int) -> tuple[IR, IR]:
        """(lane, whether it takes part) of a group's members, where `pieces` in a row are one lane's."""
        b = self.b
        steps = ir.Constant(ir.VectorType(I32, GROUP), [i // pieces for i in range(GROUP)])
        lane = b.add(self._splat(b.mul(group, _i32(GROUP // pieces))), steps)
        bit = b.lshr(self._splat(self.mask), lane)
        return lane, b.trunc(bit, _FLAGS)

    # the shadow's bytes: (what all have, what any has), and stores mark theirs

    def _abroad(self, address: IR) -> IR:
        """Whether an access there begins or ends outside the buffer that its pointer leads to, or the arena.

        Where that has fewer bytes than an access, the shadow's bytes tell the end.
        """
        b = self.b
        return b.icmp_unsigned(
            ">", b.sub(address, self._like(self.home, address)), self._like(self.room, address)
        )

    def _misaligned(self, address: IR) -> IR:
        b = self.b
        odd = b.and_(address, self._like(self.total - 1, address))
        return b.icmp_unsigned("!=", odd, self._like(0, address))

    def _states_one(self) -> tuple[IR, IR]:
        b = self.b
        relative = b.sub(self.base, self.arena)
        self.at = self.base
        self._unless(b.or_(self._abroad(self.base), self._misaligned(self.base)))
        states = b.load(self._pointers(b.add(self.shadow, relative)), typ=ir.VectorType(I32, self.pieces))
        return self._reduced("and", states), self._reduced("or", states)

    def _states_row(self) -> tuple[IR, IR]:
        b = self.b
        relative = b.sub(self.base, self.arena)
        first = b.add(self.base, b.mul(b.zext(self.low, I64), _i64(self.total)))
        last = b.add(self.base, b.mul(b.zext(self.high, I64), _i64(self.total)))
        self.at = first
        self._unless(b.or_(b.or_(self._abroad(first), self._abroad(last)), self._misaligned(self.base)))
        count = LANES * self.pieces
        vector = ir.VectorType(I32, count)
        order = ir.Constant(ir.VectorType(I32, count), [i // self.pieces for i in range(count)])
        lanes = b.bitcast(self.mask, ir.VectorType(I1, LANES))
        self.row_mask = b.shuffle_vector(lanes, ir.Constant(lanes.type, ir.Undefined), order)
        self.row_place = self._pointers(b.add(self.shadow, relative))
        zero = ir.Constant(vector, None)
        arguments = [self.row_place, _i32(4), self.row_mask]
        states = self._moved("load", vector, [*arguments, zero])
        self.row_states = states
        ones = ir.Constant(vector, [0xFFFFFFFF] * count)
        return self._reduced("and", b.select(self.row_mask, states, ones)), self._reduced("or", states)

    def _states_any(self) -> tuple[IR, IR]:
        b = self.b
        vector = ir.VectorType(I32, GROUP)
        every, some = self._memory(vector), self._memory(vector)
        b.store(ir.Constant(vector, [0xFFFFFFFF] * GROUP), every)
        b.store(ir.Constant(vector, None), some)
        first = b.gep(self.addresses, [b.zext(self.low, I64)], source_etype=I64)
        self.at = b.load(first, typ=I64)
        number, head, count = self._loop(LANES // GROUP)
        address, active = self._group(number)
        relative = b.sub(address, self._splat(self.arena))
        wrong = b.or_(self._abroad(address), self._misaligned(address))
        wrong = b.or_(wrong, self._elsewhere(address))
        self._unless(self._some(b.and_(wrong, active)))
        for piece in range(self.pieces):
            place = b.add(b.add(relative, self._splat(self.shadow)), _wide(4 * piece))
            given = [self._pointers(place), _i32(4), active, ir.Constant(vector, None)]
            states = self._moved("gather", vector, given)
            ones = ir.Constant(vector, [0xFFFFFFFF] * GROUP)
            b.store(b.and_(b.load(every, typ=vector), b.select(active, states, ones)), every)
            b.store(b.or_(b.load(some, typ=vector), states), some)
        self._again(number, head, count)
        return self._reduced("and", b.load(every, typ=vector)), self._reduced("or", b.load(some, typ=vector))

    def _group(self, number: IR) -> tuple[IR, IR]:
        """(addresses, who takes part) of a group of lanes."""
        place = self.b.gep(self.addresses, [self.b.mul(number, _i32(GROUP))], source_etype=I64)
        _, active = self._lanes(number, 1)
        return self.b.load(place, typ=_WIDE, align=8), active

    def _elsewhere(self, address: IR) -> IR:
        """Whether a lane's address is in another window than the first lane's."""
        b = self.b
        wrong = None
        for name in ("shared", "local"):
            start, size = self._word(name), self._word(f"{name}_size")
            mine = b.icmp_unsigned("<", b.sub(self.at, start), size)
            theirs = b.icmp_unsigned("<", b.sub(address, self._splat(start)), self._splat(size))
            differs = b.xor(theirs, self._splat(mine))
            wrong = differs if wrong is None else b.or_(wrong, differs)
        return wrong

    def _reduced(self, verb: str, vector: IR) -> IR:
        return self._call(f"llvm.vector.reduce.{verb}.{suffix(vector.type)}", I32, [vector])

    def _judge(self, everything: IR, anything: IR) -> None:
        """Goes on where the bytes may be accessed so, and marks what is stored."""
        b = self.b
        need = _EACH * (ADDRESSABLE if self.stores else ADDRESSABLE | INITIALISED)
        fixed = _EACH * READ_ONLY
        wrong = b.icmp_unsigned("!=", b.and_(everything, _i32(need)), _i32(need))
        written = b.icmp_unsigned("!=", b.and_(anything, _i32(fixed)), _i32(0))
        all_fixed = b.icmp_unsigned("==", b.and_(everything, _i32(fixed)), _i32(fixed))
        mixed = written if self.stores else b.xor(written, all_fixed)
        self._unless(b.or_(wrong, mixed))
        self.fixed = all_fixed
        if self.stores:
            new = b.icmp_unsigned(
                "!=", b.and_(everything, _i32(_EACH * INITIALISED)), _i32(_EACH * INITIALISED)
            )
            with b.if_then(new):
                getattr(self, f"_mark_{self.form}")()

    def _mark_one(self) -> None:
        b, vector = self.b, ir.VectorType(I32, self.pieces)
        place = self._pointers(b.add(self.shadow, b.sub(self.base, self.arena)))
        marks = ir.Constant(vector, [_EACH * INITIALISED] * self.pieces)
        b.store(b.or_(b.load(place, typ=vector, align=4), marks), place, align=4)

    def _mark_row(self) -> None:
        b, vector = self.b, self.row_states.type
        marked = b.or_(self.row_states, ir.Constant(vector, [_EACH * INITIALISED] * vector.count))
        self._moved("store", vector, [marked, self.row_place, _i32(4), self.row_mask])

    def _mark_any(self) -> None:
        b, vector = self.b, ir.VectorType(I32, GROUP)
        number, head, count = self._loop(LANES // GROUP)
        address, active = self._group(number)
        offset = b.sub(self.shadow, self.arena)
        for piece in range(self.pieces):
            place = self._pointers(b.add(b.add(address, self._splat(offset)), _wide(4 * piece)))
            given = [place, _i32(4), active]
            states = self._moved("gather", vector, [*given, ir.Constant(vector, None)])
            marks = ir.Constant(vector, [_EACH * INITIALISED] * GROUP)
            self._moved("scatter", vector, [b.or_(states, marks), *given])
        self._again(number, head, count)

    # races

    def _races(self) -> None:
        b = self.b
        shared, racing = (self.function.append_basic_block(n) for n in ("shared", "racing"))
        others, far = (self.function.append_basic_block(n) for n in ("others", "global"))
        home = self._word("shared")
        inside = b.icmp_unsigned("<", b.sub(self.at, home), self._word("shared_size"))
        b.cbranch(inside, shared, others)
        names = ("writers", "readers", "start", "time", "since", "block", "order", "barrier", "forgiven")
        b.position_at_end(shared)
        epoch = self._word("epoch")
        ours = [self._word("writers"), self._word("readers"), home, *[epoch] * 5, _i64(0)]
        b.branch(racing)
        b.position_at_end(others)
        private = b.icmp_unsigned("<", b.sub(self.at, self._word("local")), self._word("local_size"))
        unasked = b.icmp_unsigned("==", self._word("global_races"), _i64(0))
        b.cbranch(b.or_(b.or_(private, unasked), self.fixed), self.fine, far)
        b.position_at_end(far)
        theirs = self._global_times()
        end = b.block
        b.branch(racing)
        b.position_at_end(racing)
        self.of = {}
        for name, mine, other in zip(names, ours, theirs, strict=True):
            self.of[name] = b.phi(I64)
            self.of[name].add_incoming(mine, shared)
            self.of[name].add_incoming(other, end)
        self.warp = b.zext(b.lshr(self.first, _i32(5)), I64)
        epochs = self._pointers(self._word("warp_epochs"))
        met = b.load(b.gep(epochs, [self.warp], source_etype=I64), typ=I64)
        self.met = b.and_(met, _i64(0xFFFF))
        self.stamp = b.or_(b.shl(self.of["time"], _i64(32)), b.shl(self.met, _i64(16)))
        self.fresh = b.shl(self.of["since"], _i64(32))
        getattr(self, f"_pass_{self.form}")()
        b.branch(self.fine)

    def _global_times(self) -> list[IR]:
        """The tables and times of global memory, after the clock was set for this access."""
        b = self.b
        epoch, time = self._word("epoch"), self._word("time")
        passed = b.icmp_unsigned("!=", epoch, self._word("seen_epoch"))
        now = b.add(time, b.zext(passed, I64))
        barrier = b.select(passed, now, self._word("barrier_time"))
        for name, value in (("time", now), ("barrier_time", barrier), ("seen_epoch", epoch)):
            b.store(value, self._place(name))
        row = self._pointers(self._word("block_row"))
        b.store(self._word("block"), b.gep(row, [_i64(2)], source_etype=I64))
        strong = self._word("strong_time")
        order = b.select(b.icmp_unsigned(">", strong, barrier), strong, barrier)
        tables = [self._word("global_writers"), self._word("global_readers"), self.arena]
        since, block = self._word("launch_time"), self._word("block_time")
        return [*tables, now, since, block, order, barrier, _i64(0 if self.stores else STRONG)]

    def _entries(self, address: IR, table: str) -> IR:
        """Where a table has the words of pieces: two bytes of it stand for one."""
        b = self.b
        offset = b.shl(b.sub(address, self._like(self.of["start"], address)), self._like(1, address))
        return self._pointers(b.add(offset, self._like(self.of[table], address)))

    def _pass_one(self) -> None:
        """All lanes at one address: as the first that reads, or the last that writes."""
        b = self.b
        several = b.icmp_unsigned("!=", self.low, self.high)
        lane = self.high if self.stores else self.low
        thread = b.zext(b.add(b.add(self.first, lane), _i32(1)), I64)
        # What one of several lanes did, the others did not.
        asked = b.select(several, _i64(0), thread)
        mine = b.or_(self.stamp, thread)
        if not self.stores:
            mine = b.or_(mine, b.select(several, _i64(SEVERAL_LANES), _i64(0)))
        for piece in range(self.pieces):
            address = b.add(self.base, _i64(4 * piece))
            writer, reader = (self._entries(address, table) for table in ("writers", "readers"))
            w, r = b.load(writer, typ=I64), b.load(reader, typ=I64)
            if self.stores:
                # Who may have read it among these lanes is not asked: they are one of them and the others.
                self._unless(b.and_(several, b.icmp_unsigned(">=", r, self.fresh)))
                self._writable(w, r, b.select(several, _i64(0), mine), asked, None)
                b.store(mine, writer)
            else:
                self._unwritten(w, asked, None)
                new = self._reader(r, mine, thread, several)
                b.store(new, reader)

    def _pass_row(self) -> None:
        b = self.b
        number, head, count = self._loop(LANES * self.pieces // GROUP)
        lane, active = self._lanes(number, self.pieces)
        address = b.add(self.base, b.mul(b.zext(number, I64), _i64(4 * GROUP)))
        writer, reader = (self._entries(address, table) for table in ("writers", "readers"))
        given = [_i32(8), active]
        w = self._moved("load", _WIDE, [writer, *given, ir.Constant(_WIDE, None)])
        r = self._moved("load", _WIDE, [reader, *given, ir.Constant(_WIDE, None)])
        thread, mine = self._mine(lane)
        if self.stores:
            self._writable(w, r, mine, thread, active)
            self._moved("store", _WIDE, [mine, writer, *given])
        else:
            self._unwritten(w, thread, active)
            new = self._reader(r, mine, thread, None)
            with b.if_then(self._held(b.icmp_unsigned("!=", new, r), active)):
                self._moved("store", _WIDE, [new, reader, *given])
        self._again(number, head, count)

    def _pass_any(self) -> None:
        b = self.b
        number, head, count = self._loop(LANES // GROUP)
        lane, _ = self._lanes(number, 1)
        start, active = self._group(number)
        thread, mine = self._mine(lane)
        given = [_i32(8), active]
        for piece in range(self.pieces):
            address = b.add(start, _wide(4 * piece))
            writer, reader = (self._entries(address, table) for table in ("writers", "readers"))
            w = self._moved("gather", _WIDE, [writer, *given, ir.Constant(_WIDE, None)])
            r = self._moved("gather", _WIDE, [reader, *given, ir.Constant(_WIDE, None)])
            if self.stores:
                self._writable(w, r, mine, thread, active)
                self._scatter_writer(w, mine, writer, active)
            else:
                self._unwritten(w, thread, active)
                new = self._reader(r, mine, thread, None)
                with b.if_then(self._held(b.icmp_unsigned("!=", new, r), active)):
                    self._scatter_reader(new, reader, active)
        self._again(number, head, count)

    def _mine(self, lane: IR) -> tuple[IR, IR]:
        """(thread + 1, the word) of a group's lanes."""
        b = self.b
        thread = b.zext(b.add(lane, self._splat(b.add(self.first, _i32(1)))), _WIDE)
        return thread, b.or_(thread, self._splat(self.stamp))

    def _scatter_writer(self, old: IR, mine: IR, where: IR, active: IR) -> None:
        """Where two lanes store to one place, it is as if none had: what they store decides, lane by lane."""
        b, given = self.b, [where, _i32(8), active]
        self._moved("scatter", _WIDE, [mine, *given])
        got = self._moved("gather", _WIDE, [*given, mine])
        clash, on = (self.function.append_basic_block(n) for n in ("clash", "on"))
        b.cbranch(self._some(b.icmp_unsigned("!=", got, mine)), clash, on)
        b.position_at_end(clash)
        self._moved("scatter", _WIDE, [old, *given])
        b.branch(self.slow)
        b.position_at_end(on)

    def _scatter_reader(self, new: IR, where: IR, active: IR) -> None:
        """Where several lanes read one place, the word says so."""
        b, given = self.b, [where, _i32(8), active]
        self._moved("scatter", _WIDE, [new, *given])
        got = self._moved("gather", _WIDE, [*given, new])
        differs = b.icmp_unsigned("!=", got, new)
        with b.if_then(self._some(differs)):
            several = b.or_(got, _wide(SEVERAL_LANES))
            self._moved("scatter", _WIDE, [several, where, _i32(8), differs])

    def _held(self, flags: IR, active: IR | None) -> IR:
        return self._some(flags if active is None else self.b.and_(flags, active))

    def _stale(self, word: IR) -> IR:
        return self.b.icmp_unsigned("<", word, self._like(self.fresh, word))

    def _writable(self, w: IR, r: IR, mine: IR, thread: IR, active: IR | None) -> None:
        """Goes on where nobody has accessed it whom nothing orders before this store."""
        b = self.b
        ours = [b.or_(self._stale(x), b.icmp_unsigned("==", x, mine)) for x in (w, r)]
        doubt = self._held(b.not_(b.and_(*ours)), active)
        with b.if_then(doubt):
            wrong = b.or_(self._conflict(w, thread), self._conflict(r, thread))
            self._unless(self._held(wrong, active))

    def _unwritten(self, w: IR, thread: IR, active: IR | None) -> None:
        """Goes on where nobody has written it whom nothing orders before this load."""
        b = self.b
        with b.if_then(self._held(b.not_(self._stale(w)), active)):
            strong = b.and_(w, self._like(self.of["forgiven"], w))
            split = b.icmp_unsigned("!=", b.and_(w, self._like(SPLIT, w)), self._like(0, w))
            weak = b.icmp_unsigned("==", strong, self._like(0, w))
            wrong = b.and_(self._conflict(w, thread), b.or_(weak, split))
            self._unless(self._held(wrong, active))

    def _parts(self, word: IR, thread: IR) -> tuple[IR, IR, IR, IR]:
        """(its time, whether of this warp, of the same meeting of the warp, of this thread alone)."""
        b = self.b

        def like(x: IR | int) -> IR:
            return self._like(x, word)

        time = b.lshr(word, like(32))
        who = b.and_(word, like(WHO))
        warp = b.icmp_unsigned("==", b.lshr(b.sub(who, like(1)), like(5)), like(self.warp))
        met = b.icmp_unsigned("==", b.and_(b.lshr(word, like(16)), like(0xFFFF)), like(self.met))
        return time, warp, met, b.icmp_unsigned("==", who, thread)

    def _conflict(self, word: IR, thread: IR) -> IR:
        """Whether an earlier access may be another's and unordered; so that of another block always is."""
        b = self.b

        def has(flag: int) -> IR:
            return b.icmp_unsigned("!=", b.and_(word, self._like(flag, word)), self._like(0, word))

        time, warp, met, own = self._parts(word, thread)
        ordered = b.and_(warp, b.not_(met))
        other = b.and_(b.or_(b.not_(own), has(SEVERAL_LANES)), b.not_(ordered))
        within = b.icmp_unsigned(">=", time, self._like(self.of["block"], word))
        lately = b.icmp_unsigned(">=", time, self._like(self.of["order"], word))
        here = b.and_(lately, b.or_(other, has(SEVERAL_WARPS)))
        apart = b.or_(b.not_(within), here)
        return b.and_(b.or_(apart, has(SPLIT)), b.and_(has(WHO), b.not_(self._stale(word))))

    def _reader(self, word: IR, mine: IR, thread: IR, several: IR | None) -> IR:
        """What stands for the readers once this thread has read, too. several: lanes of the warp did."""
        b = self.b

        def like(x: IR | int) -> IR:
            return self._like(x, word)

        time, warp, met, own = self._parts(word, thread)
        nobody = b.icmp_unsigned("==", b.and_(word, like(WHO)), like(0))
        fresh = b.or_(nobody, self._stale(word))
        within = b.icmp_unsigned(">=", time, like(self.of["block"]))
        waited = b.and_(within, b.icmp_unsigned("<", time, like(self.of["barrier"])))
        weak = b.and_(word, like(~STRONG))
        alone = own if several is None else b.and_(own, b.not_(several))
        same = b.select(alone, weak, b.or_(weak, like(SEVERAL_LANES)))
        later = b.or_(mine, b.and_(word, like(SEVERAL_WARPS)))
        inside = b.select(warp, b.select(met, same, later), b.or_(weak, like(SEVERAL_WARPS)))
        kept = b.select(within, inside, word)
        return b.select(b.or_(fresh, waited), mine, kept)

    # what is left to be done lane by lane

    def _leave_it(self) -> None:
        b = self.b
        addresses = self.addresses
        if self.form != "any":
            addresses = self.spilled
            step = self.total if self.form == "row" else 0
            steps = ir.Constant(ir.VectorType(I64, LANES), [step * i for i in range(LANES)])
            b.store(b.add(self._splat(self.base, LANES), steps), addresses, align=8)
        head = [self.ctx, addresses, self.mask, self.pc, self.first]
        if self.stores:
            self._call("san_store", ir.VoidType(), [*head, *self.data, _i32(LANES)])
            b.ret(_i32(0))
        else:
            b.ret(self._call("san_granted", I32, [*head, _i32(self.total), _i32(LANES)]))


def _i32(value: int) -> IR:
    return ir.Constant(I32, value)


def _i64(value: int) -> IR:
    return ir.Constant(I64, value)


def _wide(value: int) -> IR:
    return ir.Constant(_WIDE, [value] * GROUP)
