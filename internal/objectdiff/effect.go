// SPDX-License-Identifier: Apache-2.0

package objectdiff

import (
	"fmt"
	"reflect"
)

// Effect is how much of what a write would have changed a version of the object has.
type Effect uint8

// The effects.
const (
	Unclear  Effect = iota // some of it, or other values in its place
	Complete               // all of it
	None                   // none of it: these fields are as they were before the write
)

// EffectOf returns how much of the change from base to sent is in got. Other differences
// between base and got do not matter.
func EffectOf(base, sent, got Content) Effect {
	if base == nil || sent == nil || got == nil {
		return Unclear
	}
	var c counts
	c.compare(map[string]any(base), map[string]any(sent), map[string]any(got))
	switch {
	case c.other > 0:
		return Unclear
	case c.sent > 0 && c.base == 0:
		return Complete
	case c.sent == 0 && c.base > 0:
		return None
	}
	return Unclear
}

// counts are the numbers of changed fields that have the value of sent, that of base and
// another one.
type counts struct{ sent, base, other int }

func (c *counts) compare(base, sent, got any) {
	if reflect.DeepEqual(base, sent) {
		return
	}
	if b, s, g, ok := asMaps(base, sent, got); ok {
		for key := range s {
			c.compare(b[key], s[key], g[key])
		}
		for key := range b {
			if _, both := s[key]; !both {
				c.compare(b[key], nil, g[key])
			}
		}
		return
	}
	switch {
	case reflect.DeepEqual(got, sent):
		c.sent++
	case reflect.DeepEqual(got, base):
		c.base++
	default:
		c.other++
	}
}

// asMaps returns three versions of a value as maps, if they are objects, or lists whose
// elements can be told apart. A missing one is an empty map.
func asMaps(base, sent, got any) (b, s, g map[string]any, ok bool) {
	for _, key := range []string{"", "name", "type", "uid"} {
		var isMap [3]bool
		b, isMap[0] = asMap(base, key)
		s, isMap[1] = asMap(sent, key)
		g, isMap[2] = asMap(got, key)
		if isMap == [3]bool{true, true, true} {
			return b, s, g, true
		}
	}
	return nil, nil, nil, false
}

// asMap returns an object as it is, a list of objects by the value of their field key, and
// a list of other values, if key is empty, with the values as keys.
func asMap(value any, key string) (map[string]any, bool) {
	switch value := value.(type) {
	case nil:
		return nil, true
	case map[string]any:
		return value, true
	case []any:
		elements := make(map[string]any, len(value))
		for _, element := range value {
			id, ok := element, true
			if object, isObject := element.(map[string]any); isObject {
				id, ok = object[key].(string)
			} else if _, isList := element.([]any); isList || key != "" {
				ok = false
			}
			if !ok {
				return nil, false
			}
			elements[fmt.Sprint(id)] = element
		}
		return elements, len(elements) == len(value)
	}
	return nil, false
}
