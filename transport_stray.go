package k8sretry

import (
	"github.com/k8sretry/k8sretry/internal/clientgo"
	"github.com/k8sretry/k8sretry/internal/funcname"
)

// strays reports whether a request was made by the function of a call whose record is not in its
// context. Only one that failed and would be repeated is asked, because it walks the stack.
// Discovery is not meant: it has a context of its own in client-go.
func (x *exchange) strays() bool {
	return x.sends == 1 && x.request.Resource != "" && Classify(x.failure).Class.transient() && funcname.IsCalledBy("recorded")
}

// orStray returns err, or ends the call if its request strays: the call around it decides about a
// repetition.
func (x *exchange) orStray(err error) error {
	if !x.strays() {
		return err
	}
	if err = withoutURL(err); x.response != nil {
		err = clientgo.ResponseError(x.response, &x.request, x.req.Method, true)
		x.discard()
	}
	x.stray = &strayError{err}
	return Permanent(x.stray)
}
