// The conformance guest in Go: a CGI program. Routes: ../README.md.
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

var query url.Values

func number(name string) int {
	n, _ := strconv.Atoi(query.Get(name))
	return n
}

func head(kind string) { fmt.Printf("Content-Type: %s\n\n", kind) }

func text(body string) {
	head("text/plain")
	fmt.Print(body)
}

func echo() {
	kind := os.Getenv("CONTENT_TYPE")
	if kind == "" {
		kind = "application/octet-stream"
	}
	head(kind)
	io.CopyBuffer(struct{ io.Writer }{os.Stdout}, struct{ io.Reader }{os.Stdin}, make([]byte, 65536))
}

func environment() {
	pairs := map[string]string{}
	for _, entry := range os.Environ() {
		name, value, _ := strings.Cut(entry, "=")
		pairs[name] = value
	}
	head("application/json")
	json.NewEncoder(os.Stdout).Encode(pairs)
}

func file() {
	content, err := os.ReadFile(query.Get("path"))
	if err != nil {
		fmt.Print("Status: 404\nContent-Type: text/plain\n\nno such file")
		return
	}
	head("application/octet-stream")
	os.Stdout.Write(content)
}

func stream() {
	head("application/octet-stream")
	size := number("size")
	for i := range number("chunks") {
		if size > 0 {
			os.Stdout.Write(bytes.Repeat([]byte{byte(i)}, size))
		} else {
			fmt.Printf("chunk %d\n", i)
		}
	}
}

func main() {
	query, _ = url.ParseQuery(os.Getenv("QUERY_STRING"))
	switch os.Getenv("PATH_INFO") {
	case "/hello":
		text("hello from go")
	case "/echo":
		echo()
	case "/env":
		environment()
	case "/file":
		file()
	case "/stream":
		stream()
	case "/status":
		fmt.Printf("Status: %d\nContent-Type: text/plain\n\nas you wish", number("code"))
	case "/timer":
		time.Sleep(time.Duration(number("ms")) * time.Millisecond)
		text("waited")
	case "/random":
		random := make([]byte, 16)
		rand.Read(random)
		text(fmt.Sprintf("%x", random))
	case "/log":
		for i := range number("n") {
			fmt.Fprintf(os.Stderr, "log line %d\n", i)
		}
		text(strconv.Itoa(number("n")))
	case "/spin":
		for {
		}
	case "/trap":
		panic("a panic ends the program with code 2")
	case "/oom":
		var kept [][]byte
		for {
			kept = append(kept, bytes.Repeat([]byte{1}, 1<<20))
		}
	default:
		fmt.Print("Status: 404\nContent-Type: text/plain\n\nno such route")
	}
}
