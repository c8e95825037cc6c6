// Package net has what the tests need of the package of this path.
package net

func IsConnectionRefused(err error) bool { return false }
func IsConnectionReset(err error) bool   { return false }
func IsProbableEOF(err error) bool       { return false }
