// SPDX-License-Identifier: Apache-2.0

package k8sretry

import (
	"reflect"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// method is what the types of a function tell about it, if it is a method of a typed client
// of client-go or of one generated alike. The zero value tells nothing.
type method struct {
	verb      Verb
	readOnly  bool // it stores nothing, whatever the verb
	hasObject bool // its first argument is the object to create
}

var (
	getOptions    = reflect.TypeFor[metav1.GetOptions]()
	listOptions   = reflect.TypeFor[metav1.ListOptions]()
	createOptions = reflect.TypeFor[metav1.CreateOptions]()
	updateOptions = reflect.TypeFor[metav1.UpdateOptions]()
	applyOptions  = reflect.TypeFor[metav1.ApplyOptions]()
	deleteOptions = reflect.TypeFor[metav1.DeleteOptions]()

	watchInterface = reflect.TypeFor[watch.Interface]()
	object         = reflect.TypeFor[Object]()
)

// method1 is the method with this argument and this result, nil for none.
func method1(argument, result reflect.Type) method {
	switch {
	case argument == listOptions && result == watchInterface:
		return method{verb: VerbWatch}
	case argument == listOptions:
		return method{verb: VerbList}
	case isOfPackage(argument, "k8s.io/api/policy/") && argument.Elem().Name() == "Eviction":
		return method{verb: VerbCreate, hasObject: argument.Implements(object)}
	}
	return method{}
}

// method2 is the method with these arguments.
func method2(first, second reflect.Type) method {
	switch {
	case second == getOptions:
		return method{verb: VerbGet}
	case second == createOptions && (isOfPackage(first, "k8s.io/api/authentication/") || isOfPackage(first, "k8s.io/api/authorization/")):
		return method{readOnly: true}
	case second == createOptions:
		return method{verb: VerbCreate, hasObject: first.Kind() == reflect.Pointer && first.Implements(object)}
	case second == updateOptions:
		return method{verb: VerbUpdate}
	case second == applyOptions:
		return method{verb: VerbApply}
	case second == deleteOptions:
		return method{verb: VerbDelete}
	case first == deleteOptions && second == listOptions:
		return method{verb: VerbDeleteCollection}
	}
	return method{}
}

// isOfPackage reports whether t is a pointer to a type of a package whose path begins so.
func isOfPackage(t reflect.Type, path string) bool {
	return t.Kind() == reflect.Pointer && strings.HasPrefix(t.Elem().PkgPath(), path)
}
