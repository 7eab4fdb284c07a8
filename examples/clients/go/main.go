// Command isogloss-example takes a CSV file of labelled messages all the way to a model:
// it uploads and validates the file, fine-tunes on it, and classifies and embeds new texts.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

const usage = `Usage: isogloss-example [flags] FILE.csv TEXT [TEXT ...]

FILE.csv has two columns, text and label, and at least 250 rows.

Servers and credentials come from the environment:
  ISOGLOSS_INGEST     host:port of the ingest service     (127.0.0.1:50051)
  ISOGLOSS_TRAINER    host:port of the trainer service    (127.0.0.1:50052)
  ISOGLOSS_INFERENCE  host:port of the inference service  (127.0.0.1:50053)
  ISOGLOSS_API_KEY    the key to send                     (none)
  ISOGLOSS_TLS_CA     PEM file that TLS servers are verified by; none: no TLS

Flags:
`

// job is what the command line asks for.
type job struct {
	csv    string
	base   string
	epochs int
	texts  []string
}

func main() {
	var todo job
	flag.StringVar(&todo.base, "base", "baseModels/small", "base model to start from")
	flag.IntVar(&todo.epochs, "epochs", 0, "passes over the training rows; 0: the server chooses")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() < 2 {
		flag.Usage()
		os.Exit(2)
	}
	todo.csv, todo.texts = flag.Arg(0), flag.Args()[1:]

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, todo); err != nil {
		fmt.Fprint(os.Stderr, explain(err))
		os.Exit(1)
	}
}

// run walks from the file to the answers.
func run(ctx context.Context, todo job) error {
	suite, err := connect()
	if err != nil {
		return err
	}
	defer suite.Close()

	title := strings.TrimSuffix(filepath.Base(todo.csv), filepath.Ext(todo.csv))
	dataset, err := suite.upload(ctx, title, todo.csv)
	if err != nil {
		return err
	}
	if err := suite.validate(ctx, dataset); err != nil {
		return err
	}
	model, err := suite.train(ctx, title, dataset, todo.base, todo.epochs)
	if err != nil {
		return err
	}
	if err := suite.classify(ctx, model, todo.texts); err != nil {
		return err
	}
	return suite.embed(ctx, model, todo.texts)
}
