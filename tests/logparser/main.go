// The judge of the logs: what coroot's logparser makes of messages and lines, and how long it takes.
//
//	logparser judge            answers a question a line; each is a list of texts in JSON
//	logparser published DIR    prints every text in the parser's own tests, which are in DIR, a JSON string a line
//	logparser bench FILE       gives the lines of a file to its pipeline, and their severity and pattern alone
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/coroot/logparser"
)

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "judge":
		judge()
	case len(os.Args) == 3 && os.Args[1] == "published":
		published(os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "bench":
		bench(os.Args[2])
	default:
		fail("usage: logparser judge | logparser published DIR | logparser bench FILE")
	}
}

func fail(what any) {
	fmt.Fprintln(os.Stderr, what)
	os.Exit(1)
}

// To ["message", TEXT] the answer is its level, hash and words, to ["alike", ONE, OTHER] whether the two are one pattern,
// and to ["lines", TEXT] the messages that the lines of the text are.
func judge() {
	questions := bufio.NewScanner(os.Stdin)
	questions.Buffer(nil, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	answers := json.NewEncoder(out)
	for questions.Scan() {
		var question []string
		if err := json.Unmarshal(questions.Bytes(), &question); err != nil {
			fail(err)
		}
		answer := any(nil)
		switch question[0] {
		case "message":
			pattern := logparser.NewPattern(question[1])
			answer = []string{logparser.GuessLevel(question[1]).String(), pattern.Hash(), pattern.String()}
		case "alike":
			answer = logparser.NewPattern(question[1]).WeakEqual(logparser.NewPattern(question[2]))
		case "lines":
			answer = messages(strings.Split(question[1], "\n"))
		}
		if err := answers.Encode(answer); err != nil {
			fail(err)
		}
	}
}

// What these lines are for its collector. Lines of ours end the last message: the first of them may be taken for the
// exception after a traceback, so there are two more. No clock is waited for.
func messages(lines []string) []string {
	const last = "00:00:00 the end"
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	collector := logparser.NewMultilineCollector(ctx, time.Hour, 64*1024)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, line := range append(lines, last, last, last) {
			collector.Add(logparser.LogEntry{Content: line})
		}
	}()
	found := []string{}
	for {
		select {
		case message := <-collector.Messages:
			if message.Content != last {
				found = append(found, strings.TrimSuffix(message.Content, "\n"+last))
			}
			continue
		case <-done:
		}
		return found
	}
}

func published(dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		fail(fmt.Sprintf("there are no tests in %s", dir))
	}
	out := json.NewEncoder(os.Stdout)
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			fail(err)
		}
		ast.Inspect(tree, func(node ast.Node) bool {
			if text, is := node.(*ast.BasicLit); is && text.Kind == token.STRING {
				value, err := strconv.Unquote(text.Value)
				if err != nil {
					fail(err)
				}
				if err := out.Encode(value); err != nil {
					fail(err)
				}
			}
			return true
		})
	}
}

func bench(file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		fail(err)
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	encoded := make([]string, len(lines))
	for number, line := range lines {
		record, err := json.Marshal(map[string]string{"log": line + "\n", "stream": "stdout"})
		if err != nil {
			fail(err)
		}
		encoded[number] = string(record)
	}
	measure("pipeline, Docker frames", len(lines), func() {
		entries := make(chan logparser.LogEntry)
		parser := logparser.NewParser(entries, logparser.DockerJsonDecoder{}, nil, time.Second, 1000)
		now := time.Now()
		for _, line := range encoded {
			entries <- logparser.LogEntry{Timestamp: now, Content: line}
		}
		parser.Stop()
	})
	var last string
	measure("severity and pattern of each alone", len(lines), func() {
		for _, line := range lines {
			logparser.GuessLevel(line)
			last = logparser.NewPattern(line).Hash()
		}
	})
	runtime.KeepAlive(last)
}

func measure(what string, count int, run func()) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	run()
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	each := float64(count)
	fmt.Printf("  %-64s %12.3f lines/s\n", what, each/took.Seconds())
	fmt.Printf("  %-64s %12.3f µs, %.1f allocations\n", "  a line", took.Seconds()*1e6/each, float64(after.Mallocs-before.Mallocs)/each)
}
