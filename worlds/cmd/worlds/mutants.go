package main

import "io"

func runMutants(io.Writer, uint64) int { return 2 }
