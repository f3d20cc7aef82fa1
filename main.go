// Command culvert is IPsec site-to-site VPN as a service: see `culvert --help`.
package main

import (
	"os"

	"culvert/internal/cli"
)

// version is set when the binary is built.
var version = "development"

func main() { os.Exit(cli.Main(os.Args[1:], version, os.Stdout, os.Stderr)) }
