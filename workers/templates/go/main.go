// A CGI program (WAGI): the request is in the environment, its body on stdin; head, empty line and body go to stdout.
package main

import (
	"fmt"
	"os"
)

func main() {
	city, known := os.LookupEnv("HTTP_X_EDGE_CLIENT_CITY")
	if !known {
		city = "the world"
	}
	fmt.Print("Content-Type: text/plain; charset=utf-8\n\n")
	fmt.Printf("hello %s, this is %s\n", city, os.Getenv("EDGESIM_POP"))
}
