// Renders the cases of cases.json with Go itself. After a change of the cases, run it with Go 1.19 or later:
//
//	go run tests/template-go/reference.go tests/template-go/cases.json
//
// It fills in each case's "output", or "error": true. A case is a template (or the name of a file next to cases.json) and
// the name of a conversation. text/template renders; this file has the data. Its types have the fields, the JSON and the
// printed form that Ollama documents for its templates. It also has the three ways to render (see
// runtime/template/go/gotemplate.h).
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
)

var now = time.Unix(1700000000, 0).UTC()

// ---- data ----

func asJSON(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

type typeNames []string

func (t *typeNames) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*t = typeNames{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(t))
}

func (t typeNames) MarshalJSON() ([]byte, error) {
	if len(t) == 1 {
		return json.Marshal(t[0])
	}
	return json.Marshal([]string(t))
}

func (t typeNames) String() string {
	switch len(t) {
	case 0:
		return ""
	case 1:
		return t[0]
	}
	return fmt.Sprint([]string(t))
}

type property struct {
	AnyOf       []property `json:"anyOf,omitempty"`
	Type        typeNames  `json:"type,omitempty"`
	Items       any        `json:"items,omitempty"`
	Description string     `json:"description,omitempty"`
	Enum        []any      `json:"enum,omitempty"`
	Properties  *inOrder   `json:"properties,omitempty"`
	Required    []string   `json:"required,omitempty"`
}

// Properties of properties, in the order of the client.
type inOrder struct {
	names  []string
	values map[string]property
}

func (o *inOrder) UnmarshalJSON(text []byte) error {
	o.values = map[string]property{}
	in := json.NewDecoder(bytes.NewReader(text))
	in.Token()
	for in.More() {
		name, err := in.Token()
		if err != nil {
			return err
		}
		var value property
		if err := in.Decode(&value); err != nil {
			return err
		}
		o.names = append(o.names, name.(string))
		o.values[name.(string)] = value
	}
	return nil
}

func (o *inOrder) MarshalJSON() ([]byte, error) {
	var members []string
	for _, name := range o.names {
		members = append(members, asJSON(name)+":"+asJSON(o.values[name]))
	}
	return []byte("{" + strings.Join(members, ",") + "}"), nil
}

type properties map[string]property

func (p properties) String() string {
	if p == nil {
		return "{}"
	}
	return asJSON(p)
}

type parameters struct {
	Type       string     `json:"type"`
	Defs       any        `json:"$defs,omitempty"`
	Items      any        `json:"items,omitempty"`
	Required   []string   `json:"required,omitempty"`
	Properties properties `json:"properties"`
}

func (p parameters) String() string { return asJSON(p) }

type function struct {
	Name        string     `json:"name"`
	Description string     `json:"description"`
	Parameters  parameters `json:"parameters"`
}

func (f function) String() string { return asJSON(f) }

type tool struct {
	Type     string   `json:"type"`
	Items    any      `json:"items,omitempty"`
	Function function `json:"function"`
}

func (t tool) String() string { return asJSON(t) }

type tools []tool

func (t tools) String() string { return asJSON(t) }

type arguments map[string]any

func (a arguments) String() string {
	if a == nil {
		return "{}"
	}
	return asJSON(a)
}

type calledFunction struct {
	Index     int       `json:"index"`
	Name      string    `json:"name"`
	Arguments arguments `json:"arguments"`
}

type toolCall struct {
	ID       string         `json:"id,omitempty"`
	Function calledFunction `json:"function"`
}

