// A worker in Go: a CGI program (WAGI) that says hello from the PoP it runs on. Head, empty line and body go to stdout.
package main

import (
	"fmt"
	"os"
)

func main() {
	if os.Getenv("PATH_INFO") == "/teapot" {
		fmt.Print("Status: 418\nContent-Type: text/plain\n\nshort and stout\n")
		return
	}
	fmt.Printf("Content-Type: text/plain\n\nhello from %s v%s\n", os.Getenv("EDGESIM_POP"), os.Getenv("EDGESIM_VERSION"))
}
