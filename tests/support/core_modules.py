"""Random core modules in text form that import from each other, for tests of the merger. Everything that can be called ends."""

from __future__ import annotations

from random import Random

OPERATORS = ("add", "sub", "mul", "and", "or", "xor", "rotl", "lt_u", "shr_s")


class Module:
    """One random module. It may import what earlier modules (`m0`, `m1`, ...) export, and functions of the host (`h`)."""

    def __init__(self, rnd: Random, number: int, earlier: list[Module]) -> None:
        self.rnd = rnd
        self.number = number
        self.exports: dict[str, list[str]] = {
            "func": [],
            "memory": [],
            "table": [],
            "global": [],
            "mutable": [],
            "tag": [],
        }
        self.names: dict[str, list[str]] = {kind: [] for kind in self.exports}
        self.fields: list[str] = []
        self.local_tags = 0
        self._types()
        self._imports(earlier)
        self._definitions()
        self._segments()
        self._functions()
        self._export_all()

    def text(self) -> str:
        """The module's text."""
        return "(module " + "\n".join(self.fields) + ")"

    def _types(self) -> None:
        for _ in range(self.rnd.choice((0, 0, 3, 70))):
            self.fields.append(f"(type (func (param {'i64 ' * self.rnd.randrange(4)})))")
        if self.rnd.random() < 0.3:
            self.fields.append(
                "(rec (type $a (func (param (ref null $b)))) (type $b (struct (field (ref null $a) i8))))"
            )
        self.fields.append(
            "(type $t (func (param i32 i32) (result i32))) (type $p (func (param i32) (result i32 i32)))"
        )
        self.fields.append("(type $x (func (param i32)))")

    def _imports(self, earlier: list[Module]) -> None:
        shapes = {
            "func": "(func {} (type $t))",
            "memory": "(memory {} 1)",
            "table": "(table {} 8 funcref)",
            "global": "(global {} i32)",
            "mutable": "(global {} (mut i32))",
            "tag": "(tag {} (type $x))",
        }
        choices = [("func", "h", str(n)) for n in range(3)]
        choices += [(k, f"m{m.number}", name) for m in earlier for k, names in m.exports.items() for name in names]
        self.rnd.shuffle(choices)
        for kind, module, name in choices[: self.rnd.randrange(12)]:
            identifier = f"$i{len(self.fields)}"
            self.fields.append(f'(import "{module}" "{name}" {shapes[kind].format(identifier)})')
            self.names[kind].append(identifier)

    def _definitions(self) -> None:
        pick = self.rnd.randrange
        for n in range(pick(3)):
            self._add("table", f"$t{n}", f"(table $t{n} {8 + pick(3)} funcref)")
        for n in range(pick(3)):
            self._add("memory", f"$m{n}", f"(memory $m{n} {1 + pick(2)} 4)")
        for n in range(pick(3)):
            self._add("tag", f"$x{n}", f"(tag $x{n} (type $x))")
        imported = list(self.names["global"])
        for n in range(pick(4)):
            initial = f"(i32.const {pick(5)})"
            if imported and pick(2):
                initial = f"(i32.add (global.get {self.rnd.choice(imported)}) {initial})"
            kind, of = ("mutable", "(mut i32)") if pick(2) else ("global", "i32")
            self._add(kind, f"$g{n}", f"(global $g{n} {of} {initial})")

    def _add(self, kind: str, identifier: str, text: str) -> None:
        self.names[kind].append(identifier)
        self.fields.append(text)

    def _offset(self, below: int) -> str:
        if self.names["global"] and self.rnd.random() < 0.4:
            return f"(global.get {self.rnd.choice(self.names['global'])})"
        return f"(i32.const {self.rnd.randrange(below)})"

    def _segments(self) -> None:
        rnd = self.rnd
        self.own = [f"$f{n}" for n in range(1 + rnd.randrange(4))]
        functions = self.names["func"] + self.own
        self.elements: list[str] = []
        self.datas: list[str] = []
        for n in range(rnd.randrange(4)):
            items = " ".join(rnd.choice(functions) for _ in range(rnd.randrange(3)))
            expressions = "funcref " + " ".join(f"(ref.func {f})" for f in items.split()) + " (ref.null func)"
            where = rnd.choice(self.names["table"]) if self.names["table"] and rnd.random() < 0.7 else None
            form = rnd.choice((f"func {items}", expressions))
            self.fields.append(f"(elem $e{n} {f'(table {where}) (offset {self._offset(7)})' if where else ''} {form})")
            self.elements.append(f"$e{n}")
        self.fields.append(f"(elem declare func {' '.join(functions)})")
        for n in range(rnd.randrange(4)):
            where = rnd.choice(self.names["memory"]) if self.names["memory"] and rnd.random() < 0.7 else None
            content = "".join(f"\\{rnd.randrange(256):02x}" for _ in range(rnd.randrange(20)))
            self.fields.append(
                f'(data $d{n} {f"(memory {where}) (offset {self._offset(200)})" if where else ""} "{content}")'
            )
            self.datas.append(f"$d{n}")

    def _functions(self) -> None:
        for n, name in enumerate(self.own):
            callable_ = self.names["func"] + self.own[:n]
            body = " ".join(self._statement(callable_) for _ in range(self.rnd.randrange(4)))
            result = self._value(callable_, 3)
            if callable_ and self.rnd.random() < 0.2:
                result = f"(return_call {self.rnd.choice(callable_)} (local.get 1) {result})"
            locals_ = f"(local {'i64 ' * self.rnd.randrange(3)} f64 (ref null $t))"
            self.fields.append(f"(func {name} (type $t) {locals_} {body} {result})")
        self.names["func"] += self.own
        if self.rnd.random() < 0.35:
            call = f"(drop (call {self.rnd.choice(self.names['func'])} (i32.const 3) (i32.const 4)))"
            self.fields.append(f"(func $start {call}) (start $start)")

    def _export_all(self) -> None:
        for kind, identifiers in self.names.items():
            word = "global" if kind == "mutable" else kind
            for n, identifier in enumerate(identifiers):
                self.fields.append(f'(export "{kind}{n}" ({word} {identifier}))')
                self.exports[kind].append(f"{kind}{n}")

    def _address(self, callable_: list[str]) -> str:
        return f"(i32.and {self._value(callable_, 0)} (i32.const 127))"

    def _slot(self, callable_: list[str]) -> str:
        return f"(i32.and {self._value(callable_, 0)} (i32.const 7))"

    def _statement(self, callable_: list[str]) -> str:
        rnd = self.rnd
        value, small = self._value(callable_, 2), f"(i32.const {rnd.randrange(3)})"
        forms = [f"(drop {value})", f"(local.set 0 {value})"]
        if self.names["mutable"]:
            forms.append(f"(global.set {rnd.choice(self.names['mutable'])} {value})")
        if self.names["memory"]:
            m, m2 = rnd.choice(self.names["memory"]), rnd.choice(self.names["memory"])
            at = self._address(callable_)
            forms += [
                f"(i32.store {m} offset={rnd.choice((0, 4, 300))} {at} {value})",
                f"(i64.store8 {m} {at} (i64.const 7))",
                f"(memory.fill {m} {at} {value} {small})",
                f"(memory.copy {m} {m2} {at} {self._address(callable_)} {small})",
                f"(v128.store {m} {at} (v128.const i32x4 1 2 3 {rnd.randrange(9)}))",
                f"(v128.store8_lane {m} 3 {at} (i32x4.splat {value}))",
            ]
            forms += [f"(memory.init {m} {d} {at} (i32.const 0) {small})" for d in self.datas[:1]]
        forms += [f"(data.drop {d})" for d in self.datas[1:2]]
        if self.names["table"]:
            t, t2 = rnd.choice(self.names["table"]), rnd.choice(self.names["table"])
            function = rnd.choice(self.names["func"] + self.own)
            forms += [
                f"(table.set {t} {self._slot(callable_)} (ref.func {function}))",
                f"(table.copy {t} {t2} {self._slot(callable_)} {self._slot(callable_)} {small})",
                f"(table.fill {t} {self._slot(callable_)} (table.get {t2} {self._slot(callable_)}) {small})",
                f"(drop (table.grow {t} (ref.null func) {small}))",
            ]
            forms += [f"(table.init {t} {e} {self._slot(callable_)} (i32.const 0) {small})" for e in self.elements[:1]]
        forms += [f"(elem.drop {e})" for e in self.elements[1:2]]
        return rnd.choice(forms)

    def _value(self, callable_: list[str], depth: int) -> str:
        rnd = self.rnd
        if depth <= 0:
            return rnd.choice(("(local.get 0)", "(local.get 1)", f"(i32.const {rnd.randrange(-70, 999)})"))
        below = self._value(callable_, depth - 1)
        other = self._value(callable_, depth - 2)
        labels = " ".join(str(rnd.randrange(2)) for _ in range(rnd.choice((0, 1, 5, 127, 128, 140))))
        forms = [
            f"(i32.{rnd.choice(OPERATORS)} {below} {other})",
            f"(i32.wrap_i64 (i64.mul (i64.extend_i32_s {below}) (i64.const {rnd.randrange(-(1 << 40), 1 << 40)})))",
            f"(i32.trunc_sat_f64_s (f64.add (f64.const 1.5) (f64.convert_i32_u {below})))",
            f"(block (result i32) (block (result i32) {below} (br_table {labels} 1 {other})))",
            f"(if (result i32) {below} (then {other}) (else (select (result i32) {other} (i32.const 9) {below})))",
            f"(block (result i32) {below} (block (type $p) (i32.const 2)) i32.add)",
            f"(i32x4.extract_lane 2 (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (i32x4.splat {below}) (v128.const i64x2 1 2)))",
            f"(i8x16.extract_lane_s 3 (i8x16.add (i8x16.splat {below}) (i32x4.relaxed_trunc_f32x4_s (f32x4.splat (f32.const 1)))))",
            f"(ref.is_null (ref.func {rnd.choice(self.names['func'] + self.own)}))",
            "(ref.is_null (ref.null $t))",
        ]
        if callable_:
            function = rnd.choice(callable_)
            forms += [f"(call {function} {below} {other})", f"(call_ref $t {below} {other} (ref.func {function}))"]
        forms += [f"(global.get {g})" for k in ("global", "mutable") for g in self.names[k][:2]]
        if self.names["memory"]:
            m = rnd.choice(self.names["memory"])
            at = self._address(callable_)
            forms += [
                f"(i32.load {m} offset={rnd.choice((0, 70))} {at})",
                f"(memory.size {m})",
                f"(i32.load16_u {m} {at})",
            ]
            forms += [
                f"(memory.grow {m} (i32.const {rnd.randrange(2)}))",
                f"(i32x4.extract_lane 0 (v128.load {m} {at}))",
            ]
        if self.names["table"]:
            t = rnd.choice(self.names["table"])
            forms += [f"(call_indirect {t} (type $t) {below} {other} {self._slot(callable_)})", f"(table.size {t})"]
        if self.names["tag"]:
            thrown, caught = rnd.choice(self.names["tag"]), rnd.choice(self.names["tag"])
            forms.append(
                f"(block (result i32) (try_table (result i32) (catch {caught} 0) (throw {thrown} {below}) (i32.const 5)))"
            )
        return rnd.choice(forms)


def modules(rnd: Random) -> list[str]:
    """The text of a few modules, each of which may import from those before it."""
    made: list[Module] = []
    for number in range(1 + rnd.randrange(4)):
        made.append(Module(rnd, number, made))
    return [module.text() for module in made]
