package k8sretry

import "context"

// MultiObserver returns an [Observer] that hands each event to all of the given ones, one
// after the other in their order: metrics and traces, say. A nil among them is ignored.
// Without any it is nil, as [WithObserver] takes it. The slice is copied.
func MultiObserver(all ...Observer) Observer {
	var o observers
	for _, one := range all {
		if one != nil {
			o = append(o, one)
		}
	}
	switch len(o) {
	case 0:
		return nil
	case 1:
		return o[0]
	}
	return o
}

type observers []Observer

func (o observers) Observe(ctx context.Context, e Event) {
	for _, one := range o {
		one.Observe(ctx, e)
	}
}
