"""Rows for test_go_template.c: templates and conversations of ours, run by the oracle (oracle.go beside this).

    make_go_template.py ORACLE fix tests/fixtures/text/go_template.jsonl     # the rows of the fixture
    make_go_template.py ORACLE fuzz FILE SEED COUNT                          # random templates; GEMMAIKU_GO_TEMPLATES=FILE test_text_go_template
"""
import json, random, subprocess, sys


def U(content): return {"role": "user", "content": content}
def A(content): return {"role": "assistant", "content": content}
def S(content): return {"role": "system", "content": content}
def R(content): return {"role": "tool", "content": content}


CONVERSATIONS = [
    [U("hi")], [S("be brief"), U("hi")], [U("a"), A("b"), U("c")], [S("s"), U("a"), A(" b "), U("c\n")], [S("s"), U("a"), A("b"), U("c"), A("d")],
    [U("a"), U("b"), A("c"), A("d"), U("e")], [S("one"), S("two"), U("x")], [U("a"), A("b"), S("later"), U("c")], [S("only")], [U("")], [A("first"), U("x")],
    [U("t"), R("r1"), R("r2"), U("")], [S(""), U("\u00e9 <b> & \"q\" \u2028"), A("")]]

TEMPLATES = [
"{{ .Prompt }}","{{ .System }} {{ .Prompt }}","[{{ if .System }}{{ .System }}\n\n{{ end }}{{ .Prompt }}]{{ .Response }}<e>",
"{{ if .System }}<s>{{ .System }}</s>\n{{ end }}{{ if .Prompt }}<u>{{ .Prompt }}</u>\n{{ end }}<a>{{ .Response }}</a>\n",
"{{ range .Messages }}<{{ .Role }}>{{ .Content }}</>{{ end }}<assistant>",
"{{- range $i, $m := .Messages }}\n{{- if eq .Role \"user\" }}U{{ $i }}:{{ $m.Content }}\n{{ else if eq .Role \"assistant\" }}A:{{ .Content }}\n{{- else }}S({{ .Content }}){{ end }}\n{{- end }}",
"{{ $last := 0 }}{{ range $i, $_ := .Messages }}{{ $last = $i }}{{ end }}{{ $last }}",
"{{- range $i, $_ := .Messages }}{{- $last := eq (len (slice $.Messages $i)) 1 }}{{ .Content }}{{ if $last }}!{{ end }}{{ end }}",
"{{ range .Messages }}{{ if ne .Role \"system\" }}{{ continue }}{{ end }}{{ .Content }}{{ end }}|{{ range .Messages }}{{ if eq .Role \"assistant\" }}{{ break }}{{ end }}{{ .Content }}{{ end }}",
"{{ (index .Messages 0).Role }} {{ len .Messages }} {{ index .Messages 0 | len }}",
"{{ with .System }}[{{ . }}]{{ else }}none{{ end }}{{ range .Messages }}{{ with .Content }}{{ . }}{{ else }}empty{{ end }}{{ end }}",
"{{ with .Nope }}x{{ else with .System }}y{{ . }}{{ else }}z{{ end }}{{ range .Messages }}{{ end }}",
"{{ .Nope }} {{ if .Nope }}a{{ else }}b{{ end }}{{ .Prompt }}{{ .Messages | len }}",
"{{ if .Tools }}t{{ end }}{{ range .Tools }}x{{ else }}no{{ end }}{{ .Tools }} {{ json .Tools }}{{ len .Messages }}",
"{{ range .Messages }}{{ if .ToolCalls }}x{{ end }}{{ len .ToolCalls }}{{ .ToolCalls }}{{ .Images }}{{ .Thinking }}{{ .ToolName }}{{ json .Content }}{{ end }}",
"{{ range .Messages }}{{ .Name }}{{ end }}","{{ .Messages.Role }}","{{ .System.X }}{{ .Messages }}","{{ $.System }}{{ range .Messages }}{{ $.System }}{{ end }}",
"{{ and .System (len .Messages) }} {{ or .System \"no\" }} {{ not .System }} {{ and }}","{{ and .System (len .Messages) }} {{ or .System \"no\" }} {{ not .System }}",
"{{ if and .System (eq (len .Messages) 2) }}two{{ else if or .System .Nope }}sys{{ else }}-{{ end }}",
"{{ eq 1 1 }}{{ ne 1 2 }}{{ lt 1 2 }}{{ le 2 2 }}{{ gt 1 2 }}{{ ge 2 3 }}{{ eq \"a\" \"b\" \"a\" }}{{ lt \"a\" \"b\" }}{{ range .Messages }}{{ end }}",
"{{ eq 1 \"a\" }}{{ range .Messages }}{{ end }}","{{ eq .Nope \"a\" }}{{ ne .Nope .Nope2 }}{{ range .Messages }}{{ end }}","{{ lt .Nope 1 }}{{ range .Messages }}{{ end }}","{{ lt 1 \"a\" }}{{ range .Messages }}{{ end }}",
"{{ eq .Messages .Messages }}","{{ eq true true }}{{ eq true false }}{{ range .Messages }}{{ end }}","{{ lt true false }}{{ range .Messages }}{{ end }}",
"{{ slice .System 0 1 }}{{ range .Messages }}{{ end }}","{{ slice \"hello\" 1 3 }}{{ slice \"hello\" 2 }}{{ slice \"hello\" }}{{ range slice .Messages 1 }}{{ .Content }}{{ end }}","{{ slice \"hello\" 3 9 }}{{ .Messages | len }}","{{ slice \"hello\" 3 1 }}{{ .Messages | len }}","{{ index \"abc\" 1 }}{{ .Messages | len }}","{{ index .Messages 99 }}","{{ index .Messages -1 }}","{{ index .Messages \"a\" }}",
"{{ len .Nope }}{{ .Messages | len }}","{{ len \"héllo\" }}{{ .Messages | len }}","{{ len 3 }}{{ .Messages | len }}","{{ range 3 }}{{ . }}{{ end }}{{ range $i := 2 }}{{ $i }}{{ end }}{{ .Messages | len }}","{{ range $i, $x := 2 }}{{ $i }}{{ $x }}{{ end }}{{ .Messages | len }}",
"{{ range \"abc\" }}x{{ end }}{{ .Messages | len }}","{{ range .System }}x{{ end }}{{ .Messages | len }}","{{ range true }}{{ end }}{{ .Messages | len }}","{{ range .Nope }}x{{ else }}y{{ end }}{{ .Messages | len }}","{{ range 0 }}x{{ else }}y{{ end }}{{ .Messages | len }}",
"a {{- 3 }} b","{{3 -}} b","a {{-3}} b","{{ 1 }}{{ -2 }}{{ +3 }}","x{{/* c */}}y","x {{- /* c\n d */ -}} y","{{/* a */ }}","{{ /* a */}}","{{/* a","x{{- /* c */}} y","{{ `raw\n{{ }}` }}","{{ \"\\n\\t\\\"\\x41\\u00e9\\101\" }}","{{ \"\\q\" }}","{{ \"a\nb\" }}","{{ 'a' }}",
"{{ \"}}\" }}","{{ if }}x{{ end }}","{{ }}","{{ end }}","{{ else }}","{{ if .X }}","{{ if .X }}a{{ else }}b{{ else }}c{{ end }}","{{ range .Messages }}{{ else if .X }}{{ end }}","{{ break }}","{{ range .Messages }}{{ else }}{{ break }}{{ end }}",
"{{ $x }}","{{ $x := 1 }}{{ $x }}{{ $x = 2 }}{{ $x }}","{{ $x = 1 }}","{{ if .System }}{{ $x := 1 }}{{ end }}{{ $x }}","{{ $x := .System }}{{ if true }}{{ $x = \"b\" }}{{ end }}{{ $x }}","{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}","{{ $x, $y := 1 }}","{{ range $i, $m = .Messages }}{{ end }}","{{ $i := 0 }}{{ $m := 0 }}{{ range $i, $m = .Messages }}{{ end }}{{ $i }}{{ $m.Role }}","{{ $m := 0 }}{{ range $m = .Messages }}{{ $m.Role }}{{ end }}",
"{{ if $s := .System }}{{ $s }}{{ else }}{{ $s }}|{{ end }}","{{ with $s := .System }}{{ . }}{{ $s }}{{ end }}{{ .Messages | len }}",
"{{ .System | len }}{{ .Messages | len }}","{{ .System | 3 }}","{{ 3 | len }}","{{ .System | .Prompt }}","{{ .System 3 }}","{{ .System .Prompt }}","{{ 1 2 }}","{{ nil }}","{{ eq nil nil }}{{ .Messages | len }}","{{ eq .System nil }}{{ .Messages | len }}","{{ (.System) }}","{{ (len .Messages) }}","{{ ((eq 1 1)) }}","{{ (.System }}","{{ .System) }}","{{ len(.System) }}","{{ eq(1)(1) }}","{{ .System.}}","{{ ..System }}","{{ .}}","{{ . .System }}","{{ .1 }}","{{ 1.5 }}","{{ 0x10 }}","{{ 007 }}","{{ 1_000 }}","{{ 9999999999999999999 }}","{{ a }}","{{ foo .X }}","{{ .System|len }}","{{.System}}{{.Prompt}}","{{ .System\n}}","{{\n.System\n}}x","{{- .System -}}  \n  x","{{ .System - }}","{{ .System -}}","{{ \"a\" -}} b","{{ \"a\"-}} b","{{ \"a\" - }} b",
"{{ .Response }}{{ .Prompt }}","a{{ .Prompt }}{{ if true }}b{{ .Response }}c{{ end }}d","{{ if .Response }}r{{ end }}{{ .Prompt }}x","{{ if .Prompt }}p{{ .Response }}{{ else }}e{{ end }}","{{ if .X }}{{ else }}e{{ .Response }}f{{ end }}g","{{ $r := .Response }}{{ .Prompt }}{{ $r }}","{{ len .Response }}{{ .Prompt }}","{{ (len .Response) }}{{ .Prompt }}","{{ .Response | len }}{{ .Prompt }}","{{ eq .Response .Prompt }}{{ .Prompt }}","{{ .Prompt }}{{ (.Response) }}x","{{ range .X }}{{ .Response }}{{ end }}{{ .Prompt }}","{{ with .Prompt }}{{ $.Response }}x{{ end }}y{{ .Prompt }}","{{ with .Prompt }}{{ .Response }}{{ end }}","{{ .response }}{{ .Prompt }}","{{ .Prompt }}{{ .response }}",
"{{ .MESSAGES }}{{ .Prompt }}","{{ $messages := 1 }}{{ .Prompt }}","{{ (index .Messages 0).Content }}","{{ if true }}{{ (len .Messages) }}{{ end }}","{{ $.Messages | len }}","{{ .Think }}{{ .IsThinkSet }}{{ .ThinkLevel }}{{ .Prompt }}",
"{{ json .System }} {{ json 1 }} {{ json true }} {{ json nil }}","{{ json .System }} {{ json 1 }} {{ json true }}{{ range .Messages }}{{ .Content | json }}{{ end }}","{{ .System | json | len }}{{ .Messages | len }}",
"{{ not }}","{{ not 1 2 }}","{{ len }}","{{ len 1 2 }}","{{ index }}","{{ slice }}","{{ eq 1 }}","{{ ne 1 2 3 }}","{{ eq .Role \"user\" }}",
"text only","","{{ \"{{\" }} {{ \"}}\" }}","a }} b","{ { }","{{{ .System }}","{{ .System }}}",
"{{ index .Messages 0 }}{{ len }}", "{{ index . \"System\" }}{{ .Messages | len }}","{{ (index .Messages 0).Foo }}{{ .Messages | len }}","{{ $m := index .Messages 0 }}{{ $m.Role }}{{ $m.Content }}",
"{{ and (eq 1 1) (len .Nope) }}{{ .Messages | len }}","{{ and (eq 1 2) (len .Nope) }}{{ .Messages | len }}","{{ or (eq 1 1) (len .Nope) }}{{ .Messages | len }}","{{ .System | eq \"s\" }}{{ .Messages | len }}","{{ 1 | and .System }}{{ .Messages | len }}","{{ eq (index .Messages 0).Role \"system\" }}",
"{{ range $i, $m := .Messages }}{{ if lt $i 1 }}{{ continue }}{{ end }}{{ $x := $m.Role }}{{ $x }}{{ end }}","{{ true }}{{ false }}{{ .Messages | len }}","{{ true.X }}","{{ \"a\".X }}","{{ .System . }}","{{ if eq .System \"s\" }}a{{ end }}{{ .Messages | len }}",
]


