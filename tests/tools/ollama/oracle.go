// oracle.go - runs templates and Modelfiles through Ollama's own packages: the oracle of the tests of go_template.c and modelfile_read.c.
//
// Reads JSON Lines, {"Template", "Messages"} or {"Modelfile"}; writes {"text"}, {"commands"} or {"error"} for each.
// To build: go mod init oracle && go get github.com/ollama/ollama@v0.17.4 && go mod tidy && go build -o oracle .
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/ollama/ollama/api"
	"github.com/ollama/ollama/parser"
	"github.com/ollama/ollama/template"
)

type row struct {
	Template  string
	Messages  []api.Message
	Modelfile string
}

func run(r row) (out map[string]any) {
	out = map[string]any{}
	defer func() {
		if e := recover(); e != nil {
			out = map[string]any{"error": fmt.Sprint("panic: ", e)}
		}
	}()
	if r.Modelfile != "" {
		f, err := parser.ParseFile(strings.NewReader(r.Modelfile))
		if err != nil {
			return map[string]any{"error": err.Error()}
		}
		var cmds [][2]string
		for _, c := range f.Commands {
			cmds = append(cmds, [2]string{c.Name, c.Args})
		}
		out["commands"] = cmds
		return
	}
	t, err := template.Parse(r.Template)
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	var b bytes.Buffer
	if err := t.Execute(&b, template.Values{Messages: r.Messages}); err != nil {
		return map[string]any{"error": err.Error()}
	}
	out["text"] = b.String()
	return
}

func main() {
	s := bufio.NewScanner(os.Stdin)
	s.Buffer(make([]byte, 1<<26), 1<<26)
	w := json.NewEncoder(os.Stdout)
	w.SetEscapeHTML(false)
	for s.Scan() {
		var r row
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			w.Encode(map[string]any{"error": "row: " + err.Error()})
			continue
		}
		w.Encode(run(r))
	}
}
