package k8sretry

import (
	"reflect"
	"runtime"
	"strings"
)

// packagePrefix is how the names of this package's functions begin.
var packagePrefix = reflect.TypeFor[Policy]().PkgPath() + "."

// callerName names the function outside this package that is running the call.
// Only a call that has failed asks for it.
func callerName() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, packagePrefix) {
			return shortName(frame.Function)
		}
		if !more {
			return ""
		}
	}
}

// functionName names the function that begins at pc.
func functionName(pc uintptr) string {
	f := runtime.FuncForPC(pc)
	if f == nil {
		return ""
	}
	return shortName(f.Name())
}

// shortName cuts a function's full name to what tells functions apart in a log:
//
//	k8s.io/client-go/kubernetes/typed/core/v1.PodInterface.Get-fm  PodInterface.Get
//	example.com/svc.(*Service).Sync.func1                          Service.Sync.func1
//	example.com/svc.Load[...]                                      Load
func shortName(full string) string {
	name := withoutBrackets(strings.TrimSuffix(full, "-fm"))
	name = name[strings.LastIndexByte(name, '/')+1:]
	if _, after, ok := strings.Cut(name, "."); ok {
		name = after
	}
	return strings.NewReplacer("(*", "", "(", "", ")", "").Replace(name)
}

// withoutBrackets cuts type arguments, which hold slashes and dots of their own.
func withoutBrackets(name string) string {
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
