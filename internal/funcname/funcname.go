// SPDX-License-Identifier: Apache-2.0

// Package funcname names functions for logs and errors. It is used only after a call has
// failed, because walking the stack is slow.
package funcname

import (
	"path"
	"runtime"
	"slices"
	"strings"
)

// root is the directory of the root package, as the compiler has recorded it.
var root = func() string {
	_, file, _, _ := runtime.Caller(0)
	return path.Dir(path.Dir(path.Dir(file)))
}()

// internal is the directory of its internal packages.
var internal = root + "/internal/"

// Caller returns the short name of the innermost function on the stack that belongs
// neither to the root package nor to one of its internal packages, and "" if there is none.
func Caller() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		if !isOwn(frame.File) {
			return short(frame.Function)
		}
		if !more {
			return ""
		}
	}
}

// clients are the beginnings of the names of functions between a Transport and the code
// that makes a call.
var clients = []string{
	"net/http.", "k8s.io/client-go/", "sigs.k8s.io/controller-runtime/pkg/client", "github.com/k8sretry/k8sretry/k8sretryctrl.",
}

// Site returns the frame of the code that makes a call: the innermost one that belongs
// neither to the root package nor to one of its internal packages, and to no client if
// there is such a frame. Its program counter is as runtime.Callers returns it. depth is how
// many frames lie between it and the caller of Site. The frame is empty if there is none.
func Site() (site runtime.Frame, depth int) {
	var pcs [64]uintptr
	n := runtime.Callers(2, pcs[:])
	frames := runtime.CallersFrames(pcs[:n])
	for i := range n {
		frame, more := frames.Next()
		frame.PC = pcs[i] // there is one for each frame
		switch {
		case isOwn(frame.File):
		case isClient(frame.Function):
			if site.PC == 0 {
				site, depth = frame, i
			}
		case frame.Function != "runtime.goexit": // where the goroutine of a client begins
			return frame, i
		}
		if !more {
			break
		}
	}
	return site, depth
}

// IsCalledBy reports whether a function of the root package with this name is on the stack.
func IsCalledBy(name string) bool {
	var pcs [64]uintptr
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		if n == 0 {
			return false
		}
		frames := runtime.CallersFrames(pcs[:n])
		for more := true; more; {
			var frame runtime.Frame
			frame, more = frames.Next()
			if path.Dir(frame.File) == root && short(frame.Function) == name {
				return true
			}
		}
	}
}

func isClient(function string) bool {
	return slices.ContainsFunc(clients, func(prefix string) bool { return strings.HasPrefix(function, prefix) })
}

// isOwn reports whether a file belongs to the root package or to one of its internal
// packages. Nested modules such as k8sretryctrl are callers. The name of a function does
// not say so: a closure is named after the function that its maker was inlined into.
func isOwn(file string) bool {
	dir := path.Dir(file)
	return (dir == root || strings.HasPrefix(dir, internal)) && !strings.HasSuffix(file, "_test.go")
}

// Of returns the short name of the function that contains the program counter pc, and ""
// if there is none.
func Of(pc uintptr) string {
	f := runtime.FuncForPC(pc)
	if f == nil {
		return ""
	}
	return short(f.Name())
}

// short reduces the full name of a function to type and function:
//
//	k8s.io/client-go/kubernetes/typed/core/v1.PodInterface.Get-fm  PodInterface.Get
//	example.com/svc.(*Service).Sync.func1                          Service.Sync.func1
//	example.com/svc.Load[...]                                      Load
func short(full string) string {
	name := withoutTypeArguments(strings.TrimSuffix(full, "-fm"))
	name = name[strings.LastIndexByte(name, '/')+1:]
	if _, after, ok := strings.Cut(name, "."); ok {
		name = after
	}
	return receiver.Replace(name)
}

// receiver removes what surrounds the receiver of a method.
var receiver = strings.NewReplacer("(*", "", "(", "", ")", "")

// withoutTypeArguments removes everything in brackets. Type arguments contain slashes and
// dots, which otherwise separate the parts of a name.
func withoutTypeArguments(name string) string {
	for {
		from := strings.IndexByte(name, '[')
		if from < 0 {
			return name
		}
		depth := 0
		to := from
		for ; to < len(name); to++ {
			if name[to] == '[' {
				depth++
			} else if name[to] == ']' {
				if depth--; depth == 0 {
					break
				}
			}
		}
		name = name[:from] + name[min(to+1, len(name)):]
	}
}
