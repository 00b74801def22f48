// Command konnectivity stands in for the two konnectivity programs in the tests.
//
// The real proxy-server and proxy-agent are not published as Go modules. This program speaks their wire protocol to
// kube-apiserver and among themselves, and takes the flags that Kamaji gives them; every other flag is refused, so that
// a flag that only this program would understand cannot slip in. Which of the two it is, the name of its file says.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
)

func main() {
	name := filepath.Base(os.Args[0])
	log.SetFlags(log.LstdFlags | log.Lmicroseconds | log.LUTC)
	log.SetPrefix(name + " (stand-in): ")
	if err := run(name, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
	// As the first process of a container it would not end by itself when it is told to.
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, os.Interrupt, syscall.SIGTERM)
	log.Printf("ending after %v", <-ended)
}

func run(name string, arguments []string) error {
	switch name {
	case "proxy-server":
		return startServer(arguments)
	case "proxy-agent":
		return startAgent(arguments)
	default:
		return fmt.Errorf("the file must be called proxy-server or proxy-agent, not %q", name)
	}
}

// parse reads the flags; words that are no flags are refused.
func parse(flags *flag.FlagSet, arguments []string) error {
	// Upstream's logging library brings these two; here everything goes to standard error anyway.
	flags.Int("v", 0, "how much is logged")
	flags.Bool("logtostderr", true, "whether the log goes to standard error")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected words: %q", flags.Args())
	}
	return nil
}

// startHealth answers for liveness always, for readiness when there is a connection.
func startHealth(host string, port int, isReady func() bool) error {
	answers := http.NewServeMux()
	answers.HandleFunc("/healthz", func(writer http.ResponseWriter, _ *http.Request) { fmt.Fprint(writer, "ok") })
	ready := func(writer http.ResponseWriter, _ *http.Request) {
		if !isReady() {
			http.Error(writer, "there is no connection", http.StatusInternalServerError)
			return
		}
		fmt.Fprint(writer, "ok")
	}
	answers.HandleFunc("/ready", ready)
	answers.HandleFunc("/readyz", ready)
	return listenHTTP(host, port, answers)
}

func listenHTTP(host string, port int, handler http.Handler) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	go func() {
		if err := http.Serve(listener, handler); !errors.Is(err, net.ErrClosed) {
			log.Fatal(err)
		}
	}()
	return nil
}
