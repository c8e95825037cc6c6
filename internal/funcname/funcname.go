// Package funcname names functions for logs and errors. It is used only after a call has
// failed, because walking the stack is slow.
package funcname

import (
	"reflect"
	"runtime"
	"strings"
)

// rootPath is the import path of the package that the module exports.
var rootPath = strings.TrimSuffix(reflect.TypeFor[marker]().PkgPath(), "/internal/funcname")

type marker struct{}

// Caller returns the short name of the innermost function on the stack that belongs
// neither to the root package nor to one of its internal packages, and "" if there is none.
func Caller() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		if !isOwn(frame.Function) {
			return short(frame.Function)
		}
		if !more {
			return ""
		}
	}
}

// isOwn reports whether a function with this full name belongs to the root package or to
// one of its internal packages. Nested modules such as k8sretryctrl are callers.
func isOwn(full string) bool {
	rest, ok := strings.CutPrefix(full, rootPath)
	return ok && (strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "/internal/"))
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
	return strings.NewReplacer("(*", "", "(", "", ")", "").Replace(name)
}

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
