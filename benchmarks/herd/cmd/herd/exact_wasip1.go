package main

import (
	"errors"
	"io"
)

// runExactly is not needed here: where -exact leads to, nothing is left to chance.
func runExactly([]string, io.Writer, io.Writer) (int, error) {
	return 1, errors.New("-exact: this is already so")
}
