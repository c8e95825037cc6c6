// Package rest has what the tests need of the package of this path.
package rest

import (
	"context"
	"net/http"
)

type Config struct {
	QPS           float32
	WrapTransport func(http.RoundTripper) http.RoundTripper
}

func (c *Config) Wrap(fn func(http.RoundTripper) http.RoundTripper) {}
func CopyConfig(c *Config) *Config                                  { return c }

type Interface interface {
	Get() *Request
	Post() *Request
}

type Request struct{}

func (r *Request) AbsPath(...string) *Request    { return r }
func (r *Request) Resource(string) *Request      { return r }
func (r *Request) Body(any) *Request             { return r }
func (r *Request) Do(ctx context.Context) Result { return Result{} }

type Result struct{}

func (r Result) Error() error { return nil }
