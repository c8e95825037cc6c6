package k8sretry

import "strings"

// WithTokenAnnotation sets the key of the annotation in which the safe writes leave
// the token of a call. Default: [TokenAnnotation]. "": no token; the safe writes still
// repeat what is safe to repeat, and say [ErrOutcomeUnknown] where only the token could
// have told whose write it was. Other calls ignore it.
func WithTokenAnnotation(key string) Option { return tokenOption{key} }

type tokenOption struct{ key string }

func (tokenOption) option() {}

// proofOption makes a call a safe write.
type proofOption struct{ *proof }

func (proofOption) option() {}

// tokenKey is the key that the options ask for.
func tokenKey(opts []Option) string {
	c := resolve(opts)
	if c.set&setToken == 0 {
		return TokenAnnotation
	}
	return strings.Clone(c.token)
}
