// Package errors has what the tests need of the package of this path.
package errors

func IsNotFound(err error) bool           { return false }
func IsAlreadyExists(err error) bool      { return false }
func IsConflict(err error) bool           { return false }
func IsForbidden(err error) bool          { return false }
func IsTimeout(err error) bool            { return false }
func IsServerTimeout(err error) bool      { return false }
func IsInternalError(err error) bool      { return false }
func IsServiceUnavailable(err error) bool { return false }
func IsTooManyRequests(err error) bool    { return false }
