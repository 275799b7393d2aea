// The judge of the patterns: what coroot's logparser makes of messages, and how long it takes.
//
//	logparser judge        reads a message a line, as a JSON string; prints level, hash and words, separated by tabs
//	logparser bench FILE   gives the lines of a file to its pipeline, and their severity and pattern alone
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/coroot/logparser"
)

func main() {
	switch {
	case len(os.Args) == 2 && os.Args[1] == "judge":
		judge()
	case len(os.Args) == 3 && os.Args[1] == "bench":
		bench(os.Args[2])
	default:
		fail("usage: logparser judge | logparser bench FILE")
	}
}

func fail(what any) {
	fmt.Fprintln(os.Stderr, what)
	os.Exit(1)
}

func judge() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for lines.Scan() {
		var message string
		if err := json.Unmarshal(lines.Bytes(), &message); err != nil {
			fail(err)
		}
		pattern := logparser.NewPattern(message)
		fmt.Fprintf(out, "%s\t%s\t%s\n", logparser.GuessLevel(message), pattern.Hash(), pattern)
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
