// Redirects out of a table that is deployed with the worker: a CGI program (WAGI). Who edits the table needs no Go.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

const table = "/redirects.csv" // bundled by `files` of the manifest

type rule struct {
	from, to, status string
	prefix           bool
}

func main() {
	file, err := os.Open(table)
	if err != nil {
		fail(err)
	}
	rules, err := parse(file)
	if err != nil {
		fail(err)
	}
	target, status := find(rules, os.Getenv("X_RAW_PATH_INFO"), os.Getenv("QUERY_STRING"))
	if target == "" {
		fmt.Print("Status: 404\nContent-Type: text/plain\n\nno such page\n")
		return
	}
	fmt.Printf("Status: %s\nLocation: %s\nCache-Control: max-age=300\nContent-Type: text/plain\n\nsee %s\n", status, target, target)
}

// fail ends the request with a 500; the reason is for the worker's log and not for the client.
func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	fmt.Print("Status: 500\nContent-Type: text/plain\n\nthe table of redirects is broken\n")
	os.Exit(0)
}

func parse(from io.Reader) ([]rule, error) {
	var rules []rule
	lines := bufio.NewScanner(from)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		cells := strings.Split(line, ",")
		if len(cells) != 3 || !strings.Contains("301 302 303 307 308", cells[2]) || strings.HasSuffix(cells[0], "*") != strings.HasSuffix(cells[1], "*") {
			return nil, fmt.Errorf("%s:%d: want from,to,status", table, number)
		}
		prefix := strings.HasSuffix(cells[0], "*")
		rules = append(rules, rule{strings.TrimSuffix(cells[0], "*"), strings.TrimSuffix(cells[1], "*"), cells[2], prefix})
	}
	return rules, lines.Err()
}

// find gives the target of the longest rule that matches, with the rest of the path and the query carried over.
func find(rules []rule, path, query string) (target, status string) {
	best := -1
	for _, rule := range rules {
		matches := path == rule.from || rule.prefix && strings.HasPrefix(path, rule.from)
		if matches && len(rule.from) > best {
			best, target, status = len(rule.from), rule.to+path[len(rule.from):], rule.status
		}
	}
	if target != "" && query != "" {
		separator := "?"
		if strings.Contains(target, "?") {
			separator = "&"
		}
		target += separator + query
	}
	return target, status
}