class Grammar:
    """Random templates: mostly wrong ones, and that is as telling as the others."""
    ATOMS = [".System", ".Prompt", ".Response", ".Messages", "$.Messages", ".Role", ".Content", "$m.Content", "$i", "$", "1", "0", "2", '"user"', '""', "`r`", "true",
             "false", "nil", ".", ".Nope", "(index .Messages 0).Role", "$x"]
    FUNCTIONS = ["eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "len", "index", "slice", "json"]
    LISTS = [".Messages", ".Messages", "$.Messages", "(slice .Messages 1)", "slice $.Messages 1"]

    def __init__(self, seed):
        self.random = random.Random(seed)

    def chance(self, share):
        return self.random.random() < share

    def value(self, depth):
        if depth <= 0 or self.chance(.5):
            return self.random.choice(self.ATOMS)
        if self.chance(.2):
            return f"({self.value(depth - 1)} | {self.random.choice(self.FUNCTIONS)})"
        values = " ".join(self.value(depth - 1) for _ in range(self.random.choice([1, 1, 2, 2, 2, 3])))
        return f"({self.random.choice(self.FUNCTIONS)} {values})"

    def pipe(self, depth):
        v = self.value(depth)
        return v[1:-1] if v.startswith("(") and v.endswith(")") and v.count("(") == 1 else v

    def action(self, text):
        before = "{{- " if self.chance(.2) else "{{ " if self.chance(.9) else "{{"
        return before + text + (" -}}" if self.chance(.2) else " }}" if self.chance(.9) else "}}")

    def otherwise(self, share, depth):
        return self.action("else") + self.body(depth) if self.chance(share) else ""

    def node(self, depth):
        kind = self.random.random()
        if kind < .3:
            return self.random.choice(["a", "\n", " x ", "<t>", "{", "}"])
        if kind < .5 or depth <= 0:
            return self.action(self.pipe(2))
        if kind < .7:
            chained = self.action("else if " + self.pipe(1)) + self.body(depth - 1) if self.chance(.3) else ""
            return self.action("if " + self.pipe(2)) + self.body(depth - 1) + chained + self.otherwise(.4, depth - 1) + self.action("end")
        if kind < .88:
            what = self.random.choice(["", "$i, $m := ", "$m := ", "$x = "]) + (self.pipe(1) if self.chance(.2) else self.random.choice(self.LISTS))
            stop = self.action(self.random.choice(["break", "continue"])) if self.chance(.1) else ""
            return self.action("range " + what) + self.body(depth - 1) + stop + self.otherwise(.2, depth - 1) + self.action("end")
        if kind < .93:
            return self.action("with " + self.pipe(1)) + self.body(depth - 1) + self.action("end")
        return self.action(self.random.choice(["$x := ", "$x = "]) + self.pipe(1))

    def body(self, depth):
        return "".join(self.node(depth) for _ in range(self.random.randint(1, 4)))

    def template(self):
        declared = ("{{ $x := 1 }}" if self.chance(.7) else "") + ("{{ $m := index .Messages 0 }}{{ $i := 0 }}" if self.chance(.5) else "")
        return declared + self.body(3)


def ask(oracle, rows, path):
    asked = "".join(json.dumps({"Template": template, "Messages": messages}) + "\n" for template, messages in rows)
    answers = subprocess.run([oracle], input=asked, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(answers) == len(rows)
    with open(path, "w") as f:
        for (template, messages), answer in zip(rows, answers):
            f.write(json.dumps({"template": template, "messages": messages, **json.loads(answer)}) + "\n")


def main():
    oracle, mode, path = sys.argv[1:4]
    if mode == "fix":  # every template over three conversations, and over one in six of the others
        rows = [(t, c) for i, t in enumerate(TEMPLATES) for k, c in enumerate(CONVERSATIONS) if k < 3 or (i * 7 + k) % 6 == 0]
    else:
        grammar = Grammar(int(sys.argv[4]))
        rows = [(grammar.template(), grammar.random.choice(CONVERSATIONS)) for _ in range(int(sys.argv[5]))]
    ask(oracle, rows, path)


main()