type message struct {
	Role       string     `json:"role"`
	Content    string     `json:"content"`
	Thinking   string     `json:"thinking,omitempty"`
	Images     [][]byte   `json:"images,omitempty"`
	ToolCalls  []toolCall `json:"tool_calls,omitempty"`
	ToolName   string     `json:"tool_name,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
}

type conversation struct {
	Messages []message `json:"messages,omitempty"`
	Tools    tools     `json:"tools,omitempty"`
	Prompt   string    `json:"prompt,omitempty"`
	Suffix   string    `json:"suffix,omitempty"`
	Think    any       `json:"think,omitempty"`
}

// ---- templates ----

func typescript(p property) string {
	var names []string
	for _, choice := range p.AnyOf {
		names = append(names, typescript(choice))
	}
	if len(names) > 0 {
		return strings.Join(names, " | ")
	}
	known := map[string]string{"string": "string", "number": "number", "integer": "number", "boolean": "boolean",
		"array": "any[]", "object": "Record<string, any>", "null": "null"}
	for _, name := range p.Type {
		if known[name] == "" {
			known[name] = "any"
		}
		names = append(names, known[name])
	}
	if len(names) == 0 {
		return "any"
	}
	return strings.Join(names, " | ")
}

var functions = template.FuncMap{
	"json":          asJSON,
	"currentDate":   func(...string) string { return now.Format("2006-01-02") },
	"yesterdayDate": func(...string) string { return now.AddDate(0, 0, -1).Format("2006-01-02") },
	"toTypeScriptType": func(v any) string {
		if p, ok := v.(property); ok {
			return typescript(p)
		}
		return "any"
	},
}

// Calls visit for every node in a list, an if, a range or a with, together with its parents; stops at false.
type visitor func(list *parse.ListNode, at int) bool

func walk(list *parse.ListNode, visit visitor) bool {
	for i := 0; list != nil && i < len(list.Nodes); i++ {
		if !visit(list, i) {
			return false
		}
		if b := branch(list.Nodes[i]); b != nil && (!walk(b.List, visit) || !walk(b.ElseList, visit)) {
			return false
		}
	}
	return true
}

func branch(n parse.Node) *parse.BranchNode {
	switch n := n.(type) {
	case *parse.IfNode:
		return &n.BranchNode
	case *parse.RangeNode:
		return &n.BranchNode
	case *parse.WithNode:
		return &n.BranchNode
	}
	return nil
}

func pipeOf(n parse.Node) *parse.PipeNode {
	if b := branch(n); b != nil {
		return b.Pipe
	}
	switch n := n.(type) {
	case *parse.ActionNode:
		return n.Pipe
	case *parse.TemplateNode:
		return n.Pipe
	}
	return nil
}

func fieldNames(pipe *parse.PipeNode, variables bool) (names []string) {
	if pipe == nil {
		return
	}
	for _, command := range pipe.Cmds {
		for _, argument := range command.Args {
			switch a := argument.(type) {
			case *parse.FieldNode:
				names = append(names, a.Ident...)
			case *parse.VariableNode:
				if variables {
					names = append(names, a.Ident...)
				}
			case *parse.PipeNode:
				names = append(names, fieldNames(a, variables)...)
			case *parse.ChainNode:
				if inner, ok := a.Node.(*parse.PipeNode); ok {
					names = append(names, fieldNames(inner, variables)...)
				}
			}
		}
	}
	return
}

// Returns the template, cut off after the first action with .Response.
func cut(t *template.Template) *template.Template {
	root := t.Root.CopyList()
	var drop func(list *parse.ListNode) bool
	drop = func(list *parse.ListNode) bool {
		for i := 0; list != nil && i < len(list.Nodes); i++ {
			found := false
			if action, ok := list.Nodes[i].(*parse.ActionNode); ok {
				for _, name := range fieldNames(action.Pipe, false) {
					found = found || name == "Response"
				}
			}
			if b := branch(list.Nodes[i]); b != nil {
				if drop(b.List) {
					b.ElseList, found = nil, true
				} else {
					found = drop(b.ElseList)
				}
			}
			if found {
				list.Nodes = list.Nodes[:i+1]
				return true
			}
		}
		return false
	}
	drop(root)
	out := template.Must(t.Clone()).Option("missingkey=zero")
	out = template.Must(out.AddParseTree(t.Name(), &parse.Tree{Name: t.Name(), ParseName: t.Name(), Root: root}))
	return out
}

func render(source string, with conversation) (string, error) {
	t, err := template.New("").Option("missingkey=zero").Funcs(functions).Parse(source)
	if err != nil {
		return "", err
	}
	known := map[string]bool{}
	for _, each := range t.Templates() {
		walk(each.Root, func(list *parse.ListNode, at int) bool {
			for _, name := range fieldNames(pipeOf(list.Nodes[at]), true) {
				known[strings.ToLower(name)] = true
			}
			return true
		})
	}
	if !known["messages"] && !known["response"] {
		ending := template.Must(template.New("e").Parse("{{.Response}}"))
		t.Root.Nodes = append(t.Root.Nodes, ending.Root.Nodes...)
	}

	var out bytes.Buffer
	run := func(t *template.Template, more map[string]any) error {
		level, isText := with.Think.(string)
		thinks, isBool := with.Think.(bool)
		if isBool && thinks {
			level = "medium"
		}
		data := map[string]any{"Response": "", "Think": thinks || level != "", "ThinkLevel": level,
			"IsThinkSet": isText || isBool}
		for name, value := range more {
			data[name] = value
		}
		return t.Execute(&out, data)
	}
	if with.Prompt != "" && with.Suffix != "" {
		err = run(t, map[string]any{"Prompt": with.Prompt, "Suffix": with.Suffix})
		return out.String(), err
	}

	var system []string
	var joined []*message
	for i := range with.Messages {
		m := with.Messages[i]
		if m.Role == "system" {
			system = append(system, m.Content)
		}
		if n := len(joined); n > 0 && joined[n-1].Role == m.Role && m.Role != "tool" {
			joined[n-1].Content += "\n\n" + m.Content
		} else {
			joined = append(joined, &m)
		}
	}
	if known["messages"] {
		err = run(t, map[string]any{"System": strings.Join(system, "\n\n"), "Messages": joined, "Tools": with.Tools})
		return out.String(), err
	}

	turn := map[string]any{"System": "", "Prompt": "", "Response": ""}
	finish := func(t *template.Template) error {
		err := run(t, turn)
		turn = map[string]any{"System": "", "Prompt": "", "Response": ""}
		return err
	}
	place := map[string]string{"system": "System", "user": "Prompt", "assistant": "Response"}
	for _, m := range joined {
		if m.Role == "system" && (turn["Prompt"] != "" || turn["Response"] != "") || m.Role == "user" && turn["Response"] != "" {
			if err := finish(t); err != nil {
				return "", err
			}
		}
		if place[m.Role] != "" {
			turn[place[m.Role]] = m.Content
		}
	}
	err = finish(cut(t))
	return out.String(), err
}

// ---- cases ----

type testCase struct {
	Name     string  `json:"name,omitempty"`
	Template *string `json:"template,omitempty"`
	File     string  `json:"file,omitempty"`
	With     string  `json:"with"`
	Output   *string `json:"output,omitempty"`
	Error    bool    `json:"error,omitempty"`
}

func main() {
	path := os.Args[1]
	text, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	var all struct {
		Conversations json.RawMessage `json:"conversations"`
		Cases         []testCase      `json:"cases"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		panic(err)
	}
	conversations := map[string]json.RawMessage{}
	if err := json.Unmarshal(all.Conversations, &conversations); err != nil {
		panic(err)
	}
	for i := range all.Cases {
		c := &all.Cases[i]
		var with conversation
		if err := json.Unmarshal(conversations[c.With], &with); err != nil {
			panic(fmt.Sprint(c.With, ": ", err))
		}
		var source []byte
		if c.Template != nil {
			source = []byte(*c.Template)
		} else if source, err = os.ReadFile(filepath.Join(filepath.Dir(path), c.File)); err != nil {
			panic(err)
		}
		out, err := render(string(source), with)
		c.Output, c.Error = &out, err != nil
		if err != nil {
			c.Output = nil
			fmt.Fprintf(os.Stderr, "%s: %v\n", c.Name+c.File, err)
		}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(all); err != nil {
		panic(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		panic(err)
	}
}
